#![allow(missing_docs)]

mod bits;
mod embed;
mod files;
mod real;
mod runs;
mod serve;
mod words;
