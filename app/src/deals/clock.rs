//! The thread that follows the chain's clock: it takes part in the beacon, shows leaves, lets time decide, and collects.

use super::office::{BeaconClock, OfficeError};
use super::record::{Fate, Object};
use super::{Reply, Shared, orders, refusal};
use crate::ledger::unix;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use talkoo_base::Digest;
use talkoo_ledger::bindings::Draw;
use tracing::warn;

/// How often the chain is looked at: of ours, and of one whose server is shared.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_OUTSIDE: Duration = Duration::from_secs(15);
/// Seconds after the end of an object's time in which its deals are followed.
const FOLLOWED_S: u64 = 7 * 24 * 3_600;

pub(super) struct Clock {
    shared: Arc<Shared>,
    beacon: Option<BeaconClock>,
    /// The last round that may have a commit of ours.
    watched: Option<u64>,
    /// What was said last of a deal, or of all of them, so that it is not said again and again.
    trouble: BTreeMap<Option<Digest>, String>,
}

impl Clock {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, beacon: None, watched: None, trouble: BTreeMap::new() }
    }

    pub(super) fn run(mut self, asked: &Receiver<Reply>) {
        let look = if self.shared.office.is_outside { LOOK_OUTSIDE } else { LOOK };
        let mut next = Instant::now();
        while !self.shared.stop.is_cancelled() {
            match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(reply) => drop(reply.send(orders::list(&self.shared).map_err(|why| refusal(&why)))),
                // Whoever asks all the time does not stop the clock.
                Err(RecvTimeoutError::Timeout) => {
                    self.turn();
                    next = Instant::now() + look;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn turn(&mut self) {
        let kept = self.shared.kept.all();
        for one in &kept {
            let shown = self.shared.show(one);
            self.say(Some(one.deal), shown.err().map(|why| format!("{why:#}")));
        }
        let objects = self.shared.objects.all();
        // What is lost may still be active on chain: its money is ours.
        let open = |object: &&Object| unix() < object.until.saturating_add(FOLLOWED_S);
        let ours = objects.iter().filter(open).flat_map(|object| &object.replicas);
        let ours: Vec<Digest> = ours.filter(|one| one.fate != Fate::Done).map(|one| one.deal).collect();
        for deal in &ours {
            let poked = self.poke(deal);
            self.say(Some(*deal), poked.err().map(|why| why.to_string()));
        }
        let is_idle = kept.is_empty() && ours.is_empty();
        let done = self.draw(is_idle).and_then(|()| {
            // On a chain whose gas costs something, only when nothing more will come.
            let is_nobodys = objects.is_empty() && self.shared.offering().is_none();
            let waits = self.shared.office.is_outside && !is_idle;
            if is_nobodys || waits { Ok(()) } else { self.shared.office.collect() }
        });
        self.say(None, done.err().map(|why| why.to_string()));
    }

    /// The client's own interest: what was missed is its money.
    fn poke(&self, deal: &Digest) -> Result<(), OfficeError> {
        let office = &self.shared.office;
        match office.challenge(deal)? {
            Some(drawn) if matches!(drawn.draw, Draw::Missed | Draw::Void) => office.poke(deal),
            _ => Ok(()),
        }
    }

    /// Takes part in the beacon as long as there are deals, and we have one; what is committed is revealed in any case.
    fn draw(&mut self, is_idle: bool) -> Result<(), OfficeError> {
        let office = &self.shared.office;
        let commits = !is_idle && office.has_active()?;
        let clock = match self.beacon {
            Some(clock) => clock,
            None => *self.beacon.insert(office.beacon_clock()?),
        };
        // A kill may have left a commit of this round.
        let watched = *self.watched.get_or_insert_with(|| clock.round(unix()));
        if !commits && clock.round(unix()) > watched {
            return Ok(());
        }
        let round = office.draw(&clock, commits)?;
        self.watched = Some(if commits { round } else { watched });
        Ok(())
    }

    fn say(&mut self, deal: Option<Digest>, why: Option<String>) {
        if let Some(why) = &why
            && self.trouble.get(&deal) != Some(why)
        {
            let deal = deal.map(|deal| deal.short());
            warn!(?deal, why, "a deal can't be followed; trying again");
        }
        match why {
            Some(why) => self.trouble.insert(deal, why),
            None => self.trouble.remove(&deal),
        };
    }
}
