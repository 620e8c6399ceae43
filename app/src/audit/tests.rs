//! Bundles as they are made, one thing wrong at a time.

use super::archive::Writer;
use super::check::{Verdict, verify};
use super::{BundleError, Choice, FORMAT, Maker, Manifest, Member, VERSION, export, place_of};
use crate::data::audit::Audit;
use serde_json::{Value, json};
use std::path::Path;
use talkoo_base::wire::{Bundle, Typed as _};
use talkoo_base::{
    Amount, AuditPolicy, ChannelConfig, Digest, Finish, GenerateParams, Kind, Limits, Network, Price, Receipt, Request,
    SecretKey, Signed, Signer as _, Tier, Unit, Unix, Voucher, sha256,
};
use talkoo_proof::Kept;
use talkoo_proof::commit::trace_root;
use talkoo_proof::kept::Link;

pub(crate) fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn net() -> Network {
    Network::local("test")
}

/// A receipt of one chunk, ordered by one key from another.
pub(crate) fn kept(client: &SecretKey, step: u32) -> Kept {
    let (worker, digest) = (key(9), Digest([7; 32]));
    let channel = ChannelConfig {
        payer: client.address(),
        payer_authorizer: client.address(),
        receiver: net().contracts.vault,
        receiver_authorizer: worker.address(),
        token: net().contracts.token,
        withdraw_delay: 3_600,
        salt: Digest::ZERO,
    };
    let request = Request {
        version: 1,
        kind: Kind::Generate,
        job: Digest([1; 32]),
        program: Digest([2; 32]),
        inputs: vec![Digest([3; 32]), Digest([4; 32])],
        params: GenerateParams::default().to_bytes(),
        limits: Limits { input_units: 5, output_units: 32, state_bytes: 1 << 20 },
        seed: step.into(),
        audit_commit: Digest::ZERO,
        audit: AuditPolicy::None,
        price: Price { input: 1, output: 4 },
        deadline: Unix(1_800_000_000),
        worker: worker.address(),
        channel: channel.id(&net()),
    };
    let receipt = Receipt {
        version: 1,
        tier: Tier::Exact,
        request: request.digest(&net()),
        unit: Unit::Token,
        units: 20,
        output_root: Digest([5; 32]),
        trace_root: trace_root(&[digest]),
        build: Digest::ZERO,
        operator: worker.address(),
        node: worker.address(),
        channel: request.channel,
        cumulative: Amount(u128::from(step) + 85),
        finish: Finish::Stop,
    };
    let voucher = Voucher { channel: request.channel, max_claimable: receipt.cumulative };
    Kept {
        version: 1,
        network: net().name,
        chain_id: net().chain_id,
        settlement: None,
        step,
        request: (&Signed::new(request, &net(), client)).into(),
        channel,
        digests: vec![digest],
        links: vec![Link {
            receipt: (&Signed::new(receipt, &net(), &worker)).into(),
            voucher: (&Signed::new(voucher, &net(), client)).into(),
        }],
        disclosure: None,
        reruns: Vec::new(),
        lies: Vec::new(),
        own_rerun: None,
    }
}

fn put(dir: &Path, kept: &Kept) {
    let path = dir.join(place_of("receipts", kept));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, kept.to_bytes()).unwrap();
}

fn exported(dir: &Path, choice: &Choice) -> anyhow::Result<Vec<u8>> {
    let client = key(8);
    let maker = Maker { data_dir: dir, key: &client, owner: None, chain: Err("no node runs".into()) };
    let mut bytes = Vec::new();
    export(&maker, choice, &mut bytes)?;
    Ok(bytes)
}

fn all() -> Choice {
    Choice { times: 0..u64::MAX, ..Choice::default() }
}

/// A folder with two receipts and both logs, and its bundle.
fn bundle() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    (0..2).for_each(|step| put(dir.path(), &kept(&key(8), step)));
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let log = Audit::open(&dir.path().join("data/audit")).unwrap();
    (0..3).for_each(|grant| log.note("granted", json!({"grant": grant})));
    std::fs::write(dir.path().join("keys-audit.jsonl"), "{\"decision\":\"allowed\"}\n{\"torn").unwrap();
    let bytes = exported(dir.path(), &all()).unwrap();
    assert_eq!(bytes, exported(dir.path(), &all()).unwrap(), "two exports are two files");
    bytes
}

fn row(verdict: &Verdict, name: &str) -> Value {
    let rows = verdict.value["items"].as_array().unwrap();
    rows.iter().find(|row| row["item"].as_str().unwrap().contains(name)).cloned().unwrap_or_default()
}

/// A bundle of one's own making, its manifest signed by a node.
fn made(client: &SecretKey, members: &[(&str, Vec<u8>)], edit: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let member = |(name, bytes): &(&str, Vec<u8>)| Member {
        name: (*name).to_owned(),
        size: bytes.len() as u64,
        sha256: sha256(&[bytes]).to_string(),
    };
    let mut manifest = Manifest {
        format: FORMAT.into(),
        version: VERSION,
        node: client.node_id().to_string(),
        address: client.address().to_string(),
        owner: None,
        network: net().name,
        chain_id: net().chain_id,
        from: None,
        to: None,
        jobs: Vec::new(),
        disclosed: false,
        models: vec![super::ModelName { root: Digest([2; 32]).to_string(), name: None, cid: None }],
        data_log: None,
        not_shown: Vec::new(),
        count: members.len(),
        members: members.iter().map(member).collect(),
    };
    edit(&mut manifest);
    let text = serde_json::to_vec(&manifest).unwrap();
    let body = Bundle { version: 1, node: client.node_id(), manifest: sha256(&[&text]) };
    let signature = Signed::new(body, &net(), client).to_bytes();
    let mut archive = Writer(Vec::new());
    archive.add("manifest.json", text.len() as u64, &mut text.as_slice()).unwrap();
    archive.add("manifest.sig", signature.len() as u64, &mut signature.as_slice()).unwrap();
    for (name, bytes) in members {
        archive.add(name, bytes.len() as u64, &mut bytes.as_slice()).unwrap();
    }
    archive.finish().unwrap()
}

#[test]
fn a_bundle_holds_and_says_what_it_does_not_show() {
    let verdict = verify(bundle().as_slice(), None).unwrap();
    assert_eq!(verdict.wrong, 0, "{}", verdict.value);
    assert_eq!((&verdict.value["receipts"], &verdict.value["units"]), (&json!(2), &json!(40)));
    assert_eq!(row(&verdict, "data-audit")["lines"], json!(3));
    let said = verdict.value["not_shown"].to_string();
    for what in ["no node runs", "no delegation", "prompts and answers", "chain of hashes", "86 was claimed"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let none = Choice { times: 0..1, ..Choice::default() };
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), &kept(&key(8), 0));
    let empty = verify(exported(dir.path(), &none).unwrap().as_slice(), None).unwrap();
    assert_eq!((empty.wrong, &empty.value["receipts"]), (0, &json!(0)));
    put(dir.path(), &kept(&key(3), 1));
    let why = exported(dir.path(), &all()).unwrap_err().to_string();
    assert!(why.contains("another network or node"), "{why}");
}

#[test]
fn no_changed_byte_and_no_missing_one_goes_unseen() {
    let bytes = bundle();
    let count = bytes.len();
    // All of the headers and the manifest's first part, and every seventh byte of the rest.
    for at in (0..1_024).chain((1_024..count).step_by(7)) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let seen = verify(bad.as_slice(), None).map_or(true, |verdict| verdict.wrong > 0);
        assert!(seen, "byte {at} of {count} was changed, and nobody saw it");
    }
    for end in (0..count).step_by(97).chain([count - 1]) {
        let found = verify(&bytes[..end], None);
        let is_typed = matches!(found, Err(BundleError::Truncated(_)));
        assert!(is_typed, "cut at {end}: {:?}", found.map(|verdict| verdict.value));
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(verify(longer.as_slice(), None), Err(BundleError::Tail)));
}

#[test]
fn what_is_hostile_is_named() {
    let client = key(8);
    let good = kept(&client, 0);
    let name = place_of("receipts", &good);
    let one = [(name.as_str(), good.to_bytes())];
    let plain = made(&client, &one, |_| {});
    assert_eq!(verify(plain.as_slice(), None).unwrap().wrong, 0);
    let at = plain.len() - 1_024;
    let insert = |name: &str, kind: tar::EntryType| {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_entry_type(kind);
        header.set_cksum();
        [&plain[..at], &header.as_bytes()[..], &plain[at..]].concat()
    };
    let file = tar::EntryType::Regular;
    let names = |bad: &str| made(&client, &[(bad, vec![1])], |_| {});
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("traversal after the end", insert("../../etc/passwd", file), "no bundle has such a name"),
        ("absolute", insert("/etc/passwd", file), "no bundle has such a name"),
        ("a link", insert("chain/link", tar::EntryType::Symlink), "no plain file"),
        ("a hard link", insert("chain/link", tar::EntryType::Link), "no plain file"),
        ("a folder", insert("receipts", tar::EntryType::Directory), "no plain file"),
        ("a device", insert("receipts", tar::EntryType::Block), "no plain file"),
        ("a long name", insert("././@LongLink", tar::EntryType::GNULongName), "no plain file"),
        ("an extra member", insert("chain/9-more.json", file), "not in the manifest"),
        ("the manifest again", insert("manifest.json", file), "not in the manifest"),
        ("hidden", names("chain/.ssh"), "no bundle has such a name"),
        ("elsewhere", names("etc/passwd"), "no bundle has such a name"),
        ("signature as member", names("manifest.sig"), "no bundle has such a name"),
        ("twice", made(&client, &[one[0].clone(), one[0].clone()], |_| {}), "there twice"),
        ("huge", made(&client, &one, |m| m.members[0].size = 1 << 40), "at most"),
        ("a wrong count", made(&client, &one, |m| m.count = 2), "counts 2 members and names 1"),
        ("a later version", made(&client, &one, |m| m.version = 2), "update it"),
        ("another's name", made(&key(3), &one, |m| m.node = client.node_id().to_string()), "not signed by the node"),
        (
            "another's address",
            made(&client, &one, |m| m.address = key(3).address().to_string()),
            "not signed by the node",
        ),
        ("no bundle", vec![1; 4_096], "no bundle of"),
        ("a member missing", [&plain[..at - 512 - name_block(&good)], &plain[at..]].concat(), "is missing"),
    ];
    for (what, bytes, why) in cases {
        let found = verify(bytes.as_slice(), None).map(|verdict| verdict.value);
        let found = found.expect_err(what).to_string();
        assert!(found.contains(why), "{what}: {found}");
    }
}

/// Bytes of a record with its padding.
fn name_block(kept: &Kept) -> usize {
    kept.to_bytes().len().next_multiple_of(512)
}

#[test]
fn a_node_that_signs_false_members_is_told_which() {
    let client = key(8);
    let good = kept(&client, 0);
    let name = place_of("receipts", &good);
    let changed = |edit: fn(&mut Kept)| {
        let mut kept = good.clone();
        edit(&mut kept);
        kept.to_bytes()
    };
    let copy = Kept { step: 4, ..good.clone() };
    let other = kept(&key(3), 0);
    let log = b"{\"n\":0,\"at\":1,\"what\":\"x\",\"about\":{},\"hash\":\"00\"}\n".to_vec();
    let part = super::LogPart { first: 0, before: Digest::ZERO.to_string(), lines: 1, head: Digest::ZERO.to_string() };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a price", made(&client, &[(&name, changed(|k| k.request.body.price.output = 1))], |_| {}), "another key"),
        (
            "units",
            made(&client, &[(&name, changed(|k| k.links[0].receipt.body.units = 32))], |_| {}),
            "ordered worker's",
        ),
        (
            "a sum",
            made(&client, &[(&name, changed(|k| k.links[0].voucher.body.max_claimable.0 = 1))], |_| {}),
            "client's",
        ),
        ("another node's", made(&client, &[(&place_of("receipts", &other), other.to_bytes())], |_| {}), "another node"),
        (
            "another's name",
            made(&client, &[(&place_of("receipts", &copy), good.to_bytes())], |_| {}),
            "another receipt's",
        ),
        ("no receipt", made(&client, &[(&name, vec![1, 2, 3])], |_| {}), "not a valid record"),
        ("a model unnamed", made(&client, &[(&name, good.to_bytes())], |m| m.models.clear()), "name its model"),
        (
            "another network",
            made(&client, &[(&name, good.to_bytes())], |m| m.network = "other".into()),
            "another network",
        ),
        (
            "a broken log",
            made(&client, &[("data-audit.jsonl", log)], |m| m.data_log = Some(part.clone())),
            "breaks at line 0",
        ),
        (
            "a log left out",
            made(&client, &[(&name, good.to_bytes())], |m| m.data_log = Some(part.clone())),
            "is not there",
        ),
        ("no delegation", made(&client, &[("delegation", vec![1])], |_| {}), "not a valid record"),
        ("no genesis", made(&client, &[("chain/0-genesis.json", b"{}".to_vec())], |_| {}), "no list"),
        ("no block", made(&client, &[("chain/2-block-00000.json", b"{}".to_vec())], |_| {}), "header is none"),
        ("a proof alone", made(&client, &[("chain/3-channel-00.json", b"{}".to_vec())], |_| {}), "a channel has an id"),
    ];
    for (what, bytes, why) in cases {
        let verdict = verify(bytes.as_slice(), None).unwrap_or_else(|no| panic!("{what}: {no}"));
        assert_eq!(verdict.wrong, 1, "{what}: {}", verdict.value);
        let said = verdict.value["items"].to_string();
        assert!(said.contains(why), "{what}: {said}");
    }
    // The same lease under two steps, each by its own name.
    let twice = [(name.as_str(), good.to_bytes()), (&place_of("receipts", &copy), copy.to_bytes())];
    let verdict = verify(made(&client, &twice, |_| {}).as_slice(), None).unwrap();
    assert!(verdict.wrong == 1 && verdict.value["items"].to_string().contains("twice"), "{}", verdict.value);
}
