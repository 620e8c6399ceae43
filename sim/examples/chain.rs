//! Plays chains: `chain SEED [--trace]`, `chain FROM..TO`; `chain bench` says how fast validators agree.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

use std::collections::VecDeque;
use std::time::Instant;
use talkoo_base::{Network, Now, SecretKey, Signer, Validator, keccak256};
use talkoo_chain::{Chain, Effect, Input, Message};
use talkoo_sim::chain::{Conduct, Scene, run};

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_else(|| "0..2000".into());
    if what == "bench" {
        return bench();
    }
    let trace = args.next().as_deref() == Some("--trace");
    let (from, to) = match what.split_once("..") {
        Some((from, to)) => (number(from), number(to)),
        None => (number(&what), number(&what) + 1),
    };
    let (start, mut events, mut failed, mut blocks, mut restarts, mut convicted) = (Instant::now(), 0, 0, 0, 0, 0);
    for seed in from..to {
        let scene = Scene::of(seed);
        if trace {
            println!("{scene:#?}");
        }
        let mut show = |line: &str| println!("{line}");
        let report = run(&scene, trace.then_some(&mut show as &mut dyn FnMut(&str)));
        events += report.events;
        blocks += report.blocks;
        restarts += report.restarts;
        convicted += report.convicted;
        if let Err(why) = &report.verdict {
            failed += 1;
            println!("seed {seed}: {why}");
        } else if to - from == 1 {
            println!("seed {seed}: {report:?}");
        }
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "{} seeds, {failed} failed, {events} events, {blocks} blocks, {restarts} restarts, {convicted} double voters in {took:.2} s",
        to - from
    );
    std::process::exit(i32::from(failed > 0));
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a seed: give a number, or FROM..TO"))
}

fn bench() {
    for (count, bytes, heights) in [(1, 16, 2_000), (4, 16, 500), (4, 180_000, 200), (7, 16, 200)] {
        let rate = speed(count, bytes, heights);
        println!("{count} validators in one thread, blocks of {bytes} bytes: {rate:.0} blocks/s");
    }
    use Conduct::{Honest, Silent};
    for (what, conducts) in [("all live", [Honest; 4]), ("one of four dead", [Honest, Silent, Honest, Honest])] {
        let report = run(&Scene::quiet(1, &conducts, 1_200), None);
        assert!(report.verdict.is_ok(), "{:?}", report.verdict);
        let mut took: Vec<u64> = report.final_ms.iter().zip(&report.begun_ms).map(|(end, begin)| end - begin).collect();
        took.sort_unstable();
        println!(
            "4 validators, 50 ms one way, {what}: {} blocks, final after {} ms (median), {} ms (worst); {} over 300 ms",
            took.len(),
            took[took.len() / 2],
            took[took.len() - 1],
            took.iter().filter(|ms| **ms > 300).count()
        );
    }
}

/// Blocks a second of validators in one process: every message as bytes, every signature checked, no disk, no wait.
fn speed(count: u8, bytes: usize, heights: u64) -> f64 {
    let keys: Vec<_> = (1..=count).map(|n| SecretKey::from_bytes(&[n; 32]).expect("a small number")).collect();
    let ids: Vec<_> = keys.iter().map(SecretKey::node_id).collect();
    let set: Vec<_> = keys.iter().map(|k| Validator { address: k.address(), power: 1 }).collect();
    let chain = |key: SecretKey| Chain::new(Box::new(key), Network::local("bench"), 1, &set);
    let mut chains: Vec<Chain> = keys.into_iter().map(chain).collect();
    let mut queue: VecDeque<(usize, Input)> = VecDeque::new();
    for node in 0..chains.len() {
        queue.extend(ids.iter().filter(|id| **id != ids[node]).map(|id| (node, Input::PeerUp(*id))));
    }
    queue.extend((0..chains.len()).map(|node| (node, Input::Ready)));
    let (start, mut out) = (Instant::now(), Vec::new());
    while let Some((node, input)) = queue.pop_front().filter(|_| chains[0].height() <= heights) {
        chains[node].handle(Now::default(), input, &mut out);
        for effect in out.drain(..) {
            match effect {
                Effect::Propose { height, round } => {
                    let bytes = [height.to_be_bytes().as_slice(), &vec![7; bytes]].concat();
                    queue.push_back((node, Input::Proposed { height, round, block: keccak256(&[&bytes]), bytes }));
                }
                Effect::Validate { height, block, body, bytes, .. } => {
                    let valid = keccak256(&[&bytes]) == block;
                    queue.push_back((node, Input::Validated { height, block, body, valid }));
                }
                Effect::Commit { certificate, .. } => {
                    let (height, builder) = (certificate.height, chains[node].proposer(certificate.round));
                    queue.push_back((node, Input::Committed { height, builder, validators: set.clone() }));
                    queue.push_back((node, Input::Ready));
                }
                Effect::Broadcast(message) => {
                    let bytes = message.to_bytes();
                    for to in (0..ids.len()).filter(|to| *to != node) {
                        let message = Message::from_bytes(&bytes).expect("what is sent can be read");
                        queue.push_back((to, Input::Message { from: ids[node], message }));
                    }
                }
                Effect::Record(_) | Effect::Send { .. } | Effect::Serve { .. } => {}
                Effect::Evidence(_) | Effect::Notice(_) => {}
            }
        }
    }
    assert!(chains[0].height() > heights, "the validators stopped at height {}", chains[0].height());
    heights as f64 / start.elapsed().as_secs_f64()
}
