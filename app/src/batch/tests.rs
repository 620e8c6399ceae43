//! Which lines are good, and which words the bad ones get.

use super::*;

#[test]
fn bad_lines_are_named_and_good_ones_run() {
    let good = r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"temperature":0.5,"seed":-1}}"#;
    let cases = [
        ("not json", None, "not a batch line"),
        (r#"{"custom_id":"b","body":{"messages":[]}}"#, Some("b"), "no `messages`"),
        (r#"{"custom_id":"c","body":{"messages":[{"role":"user","content":"x"}],"tools":[]}}"#, Some("c"), "`tools`"),
        (r#"{"custom_id":"d","url":"/v1/embeddings","body":{}}"#, Some("d"), "url"),
        (
            r#"{"custom_id":"e","body":{"messages":[{"role":"user","content":"x"}],"temperature":9}}"#,
            Some("e"),
            "0 to 2",
        ),
        (
            r#"{"custom_id":"f","body":{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}}"#,
            Some("f"),
            "not text",
        ),
        (
            r#"{"custom_id":"g","body":{"messages":[{"role":"user","content":"x"}],"max_tokens":1.5}}"#,
            Some("g"),
            "whole number",
        ),
        (good, Some("a"), "used by an earlier line"),
    ];
    let file: Vec<&str> = std::iter::once(good).chain(cases.iter().map(|c| c.0)).collect();
    let (asks, bad) = parse(&format!("\u{feff}{}", file.join("\n")));
    assert_eq!((asks.len(), asks[0].seed, asks[0].params.temperature_q16), (1, Some(u64::MAX), 32_768));
    assert_eq!(bad.len(), cases.len());
    for ((line, bad), (_, id, text)) in (2..).zip(&bad).zip(cases) {
        assert_eq!((bad.line, bad.custom_id.as_deref()), (line, id));
        assert!(bad.refusal.message.contains(text), "{}", bad.refusal);
    }
}

/// What is added to a schema, so that texts have no blanks that nobody reads.
const DENSE: &str = r#""x-guidance":{"whitespace_flexible":false,"item_separator":", ","key_separator":": "}"#;

#[test]
fn a_body_says_how_to_sample() {
    use talkoo_base::ConstraintForm::{self, JsonSchema, Lark, Regex};
    fn is(params: &GenerateParams, form: ConstraintForm, source: &str) -> bool {
        params.constraint.as_ref().is_some_and(|c| (c.form, c.source.as_str()) == (form, source))
    }
    type Read = fn(&GenerateParams) -> bool;
    let params = |fields: &str| {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{fields}}}"#);
        ask_of("a".into(), &serde_json::from_str(&body).expect(fields))
    };
    let good: [(&str, Read); 22] = [
        (r#""max_tokens":5.0,"max_completion_tokens":null"#, |p| p.max_tokens == 5),
        (r#""top_k":-1"#, |p| p.top_k == 0),
        (r#""top_k":40,"min_p":0.25,"top_p":0.5"#, |p| (p.top_k, p.min_p_q16, p.top_p_q16) == (40, 16_384, 32_768)),
        (r#""repetition_penalty":1"#, |p| *p == GenerateParams { max_tokens: 128, ..GenerateParams::default() }),
        (r#""repetition_penalty":1.5"#, |p| p.repeat_penalty_q16 == 98_304),
        (r#""frequency_penalty":-2,"presence_penalty":2"#, |p| {
            (p.frequency_penalty_q16, p.presence_penalty_q16) == (-131_072, 131_072)
        }),
        (r#""logit_bias":{"9":-100,"7":0.5}"#, |p| p.logit_bias == [(7, 32_768), (9, -6_553_600)]),
        (r#""logit_bias":{}"#, |p| p.logit_bias.is_empty()),
        (r#""stop":"\n""#, |p| p.stop == ["\n"]),
        (r#""stop":["a","b","c","d"]"#, |p| p.stop.len() == 4),
        (r#""stop":[]"#, |p| p.stop.is_empty()),
        (r#""stop":null"#, |p| p.stop.is_empty()),
        (r#""n":128,"user":"me""#, |_| true),
        (r#""logprobs":false"#, |p| p.top_logprobs.is_none()),
        (r#""logprobs":true"#, |p| p.top_logprobs == Some(0)),
        (r#""logprobs":true,"top_logprobs":20"#, |p| p.top_logprobs == Some(20)),
        (r#""response_format":{"type":"text"}"#, |p| p.constraint.is_none()),
        (r#""response_format":{"type":"json_object"}"#, |p| {
            is(p, JsonSchema, &format!(r#"{{"type":"object",{DENSE}}}"#))
        }),
        (r#""response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"b":1,"a":2}}}"#, |p| {
            is(p, JsonSchema, &format!(r#"{{"b":1,"a":2,{DENSE}}}"#))
        }),
        (r#""guided_json":{"type":"null"}"#, |p| is(p, JsonSchema, r#"{"type":"null"}"#)),
        (r#""guided_regex":"a+""#, |p| is(p, Regex, "a+")),
        (r#""guided_grammar":"start: \"a\"""#, |p| is(p, Lark, "start: \"a\"")),
    ];
    for (fields, read) in good {
        let ask = params(fields).expect(fields);
        assert!(read(&ask.params), "{fields}: {:?}", ask.params);
        assert_eq!(GenerateParams::from_bytes(&ask.params.to_bytes()), Ok(ask.params), "{fields}");
    }
    let bad = [
        (r#""response_format":{"type":"xml"}"#, "`response_format`"),
        (r#""response_format":{"type":"json_schema"}"#, "`response_format`"),
        (r#""response_format":{"type":"json_object"},"guided_regex":"a""#, "two of"),
        (r#""guided_regex":1"#, "`guided_regex` is not a text"),
        (r#""guided_regex":"""#, "32,768 bytes"),
        (r#""top_k":-2"#, "`top_k` is not a whole number from -1"),
        (r#""min_p":1.1"#, "`min_p` is not a number from 0 to 1"),
        (r#""repetition_penalty":0"#, "`repetition_penalty`"),
        (r#""repetition_penalty":2.1"#, "`repetition_penalty` is not a number from 0 to 2"),
        (r#""frequency_penalty":2.5"#, "`frequency_penalty` is not a number from -2 to 2"),
        (r#""presence_penalty":"1""#, "`presence_penalty`"),
        (r#""logit_bias":{"x":1}"#, "`logit_bias`"),
        (r#""logit_bias":{"1":101}"#, "`logit_bias`"),
        (r#""logit_bias":{"1":1,"01":2}"#, "names token 1 twice"),
        (r#""logit_bias":[1]"#, "`logit_bias`"),
        (r#""stop":"""#, "`stop`"),
        (r#""stop":["a","b","c","d","e"]"#, "`stop`"),
        (r#""stop":[1]"#, "`stop`"),
        (r#""n":0"#, "`n` is not a whole number from 1 to 128"),
        (r#""n":129"#, "`n`"),
        (r#""seed":1.5"#, "`seed`"),
        (r#""logprobs":1"#, "`logprobs` is neither true nor false"),
        (r#""top_logprobs":3"#, "`top_logprobs` needs `logprobs`"),
        (r#""logprobs":true,"top_logprobs":21"#, "`top_logprobs` is not a whole number from 0 to 20"),
        (r#""suffix":"x""#, "`suffix` is not supported"),
    ];
    for (fields, text) in bad {
        let no = params(fields).expect_err(fields);
        assert!(no.message.contains(text), "{fields}: {no}");
    }
}

#[test]
fn a_file_has_room_for_so_many_log_probabilities() {
    let line = |id: &str, tokens: u32| {
        format!(
            r#"{{"custom_id":"{id}","body":{{"messages":[{{"role":"user","content":"x"}}],"max_tokens":{tokens},"n":64,"logprobs":true}}}}"#
        )
    };
    let (asks, bad) = parse(&[line("a", 131_072), line("b", 1)].join("\n"));
    assert_eq!((asks.len(), bad.len()), (1, 1));
    assert_eq!(bad[0].refusal.code, RefusalCode::TooLarge);
}

#[test]
fn every_answer_has_a_seed_of_its_own() {
    let job = talkoo_base::JobId(talkoo_base::Digest([7; 32]));
    assert_eq!([0, 1, 2].map(|n| seed_of(Some(u64::MAX), &job, "a", n)), [u64::MAX, 0, 1]);
    let drawn = [("a", 0), ("a", 1), ("b", 0)].map(|(id, n)| seed_of(None, &job, id, n));
    assert!(drawn[0] != drawn[1] && drawn[0] != drawn[2] && drawn[1] != drawn[2]);
    assert_eq!(drawn[0], sha256(&[&[7; 32], b"a", &[0; 4]]).first_u64(), "the rule of the documentation");
}
