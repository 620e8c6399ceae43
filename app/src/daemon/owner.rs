//! The owner's limits on a running node.

use super::executor::Load;
use super::limits::{LOOK, Senses};
use super::{Daemon, Event};
use serde_json::json;
use std::time::Instant;
use talkoo_node::Input;
use tracing::info;

impl Daemon {
    /// Starts to look at the machine, if its owner set limits.
    pub(super) fn watch_owner(&self) {
        if !self.config.limits.is_any() {
            return;
        }
        let (inbox, stop) = (self.inbox.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let mut load = Load::default();
            loop {
                if inbox.send(Event::Senses(Senses::look(&mut load))).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
    }

    /// Takes the offer back, or makes it again; gives running work back when its time is over.
    pub(super) fn sensed(&mut self, senses: &Senses) {
        let against = self.config.limits.against(senses);
        match (against, &mut self.held_back) {
            (None, None) => {}
            (None, Some(_)) => {
                self.held_back = None;
                info!("no limit of the owner is touched any more: offering again");
                self.tell(&json!({"type": "provide.free"}));
                self.offer();
            }
            (Some(why), None) => {
                info!(%why, "held back for the owner: no new work");
                self.tell(&json!({"type": "provide.held_back", "message": why.to_string()}));
                self.held_back = Some((why, Some(Instant::now() + self.config.limits.reclaim)));
                self.offer();
            }
            (Some(why), Some((there, until))) => {
                *there = why;
                if until.is_some_and(|until| until <= Instant::now()) {
                    *until = None;
                    // Every client pays the chunks it has, and takes the rest to another worker.
                    self.pending.push(Input::Stopping);
                }
            }
        }
    }
}
