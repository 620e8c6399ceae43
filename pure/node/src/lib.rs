//! All machines of one node and the routes among them.
