//! Golden bytes and round trips. The digests were computed by ethers 6.17 (`TypedDataEncoder`,
//! `Wallet`) from the type strings of `@x402/evm` 2.27.0 and of this crate.

use crate::wire::{DecodeError, Typed, decode, encode};
use crate::*;
use proptest::prelude::*;

fn d(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn a(byte: u8) -> Address {
    Address([byte; 20])
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32]).unwrap()
}

fn request() -> Request {
    Request {
        version: 1,
        kind: Kind::Generate,
        job: d(1),
        program: d(2),
        inputs: vec![d(3), d(4)],
        params: vec![0xa0],
        limits: Limits { input_units: 5, output_units: 6, state_bytes: 7 },
        seed: u64::MAX,
        audit_commit: d(8),
        audit: AuditPolicy::Drawn,
        price: Price { input: 9, output: 10 },
        deadline: Unix(11),
        worker: a(12),
        channel: d(13),
    }
}

fn receipt() -> Receipt {
    Receipt {
        version: 1,
        tier: Tier::Exact,
        request: d(1),
        unit: Unit::Token,
        units: 33,
        output_root: d(2),
        trace_root: d(3),
        build: d(4),
        operator: a(5),
        node: a(6),
        channel: d(7),
        cumulative: Amount(8),
        finish: Finish::Length,
    }
}

fn bundle() -> Bundle {
    Bundle { version: 1, node: key().node_id(), manifest: d(9) }
}

fn channel() -> ChannelConfig {
    ChannelConfig {
        payer: a(1),
        payer_authorizer: a(2),
        receiver: a(3),
        receiver_authorizer: a(4),
        token: a(5),
        withdraw_delay: 86_400,
        salt: d(6),
    }
}

#[test]
fn digests_are_those_of_ethers() {
    let net = Network::local("test");
    let voucher = Voucher { channel: d(7), max_claimable: Amount(123_456_789_012_345_678_901_234_567_890) };
    let delegation = Delegation { owner: a(1), node: a(2), roles: Delegation::ALL_ROLES, expiry: Unix(9) };
    // These two, and the bundle's, by eth-account 0.14 for Python.
    let first = Proposal { height: 8, round: 3, valid_round: None, block: d(5), body: d(6) };
    let again = Proposal { valid_round: Some(2), ..first };
    let cases = [
        ("voucher", voucher.digest(&net), "9f0aa0bdb9d5349667040dc5ff78bce3328a816aaacbb5ae9dff120bdc4a9e6c"),
        ("request", request().digest(&net), "421418adf6fd898bcefec6b6d450859d66a087d49e063b9c7809c178481ba325"),
        ("receipt", receipt().digest(&net), "f56ffd41a31f24a5e036f11b7f9de8ec9eb1b71a042e91c3b3d4f468cb4f1185"),
        ("delegation", delegation.digest(&net), "ffbe34c61bff9df04049ae3ca33e12243b00e3e9d44b2f6cd6e7763cafe08f37"),
        ("proposal", first.digest(&net), "77e06f7b4629384aee49463995a3b19d86722a62e1da639304780432866ef2b5"),
        ("proposed again", again.digest(&net), "3212f0f408f5067fbcdb72dd9c88278e9bfcf21835b485d882713d8e17aca3ae"),
        ("bundle", bundle().digest(&net), "ee64e6878cb14186fd52b7a11392168bb0a4d86a6249b8ad33390db8d60fbe99"),
        ("channel", channel().id(&net), "dcb245ad704ccf75f9951ab24aaa7a03babe0f22e68419d2e26a6ec9b4d8540f"),
    ];
    for (name, have, want) in cases {
        assert_eq!(have.to_string(), want, "{name}");
    }
    let signed = Signed::new(voucher, &net, &key());
    let want = "4be6f9a0447c7f78965805e6a01e761714891cf40c374315596fbdca6b2110e7\
                59069fc8426c3ac3a994a9252a6f743baac4597a9fa67234494b1bc2bf1840841c";
    assert_eq!(hex::encode(signed.signature.0), want);
    assert_eq!(key().address().to_string(), "0x4a62316623ad457f02cdc5d997ded67a383ec569");
}

#[test]
fn stored_bytes_are_golden() {
    let cases = [
        ("request", wire::cid_of(&encode(&request())), "bafyreidod5oowzps4hs5jibqsykt6vrjnqt4ez6ohkxensviqp2ohuicfq"),
        ("receipt", receipt().id(), "bafyreifdlkq2vu5riwfjfdziwoyghuxrhiql22twhbwifcpxgaasvjhncu"),
        ("bundle", wire::cid_of(&encode(&bundle())), "bafyreihsockw4pop2bet4wjys7d7p562mero3bw6ilmpjnbx2ziadzrfki"),
        ("channel", wire::cid_of(&encode(&channel())), "bafyreihsdo6lh4rq65aq54s3sibx75higexqp4e66cjqghv2odrb6zrrxa"),
        (
            "params",
            wire::cid_of(&GenerateParams::default().to_bytes()),
            "bafyreidztnp3xhpamygjdqgjdwwkl6qs2a7crklg6w23ihiocewnyrxmu4",
        ),
    ];
    for (name, have, want) in cases {
        assert_eq!(have.to_string(), want, "{name}");
    }
}

#[test]
fn names_of_the_float_tier_are_golden() {
    let cases = [
        (float_program(&d(1), "a/b"), "97cc49e6c950df754ddeaa605722e48bf760a2ff9733de1d6fa2724b09dc73a3"),
        (float_chunk(&d(1), 2, &[7, 70_000]), "a95c7272dc34f2940e281a95f55a48c5d76a85529e1d47c57e38bc0e723a6b77"),
    ];
    for (have, want) in cases {
        assert_eq!(have.to_string().trim_start_matches("0x"), want);
    }
}

#[test]
fn a_card_offers_no_quorum() {
    let offer = |tier| ModelOffer { program: d(1), tier, context: 1, prefill_mtps: 1, decode_mtps: 1 };
    let node = key().node_id();
    for (tier, fine) in [(Tier::Exact, true), (Tier::Float, true), (Tier::Quorum, false)] {
        let models = vec![offer(Tier::Exact), offer(tier)];
        let (price, expiry) = (Price { input: 1, output: 1 }, Unix(1));
        let card = Card { version: 1, node, operator: a(1), build: d(2), models, slots: 1, price, expiry };
        assert_eq!(decode::<Card>(&encode(&card)).is_ok(), fine, "{tier:?}");
    }
}

#[test]
fn signed_records_come_back_with_their_signer() {
    let net = Network::local("test");
    let signed = Signed::new(receipt(), &net, &key());
    let back = Signed::<Receipt>::open(&signed.to_bytes(), &net).unwrap();
    assert_eq!(back, signed);
    assert_eq!(back.signer, key().address());
    let other = Network { chain_id: 1, ..net };
    assert_ne!(Signed::<Receipt>::open(&signed.to_bytes(), &other).map(|s| s.signer), Ok(key().address()));
}

#[test]
fn malleable_and_broken_signatures_are_refused() {
    let digest = d(9);
    let good = key().sign(&digest);
    assert_eq!(recover(&digest, &good), Ok(key().address()));
    let mut high = good;
    // s' = n - s with the other v is the malleable twin.
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
    let mut borrow = 0i32;
    for i in (0..32).rev() {
        let mut v = i32::from(order[i]) - i32::from(good.0[32 + i]) - borrow;
        borrow = i32::from(v < 0);
        if v < 0 {
            v += 256;
        }
        high.0[32 + i] = u8::try_from(v).unwrap();
    }
    high.0[64] = 27 + 28 - good.0[64];
    assert_eq!(recover(&digest, &high), Err(KeyError::Signature), "high s");
    let mut v = good;
    v.0[64] = 29;
    assert_eq!(recover(&digest, &v), Err(KeyError::Signature), "v");
    assert_eq!(recover(&digest, &Signature([0; 65])), Err(KeyError::Signature), "zeros");
}

#[test]
fn other_spellings_and_versions_are_refused() {
    let mut newer = receipt();
    newer.version = 2;
    assert_eq!(decode::<Receipt>(&encode(&newer)), Err(DecodeError::UnsupportedVersion(2)));
    let mut bytes = encode(&receipt());
    bytes.push(0);
    assert!(decode::<Receipt>(&bytes).is_err(), "trailing byte");
    // The version (1) spelled in two bytes instead of one.
    let bytes = encode(&receipt());
    let at = bytes.windows(8).position(|w| w == b"gversion").unwrap() + 8;
    let longer = [&bytes[..at], &[0x18, 1], &bytes[at + 1..]].concat();
    assert!(decode::<Receipt>(&longer).is_err(), "long integer");
    assert!(decode::<Receipt>(&vec![0; limits::RECORD_BYTES_MAX + 1]).is_err(), "too large");
    let many = Request { inputs: vec![d(0); limits::REQUEST_INPUTS_MAX + 1], ..request() };
    assert!(matches!(decode::<Request>(&encode(&many)), Err(DecodeError::Rule(_))));
    let params = GenerateParams { max_tokens: 0, ..Default::default() };
    assert!(GenerateParams::from_bytes(&params.to_bytes()).is_err());
}

#[test]
fn parameters_have_one_spelling_and_bounds() {
    type Change = fn(&mut GenerateParams);
    let plain = GenerateParams::default().to_bytes();
    fn regex(length: usize) -> Constraint {
        Constraint { form: ConstraintForm::Regex, source: "a".repeat(length) }
    }
    let good: [Change; 10] = [
        |p| p.repeat_penalty_q16 = 1,
        |p| p.repeat_penalty_q16 = 2 << 16,
        |p| p.frequency_penalty_q16 = -(2 << 16),
        |p| p.presence_penalty_q16 = 2 << 16,
        |p| p.logit_bias = vec![(0, -100 << 16), (7, 100 << 16)],
        |p| p.logit_bias = (0..300).map(|id| (id, 0)).collect(),
        |p| p.constraint = Some(regex(1)),
        |p| p.constraint = Some(Constraint { form: ConstraintForm::Lark, ..regex(limits::CONSTRAINT_BYTES_MAX) }),
        |p| p.top_logprobs = Some(0),
        |p| p.top_logprobs = Some(limits::TOP_LOGPROBS_MAX),
    ];
    for (case, change) in good.iter().enumerate() {
        let mut params = GenerateParams::default();
        change(&mut params);
        let bytes = params.to_bytes();
        assert!(bytes.len() > plain.len(), "good case {case}");
        assert_eq!(GenerateParams::from_bytes(&bytes), Ok(params), "good case {case}");
    }
    let bad: [Change; 14] = [
        |p| p.max_tokens = 0,
        |p| p.repeat_penalty_q16 = 0,
        |p| p.repeat_penalty_q16 = (2 << 16) + 1,
        |p| p.frequency_penalty_q16 = (2 << 16) + 1,
        |p| p.presence_penalty_q16 = i32::MIN,
        |p| p.logit_bias = vec![(7, (100 << 16) + 1)],
        |p| p.logit_bias = vec![(7, i32::MIN)],
        |p| p.logit_bias = vec![(7, 1), (7, 1)],
        |p| p.logit_bias = vec![(8, 1), (7, 1)],
        |p| p.logit_bias = (0..301).map(|id| (id, 0)).collect(),
        |p| p.constraint = Some(regex(0)),
        |p| p.constraint = Some(regex(limits::CONSTRAINT_BYTES_MAX + 1)),
        |p| (p.constraint, p.ignore_eos) = (Some(regex(1)), true),
        |p| p.top_logprobs = Some(limits::TOP_LOGPROBS_MAX + 1),
    ];
    for (case, change) in bad.iter().enumerate() {
        let mut params = GenerateParams::default();
        change(&mut params);
        let read = GenerateParams::from_bytes(&params.to_bytes());
        assert!(matches!(read, Err(DecodeError::Rule(_))), "bad case {case}: {read:?}");
    }
    // Another dialect or form of a constraint; the words have the length of the right ones.
    let bytes = GenerateParams { constraint: Some(regex(1)), ..Default::default() }.to_bytes();
    for (right, wrong) in [("guidance/1.9", "guidance/1.8"), ("regex", "rogex")] {
        let at = bytes.windows(right.len()).position(|w| w == right.as_bytes()).unwrap();
        let other = [&bytes[..at], wrong.as_bytes(), &bytes[at + right.len()..]].concat();
        assert!(matches!(GenerateParams::from_bytes(&other), Err(DecodeError::Rule(_))), "{wrong}");
    }
    // Another field, known or not, that asks for nothing: maps are sorted by length of key, so it comes last.
    for (key, value) in [("frequency_penalty_q16", 0), ("nobody_knows_such_key", 1)] {
        let mut longer = plain.clone();
        longer[0] += 1;
        longer.push(0x60 + key.len() as u8);
        longer.extend(key.as_bytes());
        longer.push(value);
        assert_eq!(GenerateParams::from_bytes(&longer), Err(DecodeError::NotCanonical), "{key}");
    }
}

#[test]
fn owed_rounds_up_once() {
    let price = Price { input: 100_000, output: 400_000 };
    assert_eq!(price.owed(1, 0), Amount(1));
    assert_eq!(price.owed(10, 0), Amount(1));
    assert_eq!(price.owed(10, 32), Amount(14));
    assert_eq!(Price { input: u128::MAX, output: 1 }.owed(u64::MAX, 1), Amount(u128::MAX.div_ceil(1_000_000)));
    assert_eq!(Amount(1_500_000).to_string(), "1.500000");
}

#[test]
fn refusal_codes_survive_the_wire() {
    assert_eq!(RefusalCode::parse(RefusalCode::PriceTooLow.as_str()), RefusalCode::PriceTooLow);
    assert_eq!(RefusalCode::parse("from_the_future"), RefusalCode::Other);
    let no = Refusal::new(RefusalCode::Busy, "all slots are taken", "try again in 3 s").with(1, 0);
    assert_eq!(no.to_string(), "all slots are taken (need 1, have 0); try again in 3 s");
}

#[test]
fn a_growing_list_has_the_root_of_its_leaves() {
    let (mut growing, mut leaves) = (merkle::Growing::default(), Vec::new());
    for n in 0..130u8 {
        assert_eq!(growing.root("t"), merkle::root_of_leaves("t", leaves.clone()), "{n} leaves");
        let leaf = merkle::leaf("t", &[n]);
        growing.push(leaf);
        leaves.push(leaf);
    }
}

#[test]
fn log_probabilities_have_one_spelling_and_bounds() {
    let of = |others: u32| TokenLogprobs { chosen: i32::MIN, top: (0..others).map(|id| (id, -1)).collect() };
    let all = vec![of(0), of(limits::TOP_LOGPROBS_MAX), of(2)];
    let mut bytes = Vec::new();
    all.iter().for_each(|token| token.push_bytes(&mut bytes));
    assert_eq!((TokenLogprobs::read_all(&bytes), TokenLogprobs::read_all(&[])), (Some(all), Some(Vec::new())));
    let cut = |at: usize| TokenLogprobs::read_all(&bytes[..at]).map(|all| all.len());
    assert_eq!([1, 4, 7, 8, 9, 16, bytes.len() - 1].map(cut), [None, None, None, Some(1), None, None, None]);
    let mut many = Vec::new();
    of(limits::TOP_LOGPROBS_MAX + 1).push_bytes(&mut many);
    assert_eq!(TokenLogprobs::read_all(&many), None, "more than anybody may ask for");
    let told = Logprobs { inner: d(1), bytes };
    assert!(told.fit(3, 20) && !told.fit(3, 19) && !told.fit(2, 20));
    let golden = "8a31e6e6e98bc33cfd73e73d243bc9baff274c2714019671968afda8a0b83a9a";
    assert_eq!(told.digest().to_string().trim_start_matches("0x"), golden);
}

proptest! {
    #[test]
    fn merkle_paths_open_and_only_at_their_place(count in 1usize..40, index in 0usize..40, flip in 0usize..256) {
        let leaves: Vec<Digest> = (0..count).map(|i| merkle::leaf("t", &[i as u8])).collect();
        let root = merkle::root_of_leaves("t", leaves.clone());
        let Some(path) = merkle::open(&leaves, index) else { prop_assert!(index >= count); return Ok(()) };
        prop_assert_eq!(merkle::root_of_path("t", leaves[index], &path), Some(root));
        prop_assert_ne!(merkle::root_of_path("u", leaves[index], &path), Some(root));
        let mut other = leaves[index];
        other.0[flip / 8] ^= 1 << (flip % 8);
        prop_assert_ne!(merkle::root_of_path("t", other, &path), Some(root));
        let moved = merkle::Path { index: (path.index + 1) % count as u64, ..path.clone() };
        prop_assert!(count == 1 || merkle::root_of_path("t", leaves[index], &moved) != Some(root));
        let longer = merkle::Path { siblings: [path.siblings.clone(), vec![d(1)]].concat(), ..path };
        prop_assert_eq!(merkle::root_of_path("t", leaves[index], &longer), None);
    }

    #[test]
    fn decoders_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0usize..400, to in any::<u8>()) {
        let _ = decode::<Receipt>(&bytes);
        let _ = GenerateParams::from_bytes(&bytes);
        if let Some(all) = TokenLogprobs::read_all(&bytes) {
            let mut again = Vec::new();
            all.iter().for_each(|token| token.push_bytes(&mut again));
            prop_assert_eq!(again, bytes.clone(), "one spelling");
        }
        let mut near = Signed::new(request(), &Network::local("test"), &key()).to_bytes();
        let len = near.len();
        near[at % len] = to;
        let _ = Signed::<Request>::open(&near, &Network::local("test"));
        let _ = Signed::<Card>::open(&bytes, &Network::local("test"));
    }
}
