//! The way of an event to its address: signed, tried again, given up.

use super::{Hook, Hooks, Pending, SECRET_PREFIX, json_of, lock};
use crate::collect::unix;
use crate::files::write;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long to wait after each attempt that failed, in seconds: the standard's schedule.
const AGAIN_S: &[u64] = &[5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// How long an address may take.
const WAIT: Duration = Duration::from_secs(10);
/// Events that are told side by side, and those to one address: who does not answer holds up nobody else.
const AT_ONCE: usize = 16;
/// Those to one address.
const AT_ONCE_EACH: usize = 2;
/// How long to look away if nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What became of an attempt.
enum Told {
    Yes,
    /// The address does not want to hear any more.
    Gone,
    No(String),
}

/// `v1,` and the base64 of HMAC-SHA256(secret, id.time.body).
pub(super) fn signature(secret: &str, event: &str, time: u64, body: &str) -> String {
    let secret = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    let key = STANDARD.decode(secret).unwrap_or_else(|_| secret.as_bytes().to_vec());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(format!("{event}.{time}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn agent() -> ureq::Agent {
    // An answer that sends us elsewhere is a failure, as the standard has it.
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(WAIT));
    config.build().into()
}

fn post(agent: &ureq::Agent, hook: &Hook, one: &Pending) -> Told {
    let time = unix();
    let request = agent
        .post(&hook.url)
        .header("content-type", "application/json")
        .header("webhook-id", &one.event)
        .header("webhook-timestamp", time.to_string())
        .header("webhook-signature", signature(&hook.secret, &one.event, time, &one.body));
    match request.send(&one.body) {
        Ok(answer) if answer.status().is_success() => Told::Yes,
        Ok(answer) if answer.status() == 410 => Told::Gone,
        Ok(answer) => Told::No(format!("it answered {}", answer.status())),
        Err(why) => Told::No(why.to_string()),
    }
}

impl Hooks {
    /// Tells what has to be told, until it is stopped.
    pub(crate) async fn go(self: Arc<Self>, stop: CancellationToken) {
        let (agent, mut under_way) = (agent(), JoinSet::new());
        // Whose event is under way, by the event's name.
        let mut busy = BTreeMap::<String, String>::new();
        loop {
            let wait = self.begin(&agent, &mut busy, &mut under_way);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(done) = under_way.join_next() => match done {
                    Ok((one, told)) => {
                        busy.remove(&one.name());
                        self.settle(one, told);
                    }
                    // What panicked is not known by name: all that is not under way any more may begin again.
                    Err(why) => {
                        tracing::error!(%why, "telling a webhook broke");
                        tokio::time::sleep(WAIT).await;
                        busy.clear();
                    }
                },
            }
        }
    }

    /// Begins with what is due; how long until something else is.
    fn begin(
        &self,
        agent: &ureq::Agent,
        busy: &mut BTreeMap<String, String>,
        under_way: &mut JoinSet<(Pending, Told)>,
    ) -> Duration {
        let (hooks, now) = (self.all(), unix());
        let mut waiting: Vec<Pending> =
            lock(&self.pending).values().filter(|one| !busy.contains_key(&one.name())).cloned().collect();
        waiting.sort_by_key(|one| one.due);
        let mut next = IDLE;
        for one in waiting {
            if one.due > now {
                next = next.min(Duration::from_secs(one.due - now));
                break;
            }
            let at_it = busy.values().filter(|hook| **hook == one.hook).count();
            if busy.len() >= AT_ONCE || at_it >= AT_ONCE_EACH {
                continue;
            }
            let Some(hook) = hooks.iter().find(|hook| hook.id == one.hook && !hook.is_gone).cloned() else {
                self.forget(&one.name());
                continue;
            };
            busy.insert(one.name(), one.hook.clone());
            let agent = agent.clone();
            under_way.spawn_blocking(move || {
                let told = post(&agent, &hook, &one);
                (one, told)
            });
        }
        next
    }

    fn settle(&self, mut one: Pending, told: Told) {
        let is_over = match &told {
            Told::Yes | Told::Gone => true,
            Told::No(_) => one.is_test || one.attempts >= AGAIN_S.len(),
        };
        self.note(&one, &told, is_over);
        if is_over {
            return self.forget(&one.name());
        }
        one.due = unix() + AGAIN_S[one.attempts];
        one.attempts += 1;
        let mut pending = lock(&self.pending);
        // It may have been removed meanwhile.
        if let Some(kept) = pending.get_mut(&one.name()) {
            if let Err(why) = write(&self.path(&one.name()), &json_of(&one)) {
                tracing::warn!(%why, "a webhook's attempts could not be written");
            }
            *kept = one;
        }
    }

    /// Keeps what an address did.
    fn note(&self, one: &Pending, told: &Told, is_over: bool) {
        let mut hooks = lock(&self.hooks);
        let Some(hook) = hooks.iter_mut().find(|hook| hook.id == one.hook) else { return };
        match told {
            Told::Yes => (hook.delivered, hook.trouble) = (hook.delivered + 1, None),
            Told::Gone => (hook.is_gone, hook.trouble) = (true, Some("it answered 410 Gone".into())),
            Told::No(why) => {
                hook.given_up += u64::from(is_over);
                tracing::info!(hook = hook.id, why, "a webhook was not told");
                hook.trouble = Some(why.clone());
            }
        }
        if let Err(why) = self.save(&hooks) {
            tracing::warn!(%why, "webhooks could not be written");
        }
    }
}
