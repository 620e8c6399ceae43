//! Streams, tokens and refusals, as tables; and runs against a small server.

use super::output::Output;
use super::sse::{EVENT_BYTES_MAX, Events};
use super::words::{Piece, complaint, piece, request};
use super::*;
use crate::models::{catalog, into_cache};
use openai::{OpenAi, Reply, Then, refusal, stream};
use serde_json::json;
use std::path::PathBuf;
use std::sync::OnceLock;
use talkoo_base::{Digest, Finish, GenerateParams, LeaseId, NodeId, Tier, Work, float_chunk};
use talkoo_engine::Vocabulary;

#[path = "../../../tests/openai/mod.rs"]
mod openai;

/// A report that does not come in this time has failed the test.
const SILENCE_MAX: Duration = Duration::from_secs(60);

fn vocabulary_file() -> PathBuf {
    into_cache(catalog::find("smollm2").unwrap(), &mut |_, _, _| ()).unwrap()
}

fn vocabulary() -> Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| Vocabulary::open(&vocabulary_file()).unwrap()).clone()
}

#[test]
fn events_come_whole_however_they_are_cut() {
    let cases: [(&str, &[&str]); 9] = [
        ("data: a\n\n", &["a"]),
        ("data: a\r\n\r\ndata:b\n\n", &["a", "b"]),
        ("data: a\ndata: b\n\n", &["a\nb"]),
        (": still here\n\ndata: a\n\n", &["a"]),
        ("event: x\nid: 7\nretry: 1\ndata: a\n\n", &["a"]),
        ("data:\n\n", &[""]),
        ("data:  é \n\n", &[" é "]),
        ("\n\n\n", &[]),
        ("data: a\n", &[]),
    ];
    for (text, want) in cases {
        for step in [1, 2, 3, text.len()] {
            let mut events = Events::default();
            let have: Vec<String> = text.as_bytes().chunks(step).flat_map(|part| events.push(part).unwrap()).collect();
            assert_eq!(have, want, "{text:?} in steps of {step}");
        }
    }
    let long = vec![b'a'; EVENT_BYTES_MAX + 1];
    let many = b"data: aaaaaaaaaaaaaaaa\n".repeat(EVENT_BYTES_MAX / 16 + 1);
    for bytes in [&b"data: \xff\n"[..], &long, &many] {
        assert!(Events::default().push(bytes).is_err());
    }
}

#[test]
fn an_event_is_a_piece_or_a_refusal() {
    let text = |text: &str, finish| Piece { text: text.to_owned(), tokens: None, finish };
    let ids = |ids: &[u32]| Piece { text: "a".to_owned(), tokens: Some(ids.to_vec()), finish: None };
    let cases = [
        (r#"{"choices":[{"text":"a","finish_reason":null}]}"#, Ok(Some(text("a", None)))),
        (r#"{"choices":[{"text":"a"}]}"#, Ok(Some(text("a", None)))),
        (r#"{"choices":[{"text":"","finish_reason":"stop"}]}"#, Ok(Some(text("", Some(Finish::Stop))))),
        (r#"{"choices":[{"text":"b","finish_reason":"length"}]}"#, Ok(Some(text("b", Some(Finish::Length))))),
        (r#"{"choices":[],"usage":{"total_tokens":3}}"#, Ok(Some(text("", None)))),
        (r#"{"choices":[{"text":"a","token_ids":[1,70000]}]}"#, Ok(Some(ids(&[1, 70_000])))),
        (r#"{"choices":[{"text":"a","token_ids":null}]}"#, Ok(Some(text("a", None)))),
        (r#"{"choices":[{"text":"a"}],"error":null}"#, Ok(Some(text("a", None)))),
        ("[DONE]", Ok(None)),
        (r#"{"choices":[{"text":"a","token_ids":[-1]}]}"#, Err("no number")),
        (r#"{"choices":[{"text":"a"},{"text":"b"}]}"#, Err("not one completion")),
        (r#"{"choices":[{"text":"a","finish_reason":"content_filter"}]}"#, Err("content_filter")),
        (r#"{"error":{"message":"out of\nmemory"}}"#, Err("out of memory")),
        (r#"{"error":"busy"}"#, Err("busy")),
        ("{}", Err("not one completion")),
        ("{", Err("no JSON")),
    ];
    for (data, want) in cases {
        match (piece(data), want) {
            (Ok(have), Ok(want)) => assert_eq!(have, want, "{data}"),
            (Err(no), Err(text)) => {
                assert!(no.code == RefusalCode::RunFailed && no.message.contains(text) && !no.hint.is_empty(), "{no}");
            }
            (have, _) => panic!("{data}: {have:?}"),
        }
    }
}

#[test]
fn a_complaint_is_found_and_bounded() {
    let cases = [
        (r#"{"error":{"message":"a b"}}"#, "a b"),
        (r#"{"message":"a"}"#, "a"),
        (r#"{"detail":"a"}"#, "a"),
        (r#"{"error":"a"}"#, "a"),
        ("<html>\n no", "<html> no"),
        ("\u{1b}[31mred", "[31mred"),
        ("", ""),
    ];
    for (body, want) in cases {
        assert_eq!(complaint(body), want);
    }
    assert_eq!(complaint(&"x".repeat(1_000)).len(), 200);
}

#[test]
fn a_request_says_what_was_asked_and_no_more() {
    let plain = Work { params: GenerateParams { max_tokens: 7, ..Default::default() }, ..work("hi", 7) };
    let want = json!({
        "model": "m", "max_tokens": 7, "temperature": 0.0, "top_p": 1.0, "seed": 5, "stream": true, "prompt": "hi",
    });
    assert_eq!(request("m", json!("hi"), &plain), want);
    let params = GenerateParams {
        temperature_q16: 1 << 15,
        top_p_q16: 3 << 14,
        frequency_penalty_q16: -(1 << 16),
        presence_penalty_q16: 1 << 15,
        logit_bias: vec![(7, -100 << 16)],
        stop: vec!["END".into()],
        ..plain.params.clone()
    };
    let full = request("m", json!([1, 2]), &Work { params, seed: u64::MAX, ..plain });
    let want = json!({
        "model": "m", "max_tokens": 7, "temperature": 0.5, "top_p": 0.75, "seed": 0x7fff_ffff, "stream": true,
        "return_token_ids": true, "prompt": [1, 2], "frequency_penalty": -1.0, "presence_penalty": 0.5,
        "stop": ["END"], "logit_bias": {"7": -100.0},
    });
    assert_eq!(full, want);
}

/// All chunks of an output that comes in these pieces; whether each left before the end was known.
fn chunks(pieces: Vec<Piece>, max_tokens: u32) -> Result<Vec<(Vec<u32>, Finish)>, Refusal> {
    let (mut output, mut chunks) = (Output::new(&vocabulary(), max_tokens), Vec::new());
    for piece in pieces {
        if !output.is_over() {
            output.push(piece)?;
        }
        while output.has_chunk() {
            chunks.push(output.chunk());
        }
    }
    Ok(chunks)
}

fn texts(text: &str, step: usize, finish: Finish) -> Vec<Piece> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces: Vec<Piece> =
        chars.chunks(step).map(|part| Piece { text: part.iter().collect(), ..Piece::default() }).collect();
    pieces.push(Piece { finish: Some(finish), ..Piece::default() });
    pieces
}

#[test]
fn chunks_of_a_text_are_the_same_however_it_comes() {
    let vocabulary = vocabulary();
    let long =
        "The neighbours gathered, 1234567 of them; they'd mended the roof — \u{1F3E0} — by noon.\n\n  Then: ".repeat(9);
    let cases = [long.clone(), "=".repeat(700), " ".repeat(300), "a".repeat(500), "x".to_owned(), "häuser ".repeat(40)];
    for text in cases {
        let want = vocabulary.encode(&text, false);
        for step in [1, 3, 64, 10_000] {
            let have = chunks(texts(&text, step, Finish::Stop), 4_000).unwrap();
            let all: Vec<u32> = have.iter().flat_map(|(tokens, _)| tokens.clone()).collect();
            assert_eq!(all, want, "{text:.20} in steps of {step}");
            let (last, rest) = have.split_last().unwrap();
            assert!(rest.iter().all(|(tokens, finish)| tokens.len() == 32 && *finish == Finish::Running));
            assert_eq!(last.1, Finish::Stop);
        }
    }
    // Long answers do not wait for their end.
    let whole = texts(&long, 1, Finish::Stop);
    let before_end = chunks(whole.into_iter().filter(|piece| piece.finish.is_none()).collect(), 4_000).unwrap();
    assert!(before_end.len() > 3 && before_end.iter().all(|(_, finish)| *finish == Finish::Running));
}

#[test]
fn an_output_ends_as_it_was_asked_to() {
    let ids = |ids: std::ops::Range<u32>, finish| Piece { text: "x".into(), tokens: Some(ids.collect()), finish };
    let text = |text: &str, finish| Piece { text: text.into(), tokens: None, finish };
    let lengths = |pieces, max| {
        let chunks = chunks(pieces, max)?;
        Ok(chunks.iter().map(|(tokens, finish)| (tokens.len(), *finish)).collect::<Vec<_>>())
    };
    let (stop, length, running) = (Finish::Stop, Finish::Length, Finish::Running);
    let cases = [
        (vec![ids(0..32, None), ids(32..32, Some(stop))], 100, Ok(vec![(32, stop)])),
        (vec![ids(0..33, None), ids(33..33, Some(stop))], 100, Ok(vec![(32, running), (1, stop)])),
        (vec![ids(0..40, None)], 40, Ok(vec![(32, running), (8, length)])),
        (vec![ids(0..90, None)], 40, Ok(vec![(32, running), (8, length)])),
        (vec![ids(0..90, Some(stop))], 40, Ok(vec![(32, running), (8, length)])),
        (vec![ids(0..40, Some(stop))], 40, Ok(vec![(32, running), (8, stop)])),
        // Without an end nothing but whole chunks leaves.
        (vec![ids(0..40, None)], 100, Ok(vec![(32, running)])),
        // An empty answer is its end token.
        (vec![text("", Some(stop))], 9, Ok(vec![(1, stop)])),
        (vec![text("", None), ids(0..2, Some(length))], 9, Ok(vec![(2, length)])),
        (vec![text("hello", Some(stop))], 1, Ok(vec![(1, stop)])),
        (vec![text("a b c d e f", Some(stop))], 2, Ok(vec![(2, length)])),
        (vec![ids(0..2, None), text("more", Some(stop))], 9, Err("stopped telling")),
        (vec![ids(u32::MAX - 1..u32::MAX, Some(stop))], 9, Err("not those of the vocabulary")),
    ];
    for (number, (pieces, max, want)) in cases.into_iter().enumerate() {
        let have: Result<_, Refusal> = lengths(pieces, max);
        match (&have, want) {
            (Ok(have), Ok(want)) => assert_eq!(*have, want, "case {number}"),
            (Err(no), Err(text)) => assert!(no.message.contains(text), "case {number}: {no}"),
            _ => panic!("case {number}: {have:?}"),
        }
    }
}

#[test]
fn a_prompt_keeps_its_control_tokens_as_text() {
    let vocabulary = vocabulary();
    let text = "<|im_start|>user\nhäuser<|im_end|>\n";
    assert_eq!(vocabulary.prompt_text(&vocabulary.encode_prompt(text)), text);
    assert_eq!(vocabulary.prompt_text(&[u32::MAX]), "");
}

fn work(prompt: &str, max_tokens: u32) -> Work {
    let params = GenerateParams { max_tokens, ..Default::default() };
    Work {
        kind: talkoo_base::Kind::Generate,
        program: Digest([7; 32]),
        tier: Tier::Float,
        prompt: vocabulary().encode(prompt, true),
        params,
        seed: 5,
    }
}

/// A remote engine on a server, and what it reports.
fn remote(server: &OpenAi) -> (Remote, mpsc::Receiver<Event>) {
    let (inbox, reports) = mpsc::channel(8);
    let server =
        Server::new(&server.url, "tiny".into(), &vocabulary_file(), Room { context: 4_096, slots: 1 }, None).unwrap();
    (Remote::new(server, inbox, TaskTracker::new(), CancellationToken::new()), reports)
}

const TICKET: Ticket = Ticket::Sale(LeaseId(Digest([3; 32])));

fn run_of(max_tokens: u32) -> Run {
    let client = NodeId::pretended(1);
    Run { ticket: TICKET, client, work: work("hi", max_tokens), trace_id: Digest([4; 32]), rerun: None }
}

async fn next(reports: &mut mpsc::Receiver<Event>) -> Report {
    let event = tokio::time::timeout(SILENCE_MAX, reports.recv()).await.expect("a report in time").unwrap();
    let Event::Report(report) = event else { panic!("only reports are sent") };
    report
}

/// What comes of a run with all the credit it wants: the tokens and why they end, or the refusal.
async fn outcome(
    remote: &mut Remote,
    reports: &mut mpsc::Receiver<Event>,
    run: Run,
) -> Result<(Vec<u32>, Finish), Refusal> {
    remote.run(run);
    assert!(remote.credit(&TICKET, 100));
    let mut all = Vec::new();
    loop {
        match next(reports).await {
            Report::Run(Input::Produced { ticket, index, tokens, digest, finish, .. }) => {
                assert_eq!((ticket, index as usize), (TICKET, all.len() / 32));
                assert_eq!(digest, float_chunk(&Digest([4; 32]), index, &tokens));
                all.extend(tokens);
                if finish != Finish::Running {
                    return Ok((all, finish));
                }
            }
            Report::Run(Input::RunFailed { refusal, .. }) => return Err(refusal),
            _ => panic!("another report"),
        }
    }
}

#[tokio::test]
async fn a_run_is_its_servers_answer_or_the_reason_why_not() {
    let long = "Many hands make light work, and the host feeds them all. ".repeat(9);
    let halves = || [&long[..200], &long[200..]];
    let cut = |mut reply: Reply, parts: usize, then| {
        reply.parts.truncate(parts);
        Reply { then, ..reply }
    };
    let raw = |text: &str| Reply { status: 200, parts: vec![text.to_owned()], then: Then::End };
    let tokens = vocabulary().encode(&long, false);
    type Case = (&'static str, Reply, Result<(Vec<u32>, Finish), &'static str>);
    let cases: Vec<Case> = vec![
        ("a whole answer", stream(&halves(), "stop"), Ok((tokens.clone(), Finish::Stop))),
        ("of some length", stream(&halves(), "length"), Ok((tokens.clone(), Finish::Length))),
        ("a refusal", refusal(400, "bad prompt"), Err("the engine says 400: bad prompt")),
        ("a failure", refusal(500, "out of memory"), Err("the engine says 500: out of memory")),
        ("a death in mid-stream", cut(stream(&halves(), "stop"), 1, Then::Break), Err("broke off")),
        ("an early end", cut(stream(&halves(), "stop"), 1, Then::End), Err("ended before")),
        (
            "an end without a reason",
            raw("data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n"),
            Err("ended before"),
        ),
        ("no stream", raw("{\"choices\":[{\"text\":\"a\"}]}"), Err("ended before")),
        ("no JSON", raw("data: hello\n\n"), Err("no JSON")),
        ("no text", raw("data: \u{0}\n\n"), Err("no JSON")),
        ("a failure in the stream", raw("data: {\"error\":{\"message\":\"KV full\"}}\n\n"), Err("KV full")),
    ];
    for (name, reply, want) in cases {
        let reply = std::sync::Mutex::new(Some(reply));
        let server = OpenAi::start(move |_| reply.lock().unwrap().take().unwrap());
        let (mut remote, mut reports) = remote(&server);
        let have = outcome(&mut remote, &mut reports, run_of(4_000)).await;
        match (have, want) {
            (Ok(have), Ok(want)) => assert_eq!(have, want, "{name}"),
            (Err(no), Err(text)) => {
                assert!(no.code == RefusalCode::RunFailed && no.message.contains(text), "{name}: {no}");
                assert!(!no.hint.is_empty() && !no.message.contains("127.0.0.1"), "{name}: {no}");
            }
            (have, _) => panic!("{name}: {have:?}"),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_without_the_server() {
    let server = OpenAi::start(|_| panic!("nobody is asked"));
    let (mut remote, mut reports) = remote(&server);
    let params = GenerateParams { top_k: 3, ..Default::default() };
    let cases = [
        (Run { rerun: Some(vec![1]), ..run_of(9) }, RefusalCode::RunFailed),
        (Run { work: Work { params, ..work("hi", 9) }, ..run_of(9) }, RefusalCode::UnsupportedParameter),
    ];
    for (run, code) in cases {
        assert_eq!(outcome(&mut remote, &mut reports, run).await.unwrap_err().code, code);
    }
    // Nobody listens there any more.
    let gone = OpenAi { url: "http://127.0.0.1:9".into(), ..server };
    let (mut remote, mut reports) = self::remote(&gone);
    let no = outcome(&mut remote, &mut reports, run_of(9)).await.unwrap_err();
    assert!(no.code == RefusalCode::RunFailed && no.message.contains("takes no connection"), "{no}");
}

#[tokio::test]
async fn a_chunk_waits_for_its_credit_and_a_stop_closes_the_connection() {
    let words = "one two three four five six seven eight nine ten ".repeat(12);
    let server = OpenAi::start(move |_| {
        let mut reply = stream(&[&words], "stop");
        reply.parts.truncate(1);
        Reply { then: Then::Hang, ..reply }
    });
    let (mut remote, mut reports) = remote(&server);
    remote.run(run_of(4_000));
    for index in 0..2 {
        assert!(remote.credit(&TICKET, 1));
        let Report::Run(Input::Produced { index: have, tokens, finish, .. }) = next(&mut reports).await else {
            panic!("a chunk for each credit")
        };
        assert_eq!((have, tokens.len(), finish), (index, 32, Finish::Running));
    }
    assert!(remote.stop(&TICKET) && !remote.stop(&TICKET) && !remote.credit(&TICKET, 1));
    let closed = tokio::task::spawn_blocking(move || server.closed.recv_timeout(SILENCE_MAX));
    assert_eq!(closed.await.unwrap(), Ok(()), "the server sees that nobody listens");
    assert!(reports.try_recv().is_err(), "a stopped run says nothing more");
}

#[tokio::test]
async fn an_offer_is_measured_and_knows_how_the_server_takes_prompts() {
    for takes_ids in [true, false] {
        let server = OpenAi::start(move |body| match body["prompt"].is_array() && !takes_ids {
            true => refusal(400, "prompt must be a text"),
            false => stream(&["a b c", " d e f"], "length"),
        });
        let (mut remote, mut reports) = remote(&server);
        remote.load();
        let Report::Loaded { name, offer } = next(&mut reports).await else { panic!("an offer") };
        let offer = offer.unwrap();
        assert_eq!(
            (name.as_str(), offer.tier, offer.context),
            ("tiny", Tier::Float, 2_000),
            "the server's own context"
        );
        assert!(offer.prefill_mtps > 0 && offer.decode_mtps > 0);
        outcome(&mut remote, &mut reports, run_of(100)).await.unwrap();
        let (last, _) = server.asked.lock().unwrap().pop().unwrap();
        let want = if takes_ids { json!(work("hi", 1).prompt) } else { json!("hi") };
        assert_eq!(last["prompt"], want);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_not_offered_until_it_answers_again() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let server = OpenAi::start(move |_| match well.load(Ordering::Relaxed) {
        true => stream(&["a"], "stop"),
        false => refusal(500, "no GPU"),
    });
    let (mut remote, mut reports) = remote(&server);
    for round in 0..2 {
        if round == 0 {
            remote.load();
        } else {
            // A run finds out.
            is_well.store(false, Ordering::Relaxed);
            let refusal = outcome(&mut remote, &mut reports, run_of(9)).await.unwrap_err();
            remote.heed(&Input::RunFailed { ticket: TICKET, refusal });
        }
        let Report::Withdrawn { program, refusal, .. } = next(&mut reports).await else { panic!("no offer any more") };
        assert!(refusal.message.contains("500: no GPU"), "{refusal}");
        is_well.store(true, Ordering::Relaxed);
        let Report::Loaded { offer: Ok(offer), .. } = next(&mut reports).await else { panic!("an offer") };
        assert_eq!(offer.program, program);
    }
}

#[tokio::test]
async fn a_key_is_sent_with_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "sk-1\n").unwrap();
    let server = OpenAi::start(|_| stream(&["a"], "stop"));
    let key = Some(Key::read(&path).unwrap());
    let with_key =
        Server::new(&server.url, "tiny".into(), &vocabulary_file(), Room { context: 64, slots: 1 }, key).unwrap();
    let (inbox, mut reports) = mpsc::channel(8);
    let mut remote = Remote::new(with_key, inbox, TaskTracker::new(), CancellationToken::new());
    outcome(&mut remote, &mut reports, run_of(9)).await.unwrap();
    let asked: Vec<Option<String>> = server.asked.lock().unwrap().iter().map(|(_, key)| key.clone()).collect();
    assert_eq!(asked, [Some("Bearer sk-1".to_owned())]);
}
