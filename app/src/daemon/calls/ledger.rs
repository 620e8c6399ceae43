//! Calls about the chain that this node serves. Each asks its JSON-RPC, so it has a thread of its own.

use super::{Answer, Daemon, bad, page, required};
use crate::ledger::Explorer;
use serde_json::Value;
use tokio::sync::oneshot;

/// Blocks or transactions of a page, if nobody says how many.
const USUAL: usize = 20;

impl Daemon {
    pub(super) fn about_ledger(&self, name: &'static str, args: Value, reply: oneshot::Sender<Answer>) {
        let explorer = match self.money.explorer() {
            Ok(explorer) => explorer,
            // Who asked may have gone.
            Err(no) => return drop(reply.send(Err(no))),
        };
        self.tasks.spawn_blocking(move || reply.send(look(&explorer, name, &args)).ok());
    }
}

fn look(explorer: &Explorer, name: &str, args: &Value) -> Answer {
    match name {
        "ledger" => explorer.summary(),
        "ledger_blocks" => explorer.blocks(page::number(args)?, page::limit(args, USUAL)?),
        "ledger_block" => {
            let from = page::number(args)?.unwrap_or(0);
            let from = usize::try_from(from).map_err(|_| page::odd(&from.to_string()))?;
            explorer.block(required(args, "block")?, from, page::limit(args, USUAL)?)
        }
        "ledger_transaction" => explorer.transaction(required(args, "hash")?),
        "ledger_address" => explorer.address(required(args, "address")?),
        other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
    }
}
