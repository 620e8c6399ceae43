use super::policy::DAY_S;
use super::*;
use axum::http::HeaderMap;
use serde_json::json;
use std::thread;
use talkoo_api::Caller;
use talkoo_base::Address;

const NOW: u64 = 2_000_000_000;

fn payment(to: u8, amount: u128) -> Payment {
    Payment { to: Address([to; 20]), amount, asset: Asset::Money, why: "because".into(), data: None }
}

fn policy() -> Policy {
    let allow = [Address([1; 20]), Address([2; 20])].into();
    Policy { asset: Asset::Money, per_payment: 100, per_day: 250, allow, approve_above: Some(80), expires: None }
}

struct Bench {
    folder: tempfile::TempDir,
    keys: Keys,
    id: String,
}

/// A key that may pay.
fn bench(policy: Option<Policy>) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys.json"), true).unwrap();
    let scopes = Scope::ALL.into_iter().collect();
    let made = keys.create_with("agent", None, None, |key| {
        key.scopes = scopes;
        key.policy = policy;
        Ok(())
    });
    Bench { id: made.unwrap().0.id, keys, folder }
}

/// What was decided, in a word: the rule that says no, `pay` or `waits`.
fn decided(bench: &Bench, payment: &Payment, at: u64) -> String {
    match bench.keys.decide_at(&bench.id, payment, at) {
        Ok(Decision::Pay) => "pay".into(),
        Ok(Decision::Waits(_)) => "waits".into(),
        Err(_) => bench.keys.audit(Some(&bench.id), 1)[0]["rule"].as_str().unwrap_or_default().to_owned(),
    }
}

#[test]
fn each_rule_says_no_by_its_name() {
    let stake = |payment: Payment| Payment { asset: Asset::Stake, ..payment };
    let ended = Policy { expires: Some(NOW), ..policy() };
    let nobody = Policy { allow: std::collections::BTreeSet::new(), ..policy() };
    let cases = [
        (Some(policy()), payment(1, 80), "pay"),
        (Some(policy()), payment(2, 81), "waits"),
        (Some(policy()), payment(2, 100), "waits"),
        (Some(policy()), payment(1, 101), "per_payment"),
        (Some(policy()), payment(3, 1), "allow"),
        (Some(policy()), stake(payment(1, 1)), "asset"),
        (Some(Policy { per_day: 50, ..policy() }), payment(1, 51), "per_day"),
        (Some(Policy { approve_above: None, ..policy() }), payment(1, 100), "pay"),
        (Some(Policy { approve_above: Some(0), ..policy() }), payment(1, 1), "waits"),
        (Some(Policy { per_day: u128::MAX, ..policy() }), payment(1, 1), "pay"),
        (Some(ended), payment(1, 1), "expires"),
        (Some(nobody), payment(1, 1), "allow"),
        (None, payment(1, 1), "policy"),
    ];
    for (policy, payment, want) in cases {
        assert_eq!(decided(&bench(policy.clone()), &payment, NOW), want, "{policy:?} {payment:?}");
    }
    let bench = bench(Some(policy()));
    let without = |key: &mut Key| {
        key.scopes.remove(&Scope::Wallet);
        Ok(())
    };
    bench.keys.change(&bench.id, without).unwrap();
    let no = bench.keys.decide_at(&bench.id, &payment(1, 1), NOW).unwrap_err();
    assert!(no.hint.contains(&format!("talkoo key set {} --scopes", bench.id)) && no.hint.contains("wallet"), "{no:?}");
    bench.keys.revoke(&bench.id).unwrap();
    assert_eq!(decided(&bench, &payment(1, 1), NOW), "key");
    assert_eq!(bench.keys.decide("key_none", &payment(1, 1)).unwrap_err().code, RefusalCode::UnknownId);
}

#[test]
fn a_day_is_the_last_24_hours() {
    let bench = bench(Some(Policy { approve_above: None, ..policy() }));
    // Seconds after the begin, how much, what is decided.
    let cases = [
        (0, 100, "pay"),
        (10, 100, "pay"),
        (20, 51, "per_day"),
        (20, 50, "pay"),
        (DAY_S - 1, 1, "per_day"),
        (DAY_S, 100, "pay"),
        (DAY_S + 9, 1, "per_day"),
        (DAY_S + 10, 100, "pay"),
    ];
    for (at, amount, want) in cases {
        assert_eq!(decided(&bench, &payment(1, amount), NOW + at), want, "{amount} at {at}");
    }
    let again = Keys::open(&bench.folder.path().join("keys.json"), true).unwrap();
    assert_eq!(
        again.one(&bench.id).unwrap().payments,
        bench.keys.one(&bench.id).unwrap().payments,
        "it is on the disk"
    );
}

#[test]
fn calls_side_by_side_pay_no_more_than_the_limit() {
    let bench = bench(Some(Policy { approve_above: None, per_day: 70, ..policy() }));
    let paid = thread::scope(|scope| {
        let ask = || (0..20).filter(|_| bench.keys.decide_at(&bench.id, &payment(1, 1), NOW).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(paid, 70);
    let file = Keys::open(&bench.folder.path().join("keys.json"), true).unwrap();
    assert_eq!(Policy::paid(&file.one(&bench.id).unwrap().payments, NOW), 70);
}

#[test]
fn what_can_not_be_written_is_not_paid() {
    let bench = bench(Some(policy()));
    // Where the file is written aside is a folder now.
    std::fs::create_dir(bench.folder.path().join("keys.new")).unwrap();
    assert_eq!(bench.keys.decide_at(&bench.id, &payment(1, 1), NOW).unwrap_err().code, RefusalCode::Other);
    std::fs::remove_dir(bench.folder.path().join("keys.new")).unwrap();
    assert_eq!(Policy::paid(&bench.keys.one(&bench.id).unwrap().payments, NOW), 0);
}

#[test]
fn the_owner_s_word_is_asked_once_and_for_a_day() {
    let bench = bench(Some(Policy { per_day: 190, ..policy() }));
    let wait = |amount| match bench.keys.decide_at(&bench.id, &payment(1, amount), NOW).unwrap() {
        Decision::Waits(approval) => approval.id,
        Decision::Pay => panic!("it does not wait"),
    };
    let answer =
        |id: &str, yes, at| bench.keys.answer_at(id, yes, at).map(|(_, payment)| payment.amount).map_err(|no| no.code);
    let (first, second, third, late) = (wait(100), wait(90), wait(95), wait(99));
    assert_eq!(Policy::paid(&bench.keys.one(&bench.id).unwrap().payments, NOW), 0, "what waits is not paid");
    assert_eq!(answer(&first, true, NOW), Ok(100));
    assert_eq!(answer(&first, true, NOW), Err(RefusalCode::UnknownId), "once");
    assert_eq!(answer(&third, true, NOW), Err(RefusalCode::InsufficientFunds), "what was paid meanwhile counts");
    assert_eq!(answer(&second, true, NOW), Ok(90));
    assert_eq!(answer(&third, false, NOW), Ok(95));
    assert_eq!(answer(&late, true, NOW + DAY_S), Err(RefusalCode::UnknownId), "a day went by");
    let words: Vec<String> = bench
        .keys
        .audit(Some(&bench.id), 100)
        .iter()
        .map(|line| line["decision"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, ["waits", "waits", "waits", "waits", "approved", "refused", "approved", "declined"]);
}

#[test]
fn no_more_payments_wait_than_an_owner_reads() {
    let bench = bench(Some(policy()));
    for _ in 0..crate::limits::APPROVALS_MAX {
        assert_eq!(decided(&bench, &payment(1, 90), NOW), "waits");
    }
    assert_eq!(decided(&bench, &payment(1, 90), NOW), "approvals");
    assert_eq!(decided(&bench, &payment(1, 90), NOW + DAY_S), "waits", "those of yesterday are gone");
}

#[test]
fn the_file_of_an_older_version_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let old = json!([{"id": "key_1", "name": "old", "digest": "00", "created": 1, "expires": null, "budget": 5, "spent": 2, "revoked": false}]);
    std::fs::write(&path, old.to_string()).unwrap();
    let key = Keys::open(&path, true).unwrap().one("key_1").unwrap();
    assert_eq!((key.budget, key.spent, key.rate, key.policy.clone()), (Some(5), 2, None, None));
    assert_eq!(Vec::from_iter(key.scopes.iter().copied()), [Scope::Inference, Scope::Batch], "what keys could do then");
    assert!(key.may(Scope::Mcp).is_err() && key.may(Scope::Inference).is_ok());
}

#[test]
fn a_key_that_asks_too_often_is_told_when() {
    let bench = bench(None);
    let quick = |key: &mut Key| {
        key.rate = Some(2);
        Ok(())
    };
    let (_, secret) = bench.keys.create_with("quick", None, None, quick).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", secret.parse().unwrap());
    let ask = || bench.keys.admit(Caller::Stranger, &headers, Scope::Inference);
    assert_eq!((ask().standing.unwrap().remaining, ask().standing.unwrap().remaining), (1, 0));
    let third = ask();
    assert_eq!(third.who.unwrap_err().code, RefusalCode::Busy);
    let mut told = HeaderMap::new();
    third.standing.unwrap().tell(&mut told);
    let text = |name: &str| told[name].to_str().unwrap().to_owned();
    assert_eq!((text("x-ratelimit-limit-requests"), text("x-ratelimit-remaining-requests")), ("2".into(), "0".into()));
    assert!((1..=30).contains(&text("retry-after").parse::<u64>().unwrap()));
    assert!(text("x-ratelimit-reset-requests").ends_with("ms"));
    let denied = bench.keys.admit(Caller::Stranger, &headers, Scope::Wallet);
    assert!(denied.standing.is_some(), "who is refused is counted, too");
}

#[test]
fn amounts_are_what_people_write() {
    let good = [("1", 1_000_000), ("1.5", 1_500_000), ("0.000001", 1), ("12.345678", 12_345_678), ("0", 0)];
    for (text, micro) in good {
        assert_eq!(Asset::Money.units(text), Some(micro), "{text}");
    }
    for bad in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "1e3",
        "1.1234567",
        "1,5",
        "0x10",
        "1 ",
        "+1",
        "99999999999999999999999999999999999999",
    ] {
        assert_eq!(Asset::Money.units(bad), None, "{bad}");
    }
    assert_eq!(
        (Asset::Gas.units("1.5"), Asset::Gas.shown(1)),
        (Some(1_500_000_000_000_000_000), "0.000000000000000001".into())
    );
    assert_eq!(Asset::Money.shown(1_500_000), "1.500000");
}

#[test]
fn refused_payments_push_out_only_refused_ones() {
    let bench = bench(Some(policy()));
    assert_eq!(decided(&bench, &payment(1, 80), NOW), "pay");
    let long = Payment { why: "x".repeat(200 << 10), ..payment(3, 1) };
    for _ in 0..50 {
        assert_eq!(decided(&bench, &long, NOW), "allow");
    }
    let all = bench.keys.audit(Some(&bench.id), 100);
    assert_eq!(all[0]["decision"], "allowed", "50 refusals of 200 KiB later");
    let size = |name: &str| std::fs::metadata(bench.folder.path().join(name)).map_or(0, |file| file.len());
    assert!(size("keys-refused.jsonl") + size("keys-refused.1.jsonl") < 11 << 20);
}
