//! Blocks of strangers in each codec: never a panic, nor an end of the stack; JSON of what is read says
//! the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use talkoo_store::{Block, DAG_CBOR, DAG_JSON, DAG_PB, ipld};

fuzz_target!(|bytes: &[u8]| {
    for codec in [DAG_PB, DAG_CBOR, DAG_JSON] {
        let Ok(block) = Block::of(codec, Bytes::copy_from_slice(bytes)) else { return };
        let _ = ipld::links(&block);
        let _ = ipld::to_dag_cbor(&block);
        if let Ok(json) = ipld::to_dag_json(&block) {
            if let Ok(again) = ipld::from_dag_json(&json, DAG_JSON) {
                assert_eq!(again.bytes(), &json);
            }
        }
    }
});
