//! How long it takes to rank 10,000 cards for a job: prints milliseconds, the best of ten.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures, and says so"
)]

use std::time::Instant;
use talkoo_base::{Address, Card, Digest, JobId, ModelOffer, Mono, NodeId, Now, Preferences, Price, Sort, Tier, Unix};
use talkoo_market::{Input, Market, Wanted};

fn main() {
    let now = Now { mono: Mono(0), unix: Unix(0) };
    let mut market = Market::new(NodeId::pretended(0));
    let price = Price { input: 1, output: 1 };
    for n in 1..=10_000_u32 {
        let model = ModelOffer {
            program: Digest([u8::from(n.is_multiple_of(4)); 32]),
            tier: Tier::Exact,
            context: 1_024 << (n % 3),
            prefill_mtps: 1,
            decode_mtps: u64::from(n),
        };
        let node = NodeId::pretended(n);
        market.handle(now, Input::PeerUp(node), &mut Vec::new());
        let card = Card {
            version: 1,
            node,
            operator: Address([1; 20]),
            build: Digest::ZERO,
            models: vec![model],
            slots: 2,
            price: Price { output: u128::from(n % 3), ..price },
            expiry: Unix(1),
        };
        market.handle(now, Input::Card(card), &mut Vec::new());
    }
    let wanted = Wanted {
        job: JobId(Digest::ZERO),
        program: Digest::ZERO,
        tier: Tier::Exact,
        context: 2_048,
        price_max: price,
        nodes_max: 64,
        own: false,
        prefer: Preferences { sort: Some(Sort::Price), ..Preferences::default() },
    };
    let once = || {
        let start = Instant::now();
        let quote = market.quote(now, &wanted, &[]);
        (start.elapsed().as_secs_f64() * 1e3, quote.workers.len(), quote.refused.len())
    };
    let best = (0..10).map(|_| once()).min_by(|a, b| a.0.total_cmp(&b.0)).expect("ten");
    println!("{:.2} ms for 10,000 cards: {} workers, {} reasons", best.0, best.1, best.2);
}
