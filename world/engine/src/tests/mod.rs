#![allow(missing_docs)]

mod bits;
mod files;
mod real;
mod runs;
mod serve;
mod words;
