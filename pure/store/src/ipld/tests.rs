use super::*;
use proptest::prelude::*;

const CIDS: [&str; 2] =
    ["bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"];

fn json(text: &str, codec: u64) -> Block {
    from_dag_json(text.as_bytes(), codec).unwrap()
}

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

#[test]
fn links_stand_in_the_order_of_the_block() {
    let [a, b] = CIDS;
    let nested = format!(r#"{{"a":[1,{{"/":"{b}"}}],"b":{{"c":{{"/":"{a}"}},"d":{{"/":{{"bytes":"AAEC"}}}}}}}}"#);
    let node =
        format!(r#"{{"Data":{{"/":{{"bytes":"CAE"}}}},"Links":[{{"Hash":{{"/":"{a}"}},"Name":"x","Tsize":3}}]}}"#);
    let cases = [
        (json(&nested, DAG_CBOR), vec![b, a]),
        (json(&nested, DAG_JSON), vec![b, a]),
        (json(&node, DAG_PB), vec![a]),
        (json(r#"{"/":{"bytes":"AAEC"}}"#, RAW), vec![]),
        (Block::of(0x99, vec![1].into()).unwrap(), vec![]),
    ];
    for (block, expected) in cases {
        let expected: Vec<Cid> = expected.into_iter().map(cid).collect();
        assert_eq!(links(&block), Ok(expected), "{:x}", block.cid().codec());
    }
    assert_eq!(to_dag_json(&json(&node, DAG_PB)).unwrap(), node.as_bytes());
    assert_eq!(to_dag_json(&json(&nested, DAG_CBOR)).unwrap(), nested.as_bytes());
    assert_eq!(to_dag_cbor(&json(&nested, DAG_JSON)).unwrap(), json(&nested, DAG_CBOR).bytes()[..]);
}

/// Of the IPLD documentation and of `ipfs dag put`: `{"hello":"world"}`.
#[test]
fn known_cids() {
    let cid = json(r#"{"hello":"world"}"#, DAG_CBOR).cid().to_string();
    assert_eq!(cid, "bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae");
}

#[test]
fn what_does_not_fit_is_typed() {
    assert!(matches!(from_dag_json(b"{", DAG_CBOR), Err(ConvertError::Malformed { .. })));
    assert!(matches!(from_dag_json(b"{} {}", DAG_CBOR), Err(ConvertError::Malformed { .. })));
    assert!(matches!(from_dag_json(b"{}", RAW), Err(ConvertError::Unfit { .. })));
    assert!(matches!(from_dag_json(b"{}", DAG_PB), Err(ConvertError::Unfit { .. })));
    assert_eq!(from_dag_json(b"{}", 0x99), Err(ConvertError::UnknownCodec { codec: 0x99 }));
}

#[test]
fn bombs_are_errors() {
    let deep = 200_000;
    for (codec, bytes) in [(DAG_CBOR, vec![0x81; deep]), (DAG_JSON, vec![b'['; deep]), (DAG_PB, vec![0x0a; deep])] {
        let block = Block::of(codec, bytes.into()).unwrap();
        assert!(matches!(links(&block), Err(NodeError::Malformed { .. })), "{codec:x}");
        assert!(matches!(to_dag_json(&block), Err(ConvertError::Malformed { .. })), "{codec:x}");
    }
    // A name longer than any in use, here in base 2, is not looked into: in base 58 it would take minutes.
    let binary = Block::of(RAW, Bytes::new()).unwrap().cid().to_string_of_base(cid::multibase::Base::Base2).unwrap();
    for key in ["\"/\":", "\"\\/\" : ", "\"\\u002f\":\n", "\"\\u002F\":"] {
        let block = Block::of(DAG_JSON, format!("[\"\\\"\",{{{key}\"{binary}\"}}]").into()).unwrap();
        assert_eq!(links(&block), Err(NodeError::Malformed { what: "(link of dag-json)" }), "{key}");
        assert!(matches!(to_dag_cbor(&block), Err(ConvertError::Malformed { .. })), "{key}");
    }
    let text = Block::of(DAG_JSON, format!("{{\"/\":\"bafkqaaa\",\"a\":\"{binary}\"}}").into()).unwrap();
    assert!(!has_long_link(text.bytes()), "another text may be as long as it likes");
    // A link of 9 bytes, in a list that says it has four billion of them.
    let link = [0xd8, 0x2a, 0x45, 0, 1, 0x55, 0, 0];
    let many = [&[0x9a, 0xff, 0xff, 0xff, 0xff][..], &link.repeat(20_000)].concat();
    assert!(links(&Block::of(DAG_CBOR, many.into()).unwrap()).is_err());
    let list = [&[0x99, 0x4e, 0x20][..], &link.repeat(20_000)].concat();
    assert_eq!(links(&Block::of(DAG_CBOR, list.into()).unwrap()), Err(NodeError::TooManyLinks));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for codec in [DAG_PB, DAG_CBOR, DAG_JSON] {
            let block = Block::of(codec, bytes.clone().into()).unwrap();
            let _ = (links(&block), to_dag_json(&block), to_dag_cbor(&block));
        }
    }
}
