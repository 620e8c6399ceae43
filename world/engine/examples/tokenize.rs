//! `tokenize MODEL`: token ids of every line of stdin, for an outside judge to compare.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

use std::io::BufRead;
use talkoo_engine::Vocabulary;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: tokenize MODEL < LINES")?;
    let vocabulary = Vocabulary::open(path.as_ref())?;
    for line in std::io::stdin().lock().lines() {
        let ids: Vec<String> = vocabulary.encode(&line?, false).iter().map(ToString::to_string).collect();
        println!("{}", ids.join(" "));
    }
    Ok(())
}
