//! The loop's part of an erasure: whose jobs are meant, and their end, after which the journal has no line about them.

use super::calls::required;
use super::{Daemon, Event};
use crate::erase::{self, Ages, How, Intent, Jobs, Places, Report, Retention, receipts};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use talkoo_base::{JobId, Refusal, RefusalCode};
use talkoo_job::{Job, JobStatus};
use talkoo_node::Input;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

type Answer = Result<Value, Refusal>;

/// What erasures need.
pub(super) struct Erasure {
    places: Places,
    ages: Ages,
    /// One at a time.
    is_under_way: bool,
    /// The jobs of this one are forgotten with this turn.
    last: Option<Done>,
}

/// What a thread found or erased.
pub(crate) struct Done {
    result: Result<Report, Refusal>,
    how: How,
    jobs: BTreeSet<JobId>,
    /// Who asked; nobody, if its time was over.
    reply: Option<oneshot::Sender<Answer>>,
}

/// What the loop hears of erasures.
pub(crate) enum Heard {
    /// Time to look what is due.
    Due,
    Done(Box<Done>),
}

impl Erasure {
    pub(super) fn new(places: Places, ages: Ages) -> Self {
        Self { places, ages, is_under_way: false, last: None }
    }
}

/// The jobs that are over, for [`Ages`].
pub(super) fn over(node: &talkoo_node::Node) -> impl Iterator<Item = String> {
    node.jobs().iter().filter(|job| job.status != JobStatus::Open).map(|job| job.spec.id.to_string())
}

impl Daemon {
    /// Finishes what a kill cut off, before the node says that it is up.
    pub(super) async fn finish_erasure(&mut self) -> anyhow::Result<()> {
        let dir = self.erasure.places.dir.clone();
        let Some(mut intent) = Intent::open(&dir).map_err(|why| {
            let hint = "if it can't be mended, remove it and erase again";
            anyhow::anyhow!("{} cannot be read ({why}): {hint}", dir.join("erasing.json").display())
        })?
        else {
            return Ok(());
        };
        info!("finishing an erasure that was begun before");
        let (jobs, ids) = self.meant(&intent);
        let places = self.erasure.places.clone();
        let work = move || erase::perform(&places, &mut intent, &jobs, How::Finish);
        let result = tokio::task::spawn_blocking(work).await?;
        self.erased(Done { result, how: How::Finish, jobs: ids, reply: None });
        Ok(())
    }

    /// Looks from time to time what is due, if anything is kept for a time only.
    pub(super) fn watch_retention(&self) {
        let retention: Retention = self.config.retention;
        if retention == Retention::default() {
            return;
        }
        let (inbox, stop) = (self.inbox.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            while inbox.send(Event::Erasure(Heard::Due)).await.is_ok() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(retention.period()) => {}
                }
            }
        });
    }

    /// The jobs that an erasure means.
    fn meant(&self, intent: &Intent) -> (Jobs, BTreeSet<JobId>) {
        let (mut jobs, mut ids) = (Jobs::default(), BTreeSet::new());
        let before = intent.prompts.unwrap_or(0);
        for job in self.node.jobs().iter() {
            let id = job.spec.id.to_string();
            let is_open = job.status == JobStatus::Open;
            if is_open {
                jobs.open.insert(id.clone());
            }
            let is_meant = match (&intent.job, &intent.key) {
                (Some(named), _) => *named == id,
                (None, Some(key)) => receipts::asked_for(&self.erasure.places.dir, &id, key),
                // One without a time was over just now.
                (None, None) if is_open => before > 0,
                (None, None) => self.erasure.ages.of(&id).unwrap_or_else(|| self.now().unix.0) < before,
            };
            match is_open {
                _ if !is_meant => {}
                true => drop(jobs.running.insert(id)),
                false => {
                    jobs.bytes += self.vault.bytes_of(&job.spec.id);
                    jobs.over.insert(id);
                    ids.insert(job.spec.id);
                }
            }
        }
        (jobs, ids)
    }

    /// `POST /api/v1/erase`.
    pub(super) fn erase(&mut self, args: &Value, reply: oneshot::Sender<Answer>) {
        let how = if args["dry_run"] == true { How::Look } else { How::Erase };
        match self.intent_of(args) {
            Ok(intent) => self.begin_erasure(intent, how, Some(reply)),
            Err(no) => drop(reply.send(Err(no))),
        }
    }

    fn intent_of(&self, args: &Value) -> Result<Intent, Refusal> {
        let malformed = |message: String, hint: &str| Refusal::new(RefusalCode::Malformed, message, hint);
        let given: Vec<&str> = ["job", "key", "before", "all"]
            .into_iter()
            .filter(|name| args.get(*name).is_some_and(|value| !value.is_null() && *value != false))
            .collect();
        // What comes within this second is younger than the question.
        let now = Intent::before(self.now().unix.0 + 1);
        match given[..] {
            ["job"] => {
                let id = required(args, "job")?;
                let job = match self.job(&serde_json::json!({"id": id})) {
                    Ok(job) => job.spec.id.to_string(),
                    Err(_) => id.to_owned(),
                };
                Ok(Intent { job: Some(job), ..now })
            }
            ["key"] => {
                let name = required(args, "key")?;
                let keys = self.keys.all();
                let mut called = keys.iter().filter(|key| key.id == name || key.name == name).map(|key| &key.id);
                match (called.next(), called.next()) {
                    (Some(id), None) => Ok(Intent { key: Some(id.clone()), ..now }),
                    // A key may be gone that was there when it asked.
                    (None, _) if name.starts_with("key_") => Ok(Intent { key: Some(name.to_owned()), ..now }),
                    (None, _) => {
                        let message = format!("no key is called {name}");
                        Err(Refusal::new(RefusalCode::UnknownId, message, "see `talkoo key ls`"))
                    }
                    (Some(_), Some(_)) => {
                        let message = format!("several keys are called {name}: say which by its id");
                        Err(malformed(message, "see `talkoo key ls`"))
                    }
                }
            }
            ["before"] => {
                let text = required(args, "before")?;
                let day = crate::commands::day_begins(text);
                let day = day.map_err(|why| malformed(format!("`before` is no day ({why})"), "as 2026-01-31"))?;
                Ok(Intent::before(day.min(self.now().unix.0 + 1)))
            }
            ["all"] => Ok(now),
            _ => Err(malformed("say one of `job`, `key`, `before` and `all`".to_owned(), "see docs/OPERATIONS.md")),
        }
    }

    /// Has a thread look, or erase.
    fn begin_erasure(&mut self, mut intent: Intent, how: How, reply: Option<oneshot::Sender<Answer>>) {
        // What the disk refused goes first: its record is the only one that says so.
        let unfinished = || Intent::open(&self.erasure.places.dir).ok().flatten();
        let before = (how == How::Erase && !self.erasure.is_under_way).then(unfinished).flatten();
        if how == How::Erase && (before.is_some() || self.erasure.is_under_way) {
            let no = Refusal::new(RefusalCode::Busy, "another erasure is under way", "ask again in a minute");
            reply.map(|reply| reply.send(Err(no)));
            return before.into_iter().for_each(|before| self.begin_erasure(before, How::Finish, None));
        }
        self.erasure.is_under_way |= how != How::Look;
        let (jobs, ids) = self.meant(&intent);
        let (places, inbox) = (self.erasure.places.clone(), self.inbox.clone());
        self.tasks.spawn_blocking(move || {
            let result = erase::perform(&places, &mut intent, &jobs, how);
            let done = Done { result, how, jobs: ids, reply };
            // A loop that ended finishes it at the next start.
            inbox.blocking_send(Event::Erasure(Heard::Done(Box::new(done)))).ok();
        });
    }

    pub(super) fn hear_erasure(&mut self, heard: Heard) {
        match heard {
            Heard::Done(done) => self.erased(*done),
            Heard::Due if self.erasure.is_under_way => {}
            Heard::Due => {
                if let Some(due) = self.config.retention.due(self.now().unix.0) {
                    self.begin_erasure(due, How::Erase, None);
                }
            }
        }
    }

    /// The files are gone: now the jobs.
    fn erased(&mut self, done: Done) {
        if done.how != How::Look && done.result.is_ok() {
            self.pending.extend(done.jobs.iter().map(|job| Input::Forget(*job)));
            self.erasure.last = Some(done);
            return;
        }
        if done.how != How::Look {
            self.erasure.is_under_way = false;
        }
        if let (Err(no), None) = (&done.result, &done.reply) {
            error!(%no, "not everything could be erased that has to be");
        }
        if let Some(reply) = done.reply {
            // Who asked may have gone.
            reply.send(done.result.map(|report| report.json(true))).ok();
        }
    }

    /// The jobs are forgotten and their blocks gone: the journal is written anew without them, and the intent goes.
    pub(super) fn end_erasure(&mut self) -> anyhow::Result<()> {
        let Some(done) = self.erasure.last.take() else { return Ok(()) };
        if !done.jobs.is_empty() {
            self.snapshot()?;
        }
        Intent::close(&self.erasure.places.dir)?;
        self.erasure.is_under_way = false;
        let Ok(report) = done.result else { return Ok(()) };
        if !report.tally.is_empty() {
            info!(kinds = %report.tally.json(), "erased");
        }
        if let Some(reply) = done.reply {
            self.replies.push((reply, Ok(report.json(false))));
        }
        Ok(())
    }

    /// A job is over that is kept until somebody erases it.
    pub(super) fn note_over(&mut self, job: &JobId) {
        let is_kept = self.node.jobs().get(job).is_some_and(|job: &Job| job.status != JobStatus::Open);
        let now = self.now().unix.0;
        if is_kept && let Err(why) = self.erasure.ages.note(job.to_string(), now) {
            warn!(%why, "when a job was over could not be written: it counts from the next start");
        }
    }

    /// A job was forgotten.
    pub(super) fn forgotten(&mut self, job: &JobId) -> anyhow::Result<()> {
        self.vault.forget(job)?;
        self.erasure.ages.forget(&job.to_string());
        if let Err(why) = receipts::leave(&self.erasure.places.dir, job) {
            warn!(%why, %job, "its folder of receipts could not be looked at");
        }
        Ok(())
    }
}

/// Opens what erasures need.
pub(super) fn open(places: Places, node: &talkoo_node::Node, dir: &Path) -> anyhow::Result<Erasure> {
    let ages = Ages::open(dir, over(node), crate::ledger::unix())?;
    Ok(Erasure::new(places, ages))
}
