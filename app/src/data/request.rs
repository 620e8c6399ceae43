//! Sales on request: a paid grant of a version that its owner set so waits for the owner's word, over restarts.
//!
//! ```text
//! (Paid, Ask) ─► kept ─► waits ──approve──► delivered as any other, once
//!                          └────refuse───► told to the buyer's node; the contract gives the price back after the deadline
//! ```
//! A refusal can still become an approval while there is time; an approval is final, for the key may have left.

use super::chain::{Grant, State, digest};
use super::files::{Asked, Own, Word};
use super::owner::grant_json;
use super::talk::Said;
use super::{ASKED_MAX, Answer, Desks, Told, broken, lock, no};
use serde_json::{Value, json};
use talkoo_base::wire::Sealed;
use talkoo_base::{Delegation, NodeId, Refusal, RefusalCode};

/// Characters of the reason of a refusal, as its message has them at most.
const WHY_CHARS_MAX: usize = 200;

fn denied(why: String) -> Refusal {
    no(RefusalCode::Denied, why, "see docs/DATA.md")
}

fn not_both() -> Refusal {
    let why = "keepers deliver while the owner is away, and cannot ask for its word";
    no(RefusalCode::Unfit, why, "publish it without --keepers, or without --on-request")
}

impl Desks {
    /// Whether these two can be had together.
    pub(super) fn may_be_on_request(on_request: bool, has_keepers: bool) -> Answer<()> {
        if on_request && has_keepers { Err(not_both()) } else { Ok(()) }
    }

    /// Has paid grants of a version wait for the owner's word, or not any more.
    pub(crate) fn set_on_request(&self, id: &str, on: bool) -> Answer<Value> {
        let own = self.mine(id)?;
        Self::may_be_on_request(on, own.keepers.is_some())?;
        self.change(&self.own, &own.sealed.to_string(), |own| own.on_request = on)?;
        self.audit.note("on request", json!({"sealed": own.sealed.to_string(), "on": on}));
        Ok(json!({"id": own.sealed.to_string(), "on_request": on}))
    }

    /// Whether the owner said yes to a paid grant. Who asks first is kept, and told to the owner.
    pub(super) fn has_word(&self, own: &Own, grant: &Grant, to: NodeId, asks: &Sealed<Delegation>) -> Answer<()> {
        match self.asked.get(&grant.id.to_string()).map(|asked| asked.word) {
            Some(Some(Word::Approved)) => return Ok(()),
            // That later ones wait for no word takes none back.
            Some(Some(Word::Refused(why))) => return Err(denied(refused(&why, grant.end))),
            _ if !own.on_request => return Ok(()),
            Some(None) => {}
            None => self.remember_asked(grant, to, asks)?,
        }
        Err(denied("it is paid, and waits for the owner's word".into()))
    }

    fn remember_asked(&self, grant: &Grant, to: NodeId, asks: &Sealed<Delegation>) -> Answer<()> {
        let now = self.desk.time()?;
        let there = self.asked.all();
        if there.len() >= ASKED_MAX {
            for old in there.iter().filter(|old| old.end < now) {
                self.asked.remove(&old.grant.to_string()).map_err(broken)?;
            }
            if there.iter().all(|old| old.end >= now) {
                return Err(denied("too many requests wait for the owner's word".into()));
            }
        }
        let version = digest(grant.version);
        let asked =
            Asked { grant: grant.id, version, node: to, at: now, end: grant.end, delegation: asks.clone(), word: None };
        self.asked.put(&grant.id.to_string(), &asked).map_err(broken)?;
        let about = json!({
            "grant": grant.id, "version": version.to_string(), "node": to.to_string(), "grantee": grant.grantee.to_string(),
            "price": grant.price.to_string(),
        });
        self.audit.note("request", about.clone());
        self.tell("data.request", about);
        Ok(())
    }

    /// A request that the owner can answer now.
    fn answerable(&self, grant: u64) -> Answer<Asked> {
        let there = self.desk.grant(grant)?;
        match there.state {
            State::None => return Err(denied("there is no such grant".into())),
            State::Granted => {
                return Err(no(RefusalCode::AlreadyUsed, "it is delivered already", "talkoo data revoke ends it"));
            }
            State::Revoked | State::Refunded => return Err(denied("this grant is over".into())),
            State::Paid if self.desk.time()? > there.end => {
                return Err(denied("it is too late to deliver: the price goes back".into()));
            }
            State::Paid => {}
        }
        let hint = "its buyer's node has to ask first, and its version to be on request: talkoo data requests";
        let none = || no(RefusalCode::UnknownId, format!("no request of grant {grant} waits here"), hint);
        self.asked.get(&grant.to_string()).ok_or_else(none)
    }

    /// Lets a request be delivered.
    pub(crate) fn approve(&self, grant: u64) -> Answer<Value> {
        let asked = self.answerable(grant)?;
        self.change(&self.asked, &grant.to_string(), |asked| asked.word = Some(Word::Approved))?;
        self.audit.note("approved", json!({"grant": grant, "node": asked.node.to_string()}));
        // As if it asked again; if the thread has no room for it, it does so by itself.
        let ask = Said::Ask { version: asked.version, grant, delegation: asked.delegation };
        self.to.try_send(Told::Said(asked.node, ask)).ok();
        Ok(json!({"grant": grant, "answer": "approved", "node": asked.node.to_string()}))
    }

    /// Refuses a request; the buyer's node is told why.
    pub(crate) fn refuse(&self, grant: u64, why: &str) -> Answer<Value> {
        let asked = self.answerable(grant)?;
        if why.chars().count() > WHY_CHARS_MAX {
            let long = format!("the reason has more than {WHY_CHARS_MAX} characters");
            return Err(no(RefusalCode::Malformed, long, "say it shorter"));
        }
        let mut is_late = false;
        self.change(&self.asked, &grant.to_string(), |asked| match asked.word {
            Some(Word::Approved) => is_late = true,
            _ => asked.word = Some(Word::Refused(why.to_owned())),
        })?;
        if is_late {
            let hint = "talkoo data revoke, once it is delivered";
            return Err(no(RefusalCode::AlreadyUsed, "it was approved: the key is on its way", hint));
        }
        self.audit.note("refused by the owner", json!({"grant": grant, "node": asked.node.to_string(), "why": why}));
        let reason = refused(why, asked.end);
        self.post(asked.node, &Said::Refuse { version: asked.version, grant, reason });
        let hint = "the contract gives the price back to the buyer after `back_after`, in Unix seconds, and not before";
        Ok(json!({"grant": grant, "answer": "refused", "back_after": asked.end, "hint": hint}))
    }

    /// All grants of ours, and what the owner said to those that were asked for.
    pub(crate) fn requests(&self) -> Answer<Value> {
        let (mut rows, now) = (Vec::new(), self.desk.time()?);
        for own in self.own.all() {
            let Some(published) = own.published else { continue };
            let version = self.desk.version(published.version.0.into())?;
            let purpose = self.manifest(&version).ok().and_then(|(_, manifest)| manifest.purposes.into_iter().next());
            for offer in self.desk.offers(version.id)? {
                for id in self.desk.bought(Some(offer.id))? {
                    let grant = self.desk.grant(id)?;
                    let can_wait = own.on_request && grant.state == State::Paid && now <= grant.end;
                    rows.push(self.request_json(&grant, can_wait, purpose.as_deref()));
                }
            }
        }
        rows.sort_by_key(|row| row["grant"].as_u64());
        Ok(json!({"grants": rows}))
    }

    fn request_json(&self, grant: &Grant, can_wait: bool, purpose: Option<&str>) -> Value {
        let asked = self.asked.get(&grant.id.to_string());
        let (answer, why) = match asked.as_ref().map(|asked| &asked.word) {
            Some(Some(Word::Approved)) => (Some("approved"), None),
            Some(Some(Word::Refused(why))) => (Some("refused"), Some(why)),
            Some(None) if can_wait => (Some("waits"), None),
            _ => (None, None),
        };
        let mut row = grant_json(grant);
        row["node"] = json!(asked.as_ref().map(|asked| asked.node.to_string()));
        row["since"] = json!(asked.as_ref().map(|asked| asked.at));
        (row["purpose"], row["answer"], row["why"]) = (json!(purpose), json!(answer), json!(why));
        row
    }

    /// What something bought waits for, for people; nothing if it is here or over.
    pub(super) fn waits(&self, bought: &super::files::Bought) -> Option<String> {
        if bought.is_here || bought.over.is_some() {
            return None;
        }
        if bought.wrap.is_some() {
            return Some("the key is here; the sealed blocks come".into());
        }
        let said =
            || lock(&self.said).get(&bought.name()).map(|(said, _)| format!("the key; its owner's node says: {said}"));
        let silent = || "the key; its owner's node has not answered yet".into();
        Some(self.waits_for(bought).or_else(said).unwrap_or_else(silent))
    }
}

fn refused(why: &str, end: u64) -> String {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("the owner refused it{why}; the price comes back after {end} (Unix seconds)")
}
