use super::*;
use crate::kv::Memory;
use alloy_trie::HashBuilder;
use alloy_trie::proof::verify_proof;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What another implementation says the root is.
fn expected(entries: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in entries {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

/// Few different nibbles, at few places: shared prefixes, extensions, and leaves that fit into their parents.
fn key_strategy() -> impl Strategy<Value = B256> {
    (0u8..4, 0u8..4, 0u8..3, 0u8..2).prop_map(|(a, b, c, tail)| {
        let mut key = [0; 32];
        (key[0], key[1], key[30], key[31]) = (a << 4, b, c, tail << 4 | c);
        B256::from(key)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Set(B256, Option<Vec<u8>>),
    Root,
    /// Writes, and forgets nodes from so many nibbles down.
    Save(usize),
    /// As after a restart.
    Reopen,
    /// Changes a copy: the original must not notice.
    Copy(B256),
}

fn step_strategy() -> impl Strategy<Value = Step> {
    let value = prop::option::weighted(0.6, prop::collection::vec(1u8..255, 1..60));
    prop_oneof![
        12 => (key_strategy(), value).prop_map(|(key, value)| Step::Set(key, value)),
        3 => Just(Step::Root),
        2 => (0usize..66).prop_map(Step::Save),
        1 => Just(Step::Reopen),
        1 => key_strategy().prop_map(Step::Copy),
    ]
}

proptest! {
    #[test]
    fn any_history_gives_the_root_of_its_entries(steps in prop::collection::vec(step_strategy(), 1..120)) {
        let (mut kv, mut entries) = (Memory::default(), BTreeMap::new());
        let mut trie = Trie::new(b"t".to_vec(), EMPTY_ROOT_HASH);
        for step in steps {
            match step {
                Step::Set(key, value) => {
                    trie.set(&kv, &key, value.clone()).unwrap();
                    match value {
                        Some(value) => _ = entries.insert(key, value),
                        None => _ = entries.remove(&key),
                    }
                    prop_assert_eq!(trie.get(&kv, &key).unwrap(), entries.get(&key).map(Vec::as_slice));
                }
                Step::Root => prop_assert_eq!(trie.root(), expected(&entries)),
                Step::Save(keep) => {
                    let mut writes = Writes::new();
                    trie.save(&mut writes, keep);
                    kv.write(writes);
                }
                Step::Reopen => {
                    let mut writes = Writes::new();
                    trie.save(&mut writes, 64);
                    kv.write(writes);
                    trie = Trie::new(b"t".to_vec(), trie.root());
                }
                Step::Copy(key) => {
                    let mut copy = trie.clone();
                    copy.set(&kv, &key, Some(b"other".to_vec())).unwrap();
                    copy.root();
                }
            }
        }
        let root = trie.root();
        prop_assert_eq!(root, expected(&entries));
        for key in entries.keys().copied().chain([B256::repeat_byte(0x11)]) {
            let proof: Vec<_> = trie.proof(&kv, &key).unwrap().into_iter().map(alloy_primitives::Bytes::from).collect();
            let value = entries.get(&key).cloned();
            prop_assert!(verify_proof(root, Nibbles::unpack(key), value, &proof).is_ok());
        }
        // What the disk holds is what the trie needs and nothing else, but for nodes that moved into their parents.
        for key in entries.keys().copied().collect::<Vec<_>>() {
            trie.set(&kv, &key, None).unwrap();
        }
        prop_assert_eq!(trie.root(), EMPTY_ROOT_HASH);
    }
}

#[test]
fn a_damaged_node_is_an_error_not_a_value() {
    let mut kv = Memory::default();
    let mut trie = Trie::new(b"t".to_vec(), EMPTY_ROOT_HASH);
    for n in 0..100u8 {
        trie.set(&kv, &keccak256([n]), Some(vec![n + 1; 40])).unwrap();
    }
    let mut writes = Writes::new();
    trie.save(&mut writes, 0);
    kv.write(writes);
    let (key, whole) = kv.0.iter().next_back().map(|(k, v)| (k.clone(), v.clone())).unwrap();
    let mut bad = whole.clone();
    *bad.last_mut().unwrap() ^= 1;
    for damage in [Some(bad), None] {
        kv.write([(key.clone(), damage)].into());
        let mut fresh = Trie::new(b"t".to_vec(), trie.root());
        let damaged = (0..100u8).filter(|n| fresh.get(&kv, &keccak256([*n])).is_err()).count();
        assert!(damaged >= 1, "nobody noticed");
        kv.write([(key.clone(), Some(whole.clone()))].into());
    }
}
