//! Machine scripts: each line is a time, an input, and what must come out, in words.
//! A lease is written `step.number@node`. After every input the next wake lies in the future.

use crate::limits::{FIRST_CHUNK_MS_MAX, LEASES_MAX, PATIENCE, PREFILL_TOKEN_MS_MAX, RUN_FAILURES_MAX, SLACK_MS};
use crate::*;
use talkoo_base::{Digest, GenerateParams, Price, Tier, Unix};

fn n(number: u32) -> NodeId {
    NodeId::pretended(number)
}

fn number(node: &NodeId) -> u32 {
    u32::from_be_bytes(node.as_bytes()[29..].try_into().unwrap())
}

const JOB: JobId = JobId(Digest([1; 32]));

fn at(mono: u64) -> Now {
    Now { mono: Mono(mono), unix: Unix(1_000) }
}

fn spec(steps: u32) -> JobSpec {
    let params = GenerateParams { max_tokens: 128, ..Default::default() };
    let step = |i| StepSpec { custom_id: format!("s{i}"), prompt: vec![i; 10], params: params.to_bytes(), seed: 0 };
    JobSpec {
        id: JOB,
        name: "test".into(),
        program: Digest([7; 32]),
        tier: Tier::Exact,
        kind: talkoo_base::Kind::Generate,
        context: 512,
        steps: (0..steps).map(step).collect(),
        copies: true,
        price_max: Price::default(),
        nodes_max: 8,
        own: false,
        audit: AuditPolicy::Drawn,
        prefer: talkoo_base::Preferences::default(),
    }
}

fn post(steps: u32) -> Input {
    Input::Post(Box::new(spec(steps)))
}

fn agreed(node: u32, slots: u32, decode_mtps: Option<u64>) -> Input {
    Input::Agreed { job: JOB, node: n(node), slots, decode_mtps }
}

fn no(code: RefusalCode) -> Refusal {
    Refusal::new(code, "because", "")
}

fn lost(node: u32) -> Input {
    Input::Lost { job: JOB, node: n(node), refusal: no(RefusalCode::Disconnected) }
}

fn lease(step: u32, number: u32) -> Attempt {
    Attempt { job: JOB, step, number }
}

fn progress(step: u32, number: u32, units: u64) -> Input {
    Input::Progress { attempt: lease(step, number), units }
}

fn delivered(step: u32, number: u32) -> Input {
    let (attempt, tokens) = (lease(step, number), vec![step, number]);
    Input::Delivered { attempt, tokens, logprobs: Vec::new(), finish: Finish::Stop }
}

fn broken(step: u32, number: u32, code: RefusalCode) -> Input {
    Input::Broken { attempt: lease(step, number), refusal: no(code) }
}

fn verdict(step: u32, number: u32, stands: bool, audited: bool) -> Input {
    Input::Verdict { attempt: lease(step, number), stands, audited }
}

fn words(effect: &Effect) -> String {
    let name = |a: &Attempt| format!("{}.{}", a.step, a.number);
    match effect {
        Effect::Record(event) => match event.as_ref() {
            Event::Posted(spec) => format!("record {} steps", spec.steps.len()),
            Event::Done { step, done, .. } => format!("record {step}.{}@{} done", done.number, number(&done.node)),
            Event::Failed { step, code, .. } => format!("record {step} {code}"),
            Event::Revoked { step, .. } => format!("record {step} revoked"),
            Event::Closed { cancelled, .. } => format!("record {}", if *cancelled { "cancelled" } else { "closed" }),
            Event::Forgotten { .. } => "record forgotten".into(),
        },
        Effect::Want(_) => "want".into(),
        Effect::Enough(_) => "enough".into(),
        Effect::Open { attempt, node, .. } => format!("open {}@{}", name(attempt), number(node)),
        Effect::Close { attempt, refusal } => format!("close {} {}", name(attempt), refusal.code),
        Effect::Failed { node, refusal } => format!("failed {} {}", number(node), refusal.code),
        Effect::Measured { node, decode_mtps } => format!("measured {} {decode_mtps}", number(node)),
        Effect::Notice(notice) => match notice {
            Notice::Started { copy, .. } => if *copy { "(copy)" } else { "" }.into(),
            Notice::Progress { attempt, units, .. } => format!("({} has {units})", name(attempt)),
            Notice::LeaseLost { attempt, refusal, .. } => format!("(lost {} {})", name(attempt), refusal.code),
            Notice::StepRevoked { step, .. } => format!("({step} revoked)"),
            Notice::StepDone { .. } | Notice::StepFailed { .. } | Notice::Closed { .. } => String::new(),
        },
    }
}

/// Plays a script and returns what was recorded.
fn play(jobs: &mut Jobs, script: &[(u64, Input, &str)]) -> Vec<Event> {
    let mut events = Vec::new();
    for (line, (time, input, want)) in script.iter().enumerate() {
        let mut out = Vec::new();
        jobs.handle(at(*time), input.clone(), &mut out);
        // Workers of scripts have proved their slots; how they do has a test of its own.
        if let Input::Agreed { job, node, slots, .. } = input
            && let Some(worker) = jobs.jobs.get_mut(job).and_then(|job| job.workers.get_mut(node))
        {
            worker.proven = *slots;
            jobs.handle(at(*time), Input::Tick, &mut out);
        }
        let have: Vec<String> = out.iter().map(words).filter(|w| !w.is_empty()).collect();
        assert_eq!(have.join(", "), *want, "line {line}, at {time}: {input:?}");
        let wake = jobs.next_wake();
        assert!(wake.is_none_or(|wake| wake > Mono(*time)), "line {line} wakes in the past: {wake:?}");
        events.extend(out.into_iter().filter_map(|effect| match effect {
            Effect::Record(event) => Some(*event),
            _ => None,
        }));
    }
    events
}

fn check(script: &[(u64, Input, &str)]) -> (Jobs, Vec<Event>) {
    let mut jobs = Jobs::default();
    let events = play(&mut jobs, script);
    (jobs, events)
}

fn wake(jobs: &Jobs) -> Option<u64> {
    jobs.next_wake().map(|m| m.0)
}

fn statuses(jobs: &Jobs) -> Vec<StepStatus> {
    jobs.get(&JOB).unwrap().steps().iter().map(Step::status).collect()
}

#[test]
fn a_step_goes_from_lease_to_verdict() {
    use StepStatus::{Checking, Done, Running, Waiting};
    let (mut jobs, _) =
        check(&[(0, post(2), "record 2 steps, want"), (0, post(2), ""), (1, agreed(1, 1, None), "open 0.0@1")]);
    assert_eq!(
        (statuses(&jobs), wake(&jobs)),
        (vec![Running, Waiting], Some(1 + FIRST_CHUNK_MS_MAX + 10 * PREFILL_TOKEN_MS_MAX))
    );
    play(
        &mut jobs,
        &[
            // The first measurement is better than none; the second one is of decoding alone.
            (1_001, progress(0, 0, 32), "measured 1 32000, (0.0 has 32)"),
            (1_501, progress(0, 0, 64), "measured 1 64000, (0.0 has 64)"),
        ],
    );
    // 70 % of 32 a second and 30 % of 64: 32 tokens take 769 ms, times patience, and some slack.
    let chunk_ms = 32 * 1_000_000 / 41_600 * PATIENCE + SLACK_MS;
    assert_eq!(wake(&jobs), Some(1_501 + chunk_ms));
    play(&mut jobs, &[(2_000, delivered(0, 0), "(0.0 has 2), open 1.0@1")]);
    assert_eq!(statuses(&jobs), [Checking, Running]);
    let events = play(
        &mut jobs,
        &[
            (2_100, delivered(1, 0), "(1.0 has 2)"),
            (2_200, verdict(1, 0, true, true), "record 1.0@1 done"),
            (2_300, verdict(0, 0, true, false), "record 0.0@1 done, record closed, enough"),
            // Late and repeated.
            (2_400, verdict(0, 0, false, true), ""),
            (2_400, delivered(0, 0), ""),
            (2_400, progress(1, 0, 99), ""),
            (2_400, broken(1, 0, RefusalCode::Silent), ""),
            (2_400, Input::Cancel(JOB), ""),
            (2_400, agreed(2, 1, None), ""),
        ],
    );
    assert_eq!((statuses(&jobs), wake(&jobs)), (vec![Done, Done], None));
    let done = DoneOf { node: 1, tokens: vec![0, 0], audited: false };
    assert!(matches!(&events[1], Event::Done { step: 0, done: d, .. } if done.is(d)), "{:?}", events[1]);
}

struct DoneOf {
    node: u32,
    tokens: Vec<u32>,
    audited: bool,
}

impl DoneOf {
    fn is(&self, done: &Done) -> bool {
        (n(self.node), &self.tokens, self.audited) == (done.node, &done.tokens, done.audited)
    }
}

#[test]
fn a_silent_worker_lapses_and_its_step_moves() {
    let t = FIRST_CHUNK_MS_MAX + 10 * PREFILL_TOKEN_MS_MAX;
    check(&[
        (0, post(1), "record 1 steps, want"),
        (0, agreed(1, 1, None), "open 0.0@1"),
        (10, agreed(2, 1, None), ""),
        (t - 1, Input::Tick, ""),
        (t, Input::Tick, "close 0.0 silent, failed 1 silent, (lost 0.0 silent), open 0.1@2"),
        (t + 1, lost(1), ""),
        // What it sends now is of a lease that is over.
        (t + 2, progress(0, 0, 32), ""),
        (t + 2, delivered(0, 0), ""),
        (t + 3, delivered(0, 1), "(0.1 has 2)"),
        (2 * t + 9, Input::Tick, ""),
        (2 * t + 9, verdict(0, 1, true, false), "record 0.1@2 done, record closed, enough"),
    ]);
}

#[test]
fn a_prompt_buys_time_for_the_first_chunk_only() {
    let (mut jobs, _) = check(&[(0, post(1), "record 1 steps, want"), (0, agreed(1, 1, Some(10_000)), "open 0.0@1")]);
    let ms = |tokens: u64| tokens * 100 * PATIENCE + SLACK_MS;
    assert_eq!(wake(&jobs), Some(ms(32 + 10)));
    play(&mut jobs, &[(5, progress(0, 0, 32), "(0.0 has 32)")]);
    assert_eq!(wake(&jobs), Some(5 + ms(32)));
}

#[test]
fn a_lost_worker_gives_its_steps_back() {
    check(&[
        (0, post(4), "record 4 steps, want"),
        (0, agreed(1, 3, None), "open 0.0@1, open 1.0@1, open 2.0@1"),
        (1, delivered(2, 0), "(2.0 has 2), open 3.0@1"),
        (
            2,
            lost(1),
            "close 0.0 disconnected, (lost 0.0 disconnected), close 1.0 disconnected, (lost 1.0 disconnected), \
             close 3.0 disconnected, (lost 3.0 disconnected)",
        ),
        (3, lost(1), ""),
        // What it had delivered still waits for its verdict.
        (4, verdict(2, 0, true, true), "record 2.0@1 done"),
        (5, agreed(2, 9, None), "open 0.1@2, open 1.1@2, open 3.1@2"),
    ]);
}

#[test]
fn a_refused_lease_goes_to_another_and_comes_back_if_there_is_none() {
    check(&[
        (0, post(1), "record 1 steps, want"),
        (0, agreed(1, 1, None), "open 0.0@1"),
        (1, agreed(2, 1, None), ""),
        (2, broken(0, 0, RefusalCode::Busy), "(lost 0.0 busy), open 0.1@2"),
        (3, broken(0, 0, RefusalCode::Busy), ""),
        (4, broken(0, 1, RefusalCode::Busy), "(lost 0.1 busy), open 0.2@1"),
        (5, lost(1), "close 0.2 disconnected, (lost 0.2 disconnected), open 0.3@2"),
    ]);
}

#[test]
fn a_step_that_fails_in_the_engine_everywhere_is_given_up() {
    assert_eq!(RUN_FAILURES_MAX, 3);
    use RefusalCode::{Busy, RunFailed};
    let (jobs, events) = check(&[
        (0, post(2), "record 2 steps, want"),
        (0, agreed(1, 1, None), "open 0.0@1"),
        (1, broken(0, 0, RunFailed), "(lost 0.0 run_failed), open 0.1@1"),
        (2, agreed(2, 1, None), "open 1.0@2"),
        // The worker that it failed on waits for the other one.
        (3, broken(0, 1, RunFailed), "(lost 0.1 run_failed)"),
        (4, delivered(1, 0), "(1.0 has 2), open 0.2@2"),
        (5, broken(0, 2, Busy), "(lost 0.2 busy), open 0.3@1"),
        // One bad machine is no reason to give it up, however often it fails.
        (6, broken(0, 3, RunFailed), "(lost 0.3 run_failed), open 0.4@1"),
        (7, broken(0, 4, RunFailed), "(lost 0.4 run_failed), open 0.5@1"),
        (8, lost(1), "close 0.5 disconnected, (lost 0.5 disconnected), open 0.6@2"),
        (9, broken(0, 6, RunFailed), "(lost 0.6 run_failed), record 0 run_failed"),
        (10, verdict(1, 0, true, false), "record 1.0@2 done, record closed, enough"),
    ]);
    assert_eq!(statuses(&jobs), [StepStatus::Failed, StepStatus::Done]);
    assert_eq!(jobs.get(&JOB).unwrap().steps()[0].failed().unwrap().code, RunFailed);
    let again = fold(&events);
    assert_eq!(again.get(&JOB).unwrap().steps()[0].failed().unwrap().message, "because");
}

#[test]
fn a_job_is_forgotten_only_when_it_is_over() {
    let (mut jobs, mut events) = check(&[(0, post(1), "record 1 steps, want"), (0, Input::Forget(JOB), "")]);
    assert!(jobs.get(&JOB).is_some());
    let script = [(1, Input::Cancel(JOB), "record cancelled, enough"), (2, Input::Forget(JOB), "record forgotten")];
    events.extend(play(&mut jobs, &script));
    play(&mut jobs, &[(3, Input::Forget(JOB), "")]);
    for jobs in [&jobs, &fold(&events)] {
        assert!(jobs.get(&JOB).is_none() && jobs.iter().next().is_none() && jobs.history().next().is_none());
    }
}

#[test]
fn no_step_is_leased_without_end() {
    let (mut jobs, _) = check(&[(0, post(1), "record 1 steps, want"), (0, agreed(1, 1, None), "open 0.0@1")]);
    for number in 0..LEASES_MAX - 1 {
        let want = format!("(lost 0.{number} busy), open 0.{}@1", number + 1);
        play(&mut jobs, &[(1, broken(0, number, RefusalCode::Busy), &want)]);
    }
    let want = "(lost 0.99 busy), record 0 busy, record closed, enough";
    play(&mut jobs, &[(1, broken(0, 99, RefusalCode::Busy), want)]);
}

#[test]
fn a_tail_is_copied_to_a_faster_worker_and_the_loser_is_closed() {
    let slow = Some(1_000);
    check(&[
        (0, post(1), "record 1 steps, want"),
        (0, agreed(1, 1, slow), "open 0.0@1"),
        // Never measured, a little faster, much faster, faster still but there are three.
        (1, agreed(2, 1, None), ""),
        (2, agreed(3, 1, Some(1_600)), ""),
        (3, agreed(4, 2, Some(10_000)), "open 0.1@4, (copy)"),
        (4, agreed(5, 1, Some(40_000)), "open 0.2@5, (copy)"),
        (5, agreed(6, 1, Some(400_000)), ""),
        (6, delivered(0, 2), "(0.2 has 2)"),
        (
            7,
            verdict(0, 2, true, false),
            "record 0.2@5 done, close 0.0 superseded, close 0.1 superseded, record closed, enough",
        ),
        (8, delivered(0, 0), ""),
    ]);
}

#[test]
fn no_copy_while_steps_wait_or_after_delivery_or_if_the_job_says_no() {
    let quick = |node| agreed(node, 1, Some(100_000));
    check(&[
        (0, post(2), "record 2 steps, want"),
        (0, agreed(1, 1, Some(1_000)), "open 0.0@1"),
        (1, quick(2), "open 1.0@2"),
        (2, delivered(0, 0), "(0.0 has 2)"),
        (3, quick(3), ""),
        // Refuted, it goes on elsewhere.
        (4, verdict(0, 0, false, true), "(lost 0.0 proven_liar), open 0.1@3"),
    ]);
    let alone = Input::Post(Box::new(JobSpec { copies: false, ..spec(1) }));
    check(&[(0, alone, "record 1 steps, want"), (0, agreed(1, 1, Some(1)), "open 0.0@1"), (1, quick(2), "")]);
}

#[test]
fn the_fastest_choose_first_and_take_what_they_agreed_to() {
    let (mut jobs, _) = check(&[(0, agreed(1, 1, None), ""), (0, post(3), "record 3 steps, want")]);
    let spec = jobs.jobs.get_mut(&JOB).unwrap();
    for (node, slots, decode_mtps) in [(1, 1, None), (2, 1, Some(5)), (3, 2, Some(9))] {
        spec.workers.insert(n(node), Worker { slots, proven: slots, decode_mtps });
    }
    play(&mut jobs, &[(0, Input::Tick, "open 0.0@3, open 1.0@3, open 2.0@2")]);
}

#[test]
fn a_worker_gets_one_lease_more_with_every_chunk_it_delivers() {
    let (mut jobs, _) = check(&[(0, post(9), "record 9 steps, want")]);
    let mut leases = |time, input| {
        let mut out = Vec::new();
        jobs.handle(at(time), input, &mut out);
        out.iter().filter(|effect| matches!(effect, Effect::Open { .. })).count()
    };
    // Who agrees first leaves something for the others.
    assert_eq!((leases(0, agreed(1, 3, None)), leases(0, agreed(2, 3, None))), (1, 1));
    assert_eq!(leases(1, progress(0, 0, 32)), 1);
    assert_eq!(leases(2, progress(0, 0, 64)), 1);
    assert_eq!(leases(3, progress(0, 0, 96)), 0, "three slots, three leases");
    assert_eq!(leases(4, delivered(0, 0)), 1, "the next step for the one that is done");
    assert_eq!(leases(5, delivered(1, 0)), 2, "a short answer proves as much");
}

#[test]
fn a_conviction_revokes_what_nobody_re_ran() {
    let (mut jobs, events) = check(&[
        (0, post(4), "record 4 steps, want"),
        (0, agreed(1, 3, None), "open 0.0@1, open 1.0@1, open 2.0@1"),
        (0, agreed(2, 1, None), "open 3.0@2"),
        (1, delivered(0, 0), "(0.0 has 2)"),
        (1, delivered(1, 0), "(1.0 has 2)"),
        (1, delivered(3, 0), "(3.0 has 2)"),
        (2, verdict(0, 0, true, false), "record 0.0@1 done"),
        (2, verdict(1, 0, true, true), "record 1.0@1 done"),
        (2, verdict(3, 0, true, false), "record 3.0@2 done"),
        (3, lost(1), "close 2.0 disconnected, (lost 2.0 disconnected), open 2.1@2"),
        (4, Input::Convicted(n(1)), "record 0 revoked, (0 revoked)"),
        (5, Input::Convicted(n(1)), ""),
        (6, delivered(2, 1), "(2.1 has 2), open 0.1@2"),
    ]);
    use StepStatus::{Checking, Done, Running, Waiting};
    assert_eq!(statuses(&jobs), [Running, Done, Checking, Done]);
    assert_eq!(statuses(&fold(&events)), [Waiting, Done, Waiting, Done]);
    play(
        &mut jobs,
        &[
            (7, delivered(0, 1), "(0.1 has 2)"),
            (8, verdict(2, 1, true, false), "record 2.1@2 done"),
            (9, verdict(0, 1, true, false), "record 0.1@2 done, record closed, enough"),
        ],
    );
    // A job that is over stays as it was.
    play(&mut jobs, &[(10, Input::Convicted(n(2)), "")]);
}

#[test]
fn cancelling_closes_every_lease_also_those_being_checked() {
    let (jobs, events) = check(&[
        (0, Input::Cancel(JOB), ""),
        (0, post(3), "record 3 steps, want"),
        (0, agreed(1, 2, None), "open 0.0@1, open 1.0@1"),
        (1, delivered(0, 0), "(0.0 has 2), open 2.0@1"),
        (
            2,
            Input::Cancel(JOB),
            "close 0.0 cancelled, close 1.0 cancelled, close 2.0 cancelled, record cancelled, enough",
        ),
        (3, Input::Cancel(JOB), ""),
        (3, verdict(0, 0, true, true), ""),
        (3, progress(1, 0, 32), ""),
        (3, Input::Restarted, ""),
    ]);
    for jobs in [&jobs, &fold(&events)] {
        assert_eq!(jobs.get(&JOB).unwrap().status, JobStatus::Cancelled);
        assert_eq!(jobs.next_wake(), None);
    }
}

#[test]
fn an_empty_job_and_one_that_does_not_parse_end_at_once() {
    check(&[(0, post(0), "record 0 steps, want, record closed, enough")]);
    let mut bad = spec(1);
    bad.steps[0].params = vec![0xff];
    let (jobs, _) = check(&[
        (0, Input::Post(Box::new(bad)), "record 1 steps, want"),
        (1, agreed(1, 1, None), "record 0 malformed, record closed, enough"),
    ]);
    assert_eq!(statuses(&jobs), [StepStatus::Failed]);
}

fn fold(events: &[Event]) -> Jobs {
    let mut jobs = Jobs::default();
    events.iter().for_each(|event| jobs.apply(event));
    jobs
}

#[test]
fn a_restart_has_the_results_and_wants_workers_again() {
    let (before, events) = check(&[
        (0, post(3), "record 3 steps, want"),
        (0, agreed(1, 3, None), "open 0.0@1, open 1.0@1, open 2.0@1"),
        (1, broken(1, 0, RefusalCode::Silent), "(lost 1.0 silent), open 1.1@1"),
        (2, delivered(1, 1), "(1.1 has 2)"),
        (2, delivered(0, 0), "(0.0 has 2)"),
        (3, verdict(1, 1, true, false), "record 1.1@1 done"),
    ]);
    let mut after = fold(&events);
    let results = |jobs: &Jobs| jobs.get(&JOB).unwrap().steps().iter().map(|s| s.done().cloned()).collect::<Vec<_>>();
    assert_eq!(results(&before), results(&after));
    assert_eq!(wake(&after), None);
    play(
        &mut after,
        &[
            // Of leases that the restart ended.
            (0, verdict(0, 0, true, false), ""),
            (0, progress(2, 0, 32), ""),
            (0, Input::Restarted, "want"),
            (1, agreed(2, 9, None), "open 0.0@2, open 2.0@2"),
            // The worker of the result turns out a liar: the next lease has a number of its own.
            (2, Input::Convicted(n(1)), "record 1 revoked, (1 revoked), open 1.2@2"),
        ],
    );
}

#[test]
fn a_torn_journal_closes_what_was_complete() {
    let (_, mut events) = check(&[
        (0, post(1), "record 1 steps, want"),
        (0, agreed(1, 1, None), "open 0.0@1"),
        (1, delivered(0, 0), "(0.0 has 2)"),
        (2, verdict(0, 0, true, false), "record 0.0@1 done, record closed, enough"),
    ]);
    assert_eq!(events.pop(), Some(Event::Closed { job: JOB, cancelled: false }));
    play(&mut fold(&events), &[(0, Input::Restarted, "want, record closed, enough")]);
    // Events of a job that the journal lost, or told twice, change nothing.
    let mut jobs = Jobs::default();
    jobs.apply(&events[1]);
    assert_eq!(jobs.iter().count(), 0);
    events.push(events[1].clone());
    assert_eq!(statuses(&fold(&events)), [StepStatus::Done]);
}
