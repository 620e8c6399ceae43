//! What happens, for all who watch: a ring of the last events, and readers who may come back to where they were.
//!
//! An event's id is `RUN-NUMBER`: RUN is new with every start of the node, NUMBER counts its events from 1. A reader names the
//! last id that it read (`Last-Event-ID`); if what came since is not in the ring any more, `lagged` says how much is lost, and
//! after a new start `reset` says that it is not known. Nothing of it is on the disk: what matters stands in the journal.

use crate::limits::{EVENTS_AT_ONCE, EVENTS_BYTES_MAX, EVENTS_MAX, KEEP_ALIVE_MS, LISTENERS_MAX};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Every type of event.
pub const TYPES: &[&str] = &[
    "audit.ended",
    "audit.started",
    "build.quarantined",
    "data.delivered",
    "data.here",
    "data.kept",
    "data.keeper",
    "data.over",
    "data.released",
    "data.request",
    "dispute.begun",
    "dispute.ended",
    "dispute.move",
    "evidence.kept",
    "job.closed",
    "lagged",
    "lease.lost",
    "lease.progress",
    "lease.sold",
    "lease.started",
    "model.failed",
    "model.pulled",
    "model.pulling",
    "model.ready",
    "model.waiting",
    "node.convicted",
    "node.faulty",
    "node.warned",
    "peer.down",
    "peer.up",
    "provide.free",
    "provide.held_back",
    "reset",
    "step.done",
    "step.failed",
    "step.revoked",
];

/// The events of one run of the node. A clone is the same feed.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    run: u64,
    ring: Mutex<Ring>,
    /// Number of the last event.
    last: watch::Sender<u64>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Told>,
    bytes: usize,
    last: u64,
}

#[derive(Clone, Debug)]
struct Told {
    number: u64,
    kind: Arc<str>,
    json: Arc<str>,
}

/// Where a reader goes on, and what of it: everything, unless types are named.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) after: Option<(u64, u64)>,
    pub(crate) types: Option<BTreeSet<String>>,
}

impl Feed {
    /// An empty feed of a run, which has to have another number than every run before.
    #[must_use]
    pub fn new(run: u64) -> Self {
        let places = Arc::new(Semaphore::new(LISTENERS_MAX));
        Self(Arc::new(Inner { run, ring: Mutex::default(), last: watch::Sender::new(0), places }))
    }

    /// Tells an event: an object whose `type` is one of [`TYPES`].
    pub fn tell(&self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        debug_assert!(TYPES.contains(&kind), "`{kind}` is not among the types of events");
        let (kind, json): (Arc<str>, Arc<str>) = (kind.into(), event.to_string().into());
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        ring.bytes += json.len();
        let number = ring.last;
        ring.events.push_back(Told { number, kind, json });
        while ring.events.len() > EVENTS_MAX || ring.bytes > EVENTS_BYTES_MAX {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.json.len();
        }
        // Told under the lock, so that numbers never go back.
        self.0.last.send_replace(number);
    }

    /// Readers at this moment.
    #[must_use]
    pub fn readers(&self) -> usize {
        LISTENERS_MAX - self.0.places.available_permits()
    }

    /// The stream for one reader; refused if there are too many.
    pub(crate) fn listen(
        &self,
        wish: Wish,
        stop: CancellationToken,
    ) -> Result<impl Stream<Item = String> + use<>, Refusal> {
        let place = self.0.places.clone().try_acquire_owned().map_err(|_| {
            let hint = "close a reader, or ask for less often what you need";
            Refusal::new(RefusalCode::Busy, "too many read the events", hint)
                .with(1, 0)
                .with(LISTENERS_MAX, "all taken")
        })?;
        let changed = self.0.last.subscribe();
        let now = *changed.borrow();
        let mut first = String::from(": listening\n");
        let next = match wish.after {
            None => now + 1,
            Some((run, number)) if run == self.0.run && number <= now => number + 1,
            Some((run, _)) => {
                let reason = if run == self.0.run { "this event never was" } else { "the node was started again" };
                let hint = "read again what you need to know";
                let event = json!({"type": "reset", "reason": reason, "hint": hint});
                first.push_str(&self.line(now, "reset", &event.to_string()));
                now + 1
            }
        };
        // Whoever is cut off before the first event knows where to go on.
        first.push_str(&format!("id: {}-{}\n\n", self.0.run, next - 1));
        let reader =
            Reader { feed: self.clone(), next, told: next - 1, types: wish.types, changed, stop, _place: place };
        let later = stream::unfold(reader, |mut reader| async move {
            let text = reader.more().await?;
            Some((text, reader))
        });
        Ok(stream::once(async { first }).chain(later))
    }

    fn line(&self, number: u64, kind: &str, json: &str) -> String {
        format!("id: {}-{number}\nevent: {kind}\ndata: {json}\n\n", self.0.run)
    }

    /// The events from `next` on that are still there, a few at once, and how many before them are not.
    fn since(&self, next: u64) -> (u64, Vec<Told>) {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.events.front().map_or(ring.last + 1, |told| told.number);
        let missed = first.saturating_sub(next);
        let skip = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
        (missed, ring.events.iter().skip(skip).take(EVENTS_AT_ONCE).cloned().collect())
    }
}

/// One who reads.
struct Reader {
    feed: Feed,
    /// Number of the next event.
    next: u64,
    /// Number that the reader was told last.
    told: u64,
    types: Option<BTreeSet<String>>,
    changed: watch::Receiver<u64>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// What to write next; nothing when the node stops.
    async fn more(&mut self) -> Option<String> {
        loop {
            self.changed.mark_unchanged();
            let text = self.ready();
            if !text.is_empty() {
                return Some(text);
            }
            // In this order: what happened before the stop is still told.
            tokio::select! {
                biased;
                changed = self.changed.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_millis(KEEP_ALIVE_MS)) => return Some(self.still_here()),
            }
        }
    }

    fn ready(&mut self) -> String {
        let (missed, events) = self.feed.since(self.next);
        let mut text = String::new();
        if missed > 0 {
            self.next += missed;
            self.told = self.next - 1;
            let event = json!({"type": "lagged", "missed": missed});
            text.push_str(&self.feed.line(self.told, "lagged", &event.to_string()));
        }
        for event in events {
            self.next = event.number + 1;
            if self.types.as_ref().is_none_or(|types| types.contains(&*event.kind)) {
                self.told = event.number;
                text.push_str(&self.feed.line(event.number, &event.kind, &event.json));
            }
        }
        text
    }

    /// Keeps an idle connection open, and moves a reader on past events that it does not want.
    fn still_here(&mut self) -> String {
        let mut text = String::from(": still here\n");
        if self.told + 1 < self.next {
            self.told = self.next - 1;
            text.push_str(&format!("id: {}-{}\n", self.feed.0.run, self.told));
        }
        text.push('\n');
        text
    }
}

/// Reads a `Last-Event-ID`.
pub(crate) fn event_id(text: &str) -> Result<(u64, u64), Refusal> {
    let parts = text.split_once('-').and_then(|(run, number)| Some((run.parse().ok()?, number.parse().ok()?)));
    parts.ok_or_else(|| {
        let hint = "send the last `id:` that was read, or leave the header out";
        Refusal::new(RefusalCode::Malformed, "`Last-Event-ID` is no event's id", hint)
    })
}
