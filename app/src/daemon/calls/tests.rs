//! What a call refuses, and in which words.

use super::post::Terms;
use super::*;

#[test]
fn a_job_is_posted_under_terms_that_make_sense() {
    assert!(Terms::read(&json!({"file": "", "max_price": null, "nodes": null, "strict": null})).is_ok());
    assert!(Terms::read(&json!({"max_price": 0, "nodes": 4096, "own": true, "verify": "own", "kv": "int16"})).is_ok());
    assert!(Terms::read(&json!({"kv": "int8", "tier": "float"})).is_ok());
    let float = |verify| Terms::read(&json!({"tier": "float", "verify": verify})).unwrap();
    assert_eq!(float("drawn"), float("none"), "nobody re-runs the float tier");
    let cases = [
        (json!({"max_price": -1}), "no price"),
        (json!({"max_price": 1e300}), "no price"),
        (json!({"max_price": "1"}), "`max_price` is not a number"),
        (json!({"nodes": 0}), "`nodes` is not a whole number from 1 to 4096"),
        (json!({"nodes": 4097}), "`nodes`"),
        (json!({"nodes": 1.5}), "`nodes`"),
        (json!({"nodes": -1}), "`nodes`"),
        (json!({"strict": "yes"}), "`strict`"),
        (json!({"own": 1}), "`own`"),
        (json!({"verify": "maybe"}), "`maybe`"),
        (json!({"verify": 1}), "`verify`"),
        (json!({"tier": "quorum"}), "tier `quorum`"),
        (json!({"tier": 1}), "`tier`"),
        (json!({"kv": "int4"}), "kv `int4`"),
        (json!({"kv": 16}), "`kv`"),
        (json!({"kv": "int16", "tier": "float"}), "a float engine"),
    ];
    for (args, text) in cases {
        let no = Terms::read(&args).expect_err(text);
        assert_eq!(no.code, RefusalCode::Malformed, "{args}");
        assert!(no.message.contains(text), "{args}: {no}");
        assert!(!no.hint.is_empty(), "{args}: {no}");
    }
}

#[test]
fn a_model_that_is_not_here_has_a_way_out() {
    let cases: [(&str, &[&str], &str); 3] = [
        ("smollm2", &["mine"], "talkoo pull smollm2"),
        ("gpt-4o", &[], "smollm2-135m"),
        ("gpt-4o", &["mine"], "here are mine"),
    ];
    for (name, here, hint) in cases {
        let no = post::not_here(name, here);
        assert!(no.code == RefusalCode::UnknownModel && no.hint.contains(hint), "{no}");
        assert_eq!(no.hint.contains("--model NAME"), name == "gpt-4o", "{no}");
    }
}

#[test]
fn a_model_in_use_stays() {
    let job = JobId(talkoo_base::Digest([7; 32]));
    assert_eq!(unused("m", false, None), Ok(()));
    let cases = [(true, None, "provide stop".to_owned()), (false, Some(job), format!("job cancel {job}"))];
    for (is_offered, job, hint) in cases {
        let no = unused("m", is_offered, job).unwrap_err();
        assert_eq!(no.code, RefusalCode::InUse);
        assert!(no.hint.contains(&hint), "{no}");
    }
}

#[test]
fn a_failed_dial_is_told_in_our_words() {
    let addr: talkoo_net::Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let cases = [
        ("Failed to negotiate: [(/ip4/127.0.0.1/tcp/1: : Connection refused (os error 111))]", "nothing listens there"),
        ("Dial error: tried to dial local peer id at Dialer", "this node itself has it"),
        ("Unexpected peer ID 12D3 at Dialer", "another node listens there"),
        ("something\n  else", "something else"),
    ];
    for (theirs, ours) in cases {
        let no = not_dialled(&DialError::Unreachable { addr: addr.clone(), why: theirs.to_owned() });
        assert_eq!(no.message, format!("no node answers at /ip4/127.0.0.1/tcp/1 ({ours})"));
        assert!(!no.hint.is_empty(), "{no}");
    }
}

#[test]
fn what_somebody_judges_by_has_no_letters_that_are_obeyed() {
    let check = |why: &str, want: Result<&str, &str>| {
        let read = readable(&json!({"why": why}), "why");
        let read = read.as_deref().map_err(|no| no.message.as_str());
        assert_eq!(read, want, "{why:?}");
    };
    check("for a paper,\n\tby tomorrow", Ok("for a paper,\n\tby tomorrow"));
    check("טקסט رسم", Ok("טקסט رسم"));
    for letter in ['\u{202E}', '\u{2066}', '\u{200F}', '\u{61C}', '\u{1b}', '\u{85}', '\u{2028}'] {
        let message = format!("`why` has U+{:04X}, which is obeyed and not shown", u32::from(letter));
        check(&format!("pay {letter}0001"), Err(&message));
    }
}
