//! The numbers: a transformer as an integer program, in plain scalar Rust.
