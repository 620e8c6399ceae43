//! What each call of the API does.

mod data;
mod doctor;
mod hooks;
mod jobs;
mod keys;
mod ledger;
mod offers;
mod page;
mod post;
mod provide;
mod quote;
mod receipts;
mod settings;
mod wallet;
mod wishes;

pub(crate) use post::Posted;
pub(super) use post::Terms;

use super::Daemon;
use crate::disputes::Disputes;
use jobs::detail;
use serde_json::{Value, json};
use std::time::Duration;
use talkoo_api::Call;
use talkoo_base::{Amount, JobId, Refusal, RefusalCode, Tier};
use talkoo_job::JobStatus;
use talkoo_net::DialError;
use tokio::sync::oneshot;

type Answer = Result<Value, Refusal>;

fn bad(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

fn text<'a>(args: &'a Value, key: &str) -> Option<&'a str> {
    args.get(key).and_then(Value::as_str)
}

pub(super) fn required<'a>(args: &'a Value, key: &str) -> Result<&'a str, Refusal> {
    text(args, key).ok_or_else(|| bad(format!("`{key}` is missing or is no text"), "see docs/API.md"))
}

/// An optional argument; `null` counts as left out. `read` says what else it is, or has to be.
fn optional<'a, T>(
    args: &'a Value,
    key: &str,
    read: impl Fn(&'a Value) -> Result<T, &'static str>,
) -> Result<Option<T>, Refusal> {
    let given = args.get(key).filter(|value| !value.is_null());
    given.map(read).transpose().map_err(|what| bad(format!("`{key}` is not {what}"), "see docs/API.md"))
}

/// A text that somebody else will read and judge by: nothing in it may turn, hide or overwrite what stands beside it.
fn readable(args: &Value, key: &str) -> Result<String, Refusal> {
    let text = text(args, key).unwrap_or_default();
    match text.chars().find(|letter| crate::talk::is_obeyed(*letter) && !matches!(letter, '\n' | '\t')) {
        Some(letter) => {
            let message = format!("`{key}` has U+{:04X}, which is obeyed and not shown", u32::from(letter));
            Err(bad(message, "leave out control characters and marks of direction"))
        }
        None => Ok(text.to_owned()),
    }
}

fn yes_or_no(value: &Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or("true or false")
}

/// Answers that wait for the journal.
pub(super) type Replies = Vec<(oneshot::Sender<Answer>, Answer)>;

impl Daemon {
    /// Says what is durable by now. A caller that went away needs no answer.
    pub(super) fn reply(&mut self) {
        self.replies.drain(..).for_each(|(reply, answer)| drop(reply.send(answer)));
    }

    pub(super) fn call(&mut self, call: Call) {
        let Call { name, args, once, reply } = call;
        let answer = match name {
            "status" => Ok(self.status()),
            "stop" => {
                self.stop.cancel();
                Ok(json!({"stopping": true}))
            }
            "peers" => Ok(self.peers()),
            "dial" => return self.dial(&args, reply),
            "doctor" => self.doctor(),
            "invite" => Ok(self.invite()),
            "models" => Ok(json!({"models": self.shelf.every().collect::<Vec<_>>()})),
            "pull" => required(&args, "name").and_then(|n| self.pull(n)).map(|started| json!({"started": started})),
            "remove" => self.remove_unused(&args),
            "provide" => self.provide(&args),
            "earnings" => return self.earnings(&args, reply),
            "why" => Ok(self.why()),
            "post" => return self.post(&args, Some(once), reply),
            "quote" => return self.post(&args, None, reply),
            "jobs" => self.jobs(&args),
            "job" => self.job(&args).map(|job| detail(job, self.node.market())),
            "timeline" => self.job(&args).map(|job| self.timeline.of(&job.spec.id)),
            "explain" => self.explain(&args),
            "output" => self.output(&args),
            "cancel" => self.cancel(&args),
            "forget" => self.forget(&args),
            "settle" => return self.settle(reply),
            "unlock" => return self.unlock(&args, reply),
            "close" => return self.close_channels(reply),
            "accounts" => Ok(self.accounts()),
            "deals" | "deal" | "deal_quote" | "deal_restore" => return self.ask_deals(name, &args, reply),
            "deal_provide" => self.deals().and_then(|deals| deals.provide(&args)),
            "offers" => self.market_offers(&args),
            "settings" => Ok(self.settings()),
            name if name.starts_with("ledger") => return self.about_ledger(name, args, reply),
            name if name.starts_with("receipt") => return self.about_receipts(name, args, reply),
            "data_buy" | "wallet" | "wallet_history" | "wallet_pay" | "approve" | "decline" => {
                return self.about_money(name, args, reply);
            }
            name if name.starts_with("data") => return self.data(name, args, reply),
            "erase" => return self.erase(&args, reply),
            "metrics" => self.metrics(),
            "key_show" | "key_audit" => return self.read_about_keys(name, args, reply),
            name if name.starts_with("key") || name == "approvals" => self.about_keys(name, &args),
            name if name.starts_with("webhook") => self.webhooks(name, &args),
            "disputes" => self.disputes().map(Disputes::list),
            "dispute" => required(&args, "id").and_then(|id| self.disputes()?.show(id)),
            other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
        };
        // A caller that went away needs no answer.
        reply.send(answer).ok();
    }

    fn status(&self) -> Value {
        let usage = self.blocks.usage().ok();
        let offered = self.node.market().offered();
        let earned: u128 = self.node.proof().earnings().map(|(_, e)| e.received.0).sum();
        json!({
            "node": self.node.id().to_string(),
            "address": self.node.id().address().to_string(),
            "owner": self.operator.to_string(),
            "network": self.network.name,
            "chain": self.network.chain_id,
            "ledger": self.money.url.as_ref().map(ToString::to_string),
            "version": env!("CARGO_PKG_VERSION"),
            "build": self.build.to_string(),
            "uptime_s": self.started.elapsed().as_secs(),
            "api": self.api_addr.to_string(),
            "data_dir": self.config.data_dir,
            "listen": self.net.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "region": self.config.region.map(|region| region.to_string()),
            "peers": self.net.peers().len(),
            "models": self.shelf.all().len(),
            "providing": offered.is_some(),
            "slots_taken": offered.map_or(0, |(_, taken)| taken),
            "jobs_open": self.node.jobs().iter().filter(|j| j.status == JobStatus::Open).count(),
            "block_bytes": usage.map_or(0, |u| u.used_bytes),
            "earned": Amount(earned).to_string(),
            "settled_on_chain": self.money.url.is_some(),
        })
    }

    fn peers(&self) -> Value {
        let book = self.node.market();
        let peers: Vec<Value> = self
            .net
            .peers()
            .iter()
            .map(|info| {
                let peer = book.peer(&info.id);
                let offered = peer.and_then(|p| p.card.as_ref()).map_or(&[][..], |card| &card.models);
                let offers = |tier| offered.iter().filter(|offer| offer.tier == tier).count();
                json!({
                    "node": info.id.to_string(),
                    "address": info.id.address().to_string(),
                    "at": info.addr.to_string(),
                    "region": info.region.map(|region| region.to_string()),
                    "rtt_us": info.rtt_us,
                    "offers": offers(Tier::Exact),
                    "offers_float": offers(Tier::Float),
                    "decode_tps": peer.and_then(talkoo_market::Peer::decode_mtps).map(|m| m / 1000),
                    "standing": offers::standing(peer.map(|p| &p.standing)),
                    "refused_messages": self.refused.get(&info.id).copied().unwrap_or(0),
                    "sent_bytes": info.sent_bytes,
                    "received_bytes": info.received_bytes,
                })
            })
            .collect();
        json!({"peers": peers})
    }

    fn dial(&self, args: &Value, reply: oneshot::Sender<Answer>) {
        let addr = required(args, "addr").and_then(|a| {
            let hint = "an example: /ip4/127.0.0.1/tcp/4001/p2p/16Uiu2…";
            a.parse::<talkoo_net::Multiaddr>().map_err(|e| bad(format!("`{a}` is not a multiaddress ({e})"), hint))
        });
        let addr = match addr {
            Ok(addr) => addr,
            Err(no) => return drop(reply.send(Err(no))),
        };
        let net = self.net.clone();
        self.tasks.spawn(async move {
            let answer = net.dial(addr).await.map(|id| json!({"node": id.to_string()}));
            reply.send(answer.map_err(|why| not_dialled(&why))).ok();
        });
    }

    /// Removes a model unless something here needs it.
    fn remove_unused(&mut self, args: &Value) -> Answer {
        let name = required(args, "name")?;
        if let Some(held) = self.shelf.find_any(name) {
            let needs = |job: &&talkoo_job::Job| {
                job.status == JobStatus::Open && held.programs().any(|(_, root)| root == job.spec.program)
            };
            let job = self.node.jobs().iter().find(needs).map(|job| job.spec.id);
            unused(&held.name, self.providing, job)?;
        }
        self.remove(name)?;
        Ok(json!({"removed": true}))
    }

    /// An invite: where we are and which network this is.
    fn invite(&self) -> Value {
        let addresses: Vec<String> = self.net.addresses().iter().map(ToString::to_string).collect();
        let code = json!({"network": self.network.name, "chain": self.network.chain_id, "at": addresses});
        json!({"code": hex::encode(code.to_string()), "at": addresses, "network": self.network.name})
    }
}

/// Whether nothing needs a model: neither this node's offer nor an open job.
fn unused(name: &str, is_offered: bool, job: Option<JobId>) -> Result<(), Refusal> {
    let in_use = |message, hint| Err(Refusal::new(RefusalCode::InUse, message, hint));
    if is_offered {
        return in_use(format!("this node offers compute with `{name}`"), "first `talkoo provide stop`".to_owned());
    }
    match job {
        Some(job) => in_use(
            format!("the open job {job} needs `{name}`"),
            format!("wait for its end, or first `talkoo job cancel {job}`"),
        ),
        None => Ok(()),
    }
}

/// What may stand in the network library's text of a failed dial, and what we say instead of it.
const DIAL_REASONS: [(&str, &str); 7] = [
    ("local peer id", "this node itself has it"),
    ("Connection refused", "nothing listens there"),
    ("No route to host", "no route leads there"),
    ("Network is unreachable", "this machine has no way to that network"),
    ("timed out", "no answer in time"),
    ("Unexpected peer ID", "another node listens there"),
    ("Multiaddr is not supported", "this kind of address is not supported"),
];

/// Why a dial failed, in our own words; those of the network library are at most a detail.
fn not_dialled(error: &DialError) -> Refusal {
    let no = |message: String, hint: &str| Refusal::new(RefusalCode::Disconnected, message, hint);
    let is_it_up = "check the address, and that the node there is up and lets others reach it (`--listen`)";
    match error {
        DialError::Unreachable { addr, why } => {
            let known = DIAL_REASONS.iter().find(|(theirs, _)| why.contains(theirs));
            let detail = known.map_or_else(|| one_line(why), |(_, ours)| (*ours).to_owned());
            no(format!("no node answers at {addr} ({detail})"), is_it_up)
        }
        DialError::Timeout { addr, waited } => {
            no(format!("no node answers at {addr} (waited {} s)", waited.as_secs()), is_it_up)
        }
        DialError::OtherNetwork { addr } => {
            no(format!("the peer at {addr} is not a node of this network"), "start both with the same `--network`")
        }
        DialError::TooMany => Refusal::new(RefusalCode::Busy, "too many dials at once", "wait for some to finish"),
        DialError::Closed => Refusal::new(RefusalCode::Stopping, "the network is shut down", "start the node again"),
    }
}

/// A text of somebody else's, without its line breaks and runs of blanks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How long a graceful stop may take, for the command that waits for it.
pub(crate) const STOP_MS_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
