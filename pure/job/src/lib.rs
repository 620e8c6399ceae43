//! A job as a graph of steps: split, lease, retry, collect.
