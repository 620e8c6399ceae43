//! What is kept and what travels; whole disputes are the demo's.

use super::record::{Dispute, Ending, Line, Records, Sent, Who};
use super::sold::Shelf;
use super::{Mailbox, abi};
use talkoo_base::wire::{Sealed, Typed, VectorRoots};
use talkoo_base::{
    Address, Amount, AuditPolicy, ChannelConfig, Digest, Finish, GenerateParams, Kind, Limits, Network, NodeId, Price,
    Receipt, Request, SecretKey, Signature, Signed, Signer, Tier, Unit, Unix,
};
use talkoo_ledger::contracts::{ANSWER_S, WINDOW_S};
use talkoo_proof::Sold;
use talkoo_proof::dispute::{Answer, Case, ChunkOpening, Question};

const SECRET: [u32; 3] = [0x5ec2_e701, 0x5ec2_e702, 0x5ec2_e703];

fn net() -> Network {
    Network::local("test")
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn worker() -> NodeId {
    key(2).node_id()
}

/// A lease of 40 tokens, `number` of its kind.
fn case(number: u64, deadline: u64) -> Case {
    let channel = ChannelConfig {
        payer: Address([1; 20]),
        payer_authorizer: key(1).address(),
        receiver: net().contracts.vault,
        receiver_authorizer: Address([4; 20]),
        token: net().contracts.token,
        withdraw_delay: 60,
        salt: Digest([5; 32]),
    };
    let request = Request {
        version: 1,
        kind: Kind::Generate,
        job: Digest([6; 32]),
        program: Digest([7; 32]),
        inputs: vec![Digest([8; 32]), Digest([9; 32])],
        params: GenerateParams::default().to_bytes(),
        limits: Limits { input_units: 30, output_units: 40, state_bytes: 1 },
        seed: number,
        audit_commit: Digest::ZERO,
        audit: AuditPolicy::Drawn,
        price: Price { input: 1, output: 2 },
        deadline: Unix(deadline),
        worker: worker().address(),
        channel: channel.id(&net()),
    };
    let receipt = Receipt {
        version: 1,
        tier: Tier::Exact,
        request: request.digest(&net()),
        unit: Unit::Token,
        units: 40,
        output_root: Digest([10; 32]),
        trace_root: Digest([11; 32]),
        build: Digest([12; 32]),
        operator: Address([4; 20]),
        node: worker().address(),
        channel: channel.id(&net()),
        cumulative: Amount(7),
        finish: Finish::Length,
    };
    Case {
        request: (&Signed::new(request, &net(), &key(1))).into(),
        receipt: (&Signed::new(receipt, &net(), &key(2))).into(),
        channel,
        prompt_salt: Digest([13; 32]),
        trace_salt: Digest([14; 32]),
        prompt: SECRET.repeat(10),
        output: SECRET.repeat(14)[..40].to_vec(),
        digests: vec![Digest([15; 32]); 2],
        logprobs: Vec::new(),
    }
}

fn sold(number: u64, deadline: u64) -> Sold {
    Sold { case: case(number, deadline), earlier: Vec::new() }
}

fn lease(sold: &Sold) -> Digest {
    sold.case.request.body.digest(&net())
}

fn shelf(dir: &std::path::Path, key: u8) -> Shelf {
    Shelf::open(dir.to_owned(), [key; 32], net()).unwrap()
}

#[test]
fn what_was_sold_is_kept_until_it_is_over_and_no_word_of_it_is_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (sold(1, 1_000), sold(2, 2_000));
    let kept = shelf(dir.path(), 7);
    assert!(kept.is_empty());
    kept.put(&first);
    kept.put(&first);
    kept.put(&second);
    // A half that a kill left.
    std::fs::write(dir.path().join(lease(&first).to_string()).with_extension("part"), b"half").unwrap();
    let again = shelf(dir.path(), 7);
    assert!(again.get(&lease(&first)) == Some(first.clone()) && again.get(&lease(&second)) == Some(second.clone()));
    assert_eq!(again.get(&Digest::ZERO), None);
    let plain = serde_ipld_dagcbor::to_vec(&first).unwrap();
    let secret = [0x1a, 0x5e, 0xc2, 0xe7, 0x01];
    assert!(plain.windows(5).any(|w| w == secret), "the canary is in the record");
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for file in &files {
        assert!(!std::fs::read(file).unwrap().windows(5).any(|w| w == secret), "{}", file.display());
    }
    assert_eq!(shelf(dir.path(), 8).get(&lease(&first)), None, "another key opens nothing");
    // The window, and ten questions and answers.
    let over = 1_000 + WINDOW_S + 20 * ANSWER_S;
    again.sweep(over - 1);
    assert!(again.has(&lease(&first)));
    again.sweep(over);
    assert!(again.get(&lease(&first)).is_none() && again.has(&lease(&second)));
    again.sweep(u64::MAX);
    assert!(again.is_empty() && shelf(dir.path(), 7).is_empty());
}

#[test]
fn what_is_none_of_ours_is_left_alone_and_keeps_no_node_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let one = sold(1, 1_000);
    shelf(dir.path(), 7).put(&one);
    std::fs::create_dir(dir.path().join("notes")).unwrap();
    std::fs::write(dir.path().join("notes").join("mine"), b"mine").unwrap();
    std::fs::create_dir(dir.path().join(Digest::ZERO.to_string())).unwrap();
    std::fs::write(dir.path().join("readme"), b"mine, and long enough").unwrap();
    std::fs::write(dir.path().join(Digest([1; 32]).to_string()), b"short").unwrap();
    let again = shelf(dir.path(), 7);
    assert!(again.has(&lease(&one)) && !again.has(&Digest::ZERO) && !again.has(&Digest([1; 32])));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5);
    assert_eq!(std::fs::read(dir.path().join("notes").join("mine")).unwrap(), b"mine");
}

#[test]
fn nothing_more_is_sold_before_something_that_can_be_disputed_would_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = shelf(dir.path(), 7);
    kept.most = (32, u64::MAX);
    for number in 0..30 {
        kept.put(&sold(number, 1_000 + number));
    }
    assert!(!kept.is_full());
    kept.put(&sold(30, 1_030));
    assert!(kept.is_full() && kept.has(&lease(&sold(0, 1_000))), "full, and nothing is forgotten");
    // What was under way comes to its end all the same; beyond the limit the oldest goes.
    (31..33).for_each(|number| kept.put(&sold(number, 1_000 + number)));
    assert!(!kept.has(&lease(&sold(0, 1_000))) && kept.has(&lease(&sold(1, 1_001))));
    kept.sweep(1_010 + super::sold::KEPT_S);
    assert!(!kept.is_full());
    let sizes = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    kept.most = (usize::MAX, sizes.sum::<u64>() / 15 * 16);
    kept.put(&sold(40, 2_000));
    assert!(kept.is_full() && kept.has(&lease(&sold(11, 1_011))), "bytes count, too");
}

#[test]
fn nothing_more_is_sold_while_the_disk_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, path) = (shelf(&dir.path().join("sold"), 7), dir.path().join("sold"));
    std::fs::remove_dir(&path).unwrap();
    kept.put(&sold(1, 1_000));
    assert!(kept.is_full() && kept.is_empty());
    kept.sweep(0);
    assert!(!kept.is_full(), "it is tried again");
    kept.put(&sold(1, 1_000));
    std::fs::create_dir(&path).unwrap();
    kept.put(&sold(1, 1_000));
    assert!(!kept.is_full() && kept.has(&lease(&sold(1, 1_000))));
}

#[test]
fn a_dispute_is_kept_whole_and_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().join("disputes"), net()).unwrap();
    let mut one = Dispute::new(worker(), case(1, 1_000), None, 5);
    let id = one.id(&net());
    records.keep(&one);
    assert!(records.has(&id) && !records.has(&Digest::ZERO));
    one.heard.push(Answer::Nodes { nodes: vec![Digest([1; 32])], siblings: Vec::new() });
    let sent = Some(Sent { hash: "0xab".into(), block: 3, gas: 649_978 });
    one.story.push(Line { at: 6, who: Who::We, text: "convicted it: Gate".into(), sent });
    assert_eq!((one.summary(&net())["state"].as_str(), one.is_over()), (Some("open"), false));
    let guilty = |closed| {
        let [slashed, refunded, seized] = ["0", "31", "17"].map(str::to_owned);
        let claimed = Some(["-3".to_owned(), "4".to_owned()]);
        Some(Ending::Guilty { since: 9, slashed, refunded, seized, claimed, closed })
    };
    one.ending = guilty(false);
    assert!(!one.is_over(), "its pay may still come");
    one.ending = guilty(true);
    records.keep(&one);
    records.keep(&Dispute::new(worker(), case(2, 1_000), None, 4));
    // A record of another version, or a damaged one, hides no other.
    std::fs::write(dir.path().join("disputes").join("00"), b"no record").unwrap();
    let all = records.all();
    assert_eq!(all.iter().map(|dispute| dispute.begun).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(all[1], one);
    let told = all[1].detail(&net());
    let texts = ["id", "state", "claimed", "right", "refunded"].map(|key| told[key].as_str().unwrap_or_default());
    assert_eq!(texts, [id.to_string().as_str(), "guilty", "-3", "4", "31"]);
    assert_eq!((&told["gas"], &told["story"][0]["transaction"]), (&649_978.into(), &"0xab".into()));
}

#[test]
fn questions_and_answers_come_back_from_the_chain_as_they_went_there() {
    let (id, root) = (Digest([1; 32]), Digest([2; 32]));
    let (nodes, siblings) = (vec![Digest([3; 32]); 2], vec![Digest([4; 32])]);
    let opening = ChunkOpening {
        index: 1,
        tokens: SECRET.to_vec(),
        states_root: Digest([5; 32]),
        logprobs: vec![1, 2],
        siblings: siblings.clone(),
    };
    let roots = VectorRoots { receipt: id, position: 41, layer: 17, vectors: vec![1 << 40], roots: vec![root] };
    let signature = key(2).sign(&id);
    let bytes = Answer::Bytes { bytes: vec![7; 16], siblings: siblings.clone() };
    let tree = Answer::Nodes { nodes: nodes.clone(), siblings };
    let vector = |down| Question::Vector { position: 41, layer: 17, vector: 1 << 40, root, level: 2, index: 5, down };
    let cases = [
        (Question::Chunk { chunk: 1, down: 9 }, Answer::Chunk { opening, nodes }),
        (Question::States { chunk: 1, level: 7, index: 3, down: 7 }, tree.clone()),
        (Question::State { chunk: 1, state: 77 }, bytes.clone()),
        (Question::Roots { position: 41, layer: 17, vectors: vec![5, 6] }, Answer::Roots { roots, signature }),
        (vector(1), tree),
        (vector(0), bytes),
    ];
    for (question, answer) in cases {
        let asked = abi::question(&question, &root, 100);
        assert_eq!((asked.root.0, asked.count), (root.0, 100));
        assert_eq!(abi::question_of(&asked), Some(question.clone()));
        assert_eq!(abi::answer_of(&question, &id, &abi::answer(&answer)), Some(answer));
    }
}

#[test]
fn only_who_was_asked_is_heard() {
    let mailbox = Mailbox::default();
    assert!(!mailbox.expects(worker(), 1));
    mailbox.expect(Some((worker(), 1)));
    let heard = [(worker(), 1), (worker(), 2), (key(1).node_id(), 1)].map(|(from, id)| mailbox.expects(from, id));
    assert_eq!(heard, [true, false, false]);
    mailbox.expect(None);
    assert!(!mailbox.expects(worker(), 1));
}

#[test]
fn the_judge_is_shown_what_was_signed() {
    let case = case(1, 1_000);
    let (words, shown) = (abi::words(&case), abi::signatures(&case, None, 3));
    assert_eq!(
        (words.request.worker.0, words.receipt.node.0),
        (worker().address().0.into(), worker().address().0.into())
    );
    assert_eq!((words.receipt.units, words.request.params.to_vec()), (40, case.request.body.params.clone()));
    assert_eq!((shown.grant, shown.delegationSignature.len(), shown.request.len()), (3, 0, 65));
    let body = talkoo_base::Delegation { owner: Address([4; 20]), node: worker().address(), roles: 1, expiry: Unix(9) };
    let sealed = Sealed { body, signature: Signature([6; 65]) };
    let shown = abi::signatures(&case, Some(&sealed), 0);
    assert_eq!((shown.delegation.expiry, shown.delegationSignature.to_vec()), (9, vec![6; 65]));
}
