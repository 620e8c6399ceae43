//! What the market offers: the newest signed card of every node that has one.

use super::{Answer, Daemon, page};
use crate::models::catalog;
use serde_json::{Value, json};
use talkoo_base::{Amount, Card, Digest, ModelOffer, NodeId};
use talkoo_engine::KvFormat;
use talkoo_market::{Peer, Standing};

/// Offers of a page, if nobody says how many.
const USUAL: usize = 100;

/// What is thought of a peer, in a word.
pub(super) fn standing(standing: Option<&Standing>) -> String {
    match standing {
        Some(Standing::Convicted(why)) => format!("liar: {why}"),
        Some(Standing::Paused(_)) => "paused".into(),
        Some(Standing::Good) | None => "good".into(),
    }
}

impl Daemon {
    pub(super) fn market_offers(&self, args: &Value) -> Answer {
        let now = self.now().unix;
        let offered: Vec<(&NodeId, &Peer, &Card)> = self
            .node
            .market()
            .peers()
            .filter_map(|(node, peer)| Some((node, peer, peer.card.as_ref().filter(|card| card.expiry > now)?)))
            .collect();
        let (rows, next) = page::page(args, USUAL, offered.iter(), |(node, ..)| node.to_string())?;
        let rows: Vec<Value> = rows.into_iter().map(|(node, peer, card)| self.offered(node, peer, card)).collect();
        Ok(json!({"offers": rows, "next_cursor": next}))
    }

    fn offered(&self, node: &NodeId, peer: &Peer, card: &Card) -> Value {
        json!({
            "node": node.to_string(),
            "operator": card.operator.to_string(),
            "connected": peer.up,
            "standing": standing(Some(&peer.standing)),
            "slots": card.slots,
            "price_input": Amount(card.price.input).to_string(),
            "price_output": Amount(card.price.output).to_string(),
            "expires": card.expiry.0,
            "decode_tps_measured": peer.decode_mtps().map(|speed| speed / 1000),
            "models": card.models.iter().map(|offer| self.offered_model(offer)).collect::<Vec<_>>(),
        })
    }

    fn offered_model(&self, offer: &ModelOffer) -> Value {
        json!({
            "name": self.program_name(&offer.program),
            "program": offer.program.to_string(),
            "tier": offer.tier.name(),
            "context": offer.context,
            "prefill_tps": offer.prefill_mtps / 1000,
            "decode_tps": offer.decode_mtps / 1000,
        })
    }

    /// What a program is called here, or in the catalogue.
    fn program_name(&self, program: &Digest) -> Option<String> {
        let held = self.shelf.every().find(|held| held.programs().any(|(_, root)| root == *program));
        let listed = || {
            let has = |entry: &&catalog::Entry| KvFormat::ALL.iter().any(|kv| entry.root_with(*kv) == Some(*program));
            catalog::every().find(has)
        };
        held.map(|held| held.name.clone()).or_else(|| listed().map(|entry| entry.name.clone()))
    }
}
