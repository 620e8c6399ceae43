//! Plays one seed, or many: `replay SEED [--trace]`, `replay FROM..TO`.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

use std::time::Instant;
use talkoo_sim::{Scene, run};

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_else(|| "0..2000".into());
    let trace = args.next().as_deref() == Some("--trace");
    let (from, to) = match what.split_once("..") {
        Some((from, to)) => (number(from), number(to)),
        None => (number(&what), number(&what) + 1),
    };
    let (start, mut events, mut failed, mut virtual_ms) = (Instant::now(), 0, 0, 0);
    for seed in from..to {
        let scene = Scene::of(seed);
        if trace {
            println!("{scene:#?}");
        }
        let mut show = |line: &str| println!("{line}");
        let report = run(&scene, trace.then_some(&mut show as &mut dyn FnMut(&str)));
        events += report.events;
        virtual_ms += report.now_ms;
        if let Err(why) = &report.verdict {
            failed += 1;
            println!("seed {seed}: {why}");
        } else if to - from == 1 {
            println!("seed {seed}: {report:?}");
        }
    }
    let took = start.elapsed().as_secs_f64();
    let (rate, hours) = (events as f64 / took, virtual_ms as f64 / 3.6e6);
    println!(
        "{} seeds, {failed} failed, {events} events in {took:.2} s = {rate:.0}/s, {hours:.1} virtual hours",
        to - from
    );
    std::process::exit(i32::from(failed > 0));
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a seed: give a number, or FROM..TO"))
}
