//! Content-addressed blocks and DAGs, who has what, sealed objects.
