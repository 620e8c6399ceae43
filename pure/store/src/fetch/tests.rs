use super::*;
use crate::block::{DAG_CBOR, DAG_PB};
use crate::dagpb;
use crate::limits::{CHUNK_BYTES, TIMEOUTS_MAX, WANT_DEADLINE_MS, WANTS_PER_PEER_MAX};
use crate::unixfs::{Importer, Profile};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::convert::Infallible;

const A: PeerRef = PeerRef(1);
const B: PeerRef = PeerRef(2);
const C: PeerRef = PeerRef(3);

/// How a pretended peer answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    /// Serves everything, this many milliseconds per block.
    Honest(u64),
    /// Denies everything.
    Empty,
    /// Says nothing.
    Silent,
    /// Sends other bytes.
    Wrong,
    /// Serves this many blocks, then is gone.
    Dies(u64),
}

/// A pretended world of peers with one file.
struct World {
    now: Mono,
    blocks: BTreeMap<Cid, Block>,
    disk: BTreeMap<Cid, Block>,
    peers: BTreeMap<PeerRef, (Nature, Mono, u64)>,
    queue: BTreeMap<(Mono, u64), Input>,
    canceled: BTreeSet<(PeerRef, Cid)>,
    sequence: u64,
    served: BTreeMap<PeerRef, u64>,
    dropped: Vec<(PeerRef, PeerFault)>,
    stored: u64,
    asked_max: usize,
}

fn file(megabytes: usize) -> (Cid, BTreeMap<Cid, Block>) {
    let mut blocks = BTreeMap::new();
    let mut sink = |block: Block| {
        blocks.insert(*block.cid(), block);
        Ok::<(), Infallible>(())
    };
    let mut importer = Importer::new(Profile::default());
    for i in 0..megabytes {
        importer.push(&[&i.to_le_bytes()[..], &vec![7; CHUNK_BYTES - 8]].concat(), &mut sink).unwrap();
    }
    let root = importer.finish(&mut sink).unwrap();
    (root.cid, blocks)
}

impl World {
    fn new(blocks: BTreeMap<Cid, Block>, peers: &[(PeerRef, Nature)]) -> Self {
        Self {
            now: Mono(1000),
            blocks,
            disk: BTreeMap::new(),
            peers: peers.iter().map(|(peer, nature)| (*peer, (*nature, Mono(1000), 0))).collect(),
            queue: BTreeMap::new(),
            canceled: BTreeSet::new(),
            sequence: 0,
            served: BTreeMap::new(),
            dropped: Vec::new(),
            stored: 0,
            asked_max: 0,
        }
    }

    fn later(&mut self, at: Mono, input: Input) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), input);
    }

    fn want(&mut self, peer: PeerRef, cid: Cid, kind: WantKind) {
        let Some((nature, free_at, served)) = self.peers.get(&peer).copied() else { return };
        let soon = self.now + 1;
        match (nature, kind) {
            (Nature::Silent, _) => {}
            (Nature::Empty, _) => self.later(soon, Input::Presence { peer, cid, have: false }),
            (_, WantKind::Have) => self.later(soon, Input::Presence { peer, cid, have: true }),
            (Nature::Wrong, WantKind::Block) => {
                let block = Block::of(0x55, Bytes::from(format!("wrong {cid}"))).unwrap();
                self.later(soon, Input::Block { peer, block });
            }
            (Nature::Dies(after), WantKind::Block) if served >= after => self.later(soon, Input::PeerGone(peer)),
            (Nature::Dies(_) | Nature::Honest(_), WantKind::Block) => {
                let ms = if let Nature::Honest(ms) = nature { ms } else { 10 };
                let at = free_at.max(self.now) + ms;
                let state = self.peers.get_mut(&peer).expect("looked up above");
                (state.1, state.2) = (at, served + 1);
                let block = self.blocks[&cid].clone();
                self.later(at, Input::Block { peer, block });
                *self.served.entry(peer).or_default() += 1;
            }
        }
    }

    fn act(&mut self, outputs: Vec<Output>) -> Option<Result<Progress, FetchFailure>> {
        for output in outputs {
            match output {
                Output::Look(cid) => {
                    let held = self.disk.get(&cid).map(|block| match ipld::may_link(cid.codec()) {
                        true => Held::Node(block.clone()),
                        false => Held::Leaf { bytes: block.bytes().len() as u64 },
                    });
                    self.later(self.now, Input::Looked { cid, held });
                }
                Output::Want { peer, cid, kind } => self.want(peer, cid, kind),
                Output::Cancel { peer, cid } => _ = self.canceled.insert((peer, cid)),
                Output::Store(block) => {
                    self.stored += 1;
                    self.disk.insert(*block.cid(), block);
                }
                Output::Drop { peer, why } => self.dropped.push((peer, why)),
                Output::Done(progress) => return Some(Ok(progress)),
                Output::Failed(failure) => return Some(Err(failure)),
            }
        }
        None
    }

    fn run(&mut self, root: Cid) -> Result<Progress, FetchFailure> {
        self.run_scope(root, Scope::Dag)
    }

    fn run_scope(&mut self, root: Cid, scope: Scope) -> Result<Progress, FetchFailure> {
        let mut outputs = Vec::new();
        let mut fetch = Fetch::start(root, scope, self.now, &mut outputs);
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            fetch.handle(self.now, Input::PeerUp(peer), &mut outputs);
        }
        for _ in 0..1_000_000 {
            if let Some(result) = self.act(std::mem::take(&mut outputs)) {
                return result;
            }
            self.asked_max = self.asked_max.max(fetch.in_flight);
            let wake = fetch.next_wake().expect("a running fetch wakes");
            let input = match self.queue.first_key_value() {
                Some(((at, _), _)) if *at <= wake => {
                    let ((at, _), input) = self.queue.pop_first().expect("seen above");
                    self.now = self.now.max(at);
                    input
                }
                _ => {
                    self.now = wake;
                    Input::Tick
                }
            };
            fetch.handle(self.now, input, &mut outputs);
        }
        panic!("the download neither ends nor fails");
    }
}

#[test]
fn speed_decides_who_serves_what() {
    let (root, blocks) = file(120);
    let mut world = World::new(blocks, &[(A, Nature::Honest(10)), (B, Nature::Honest(40))]);
    let progress = world.run(root).unwrap();
    assert_eq!((progress.blocks, progress.total_bytes), (121, Some(120 << 20)));
    let (fast, slow) = (world.served[&A], world.served[&B]);
    assert!(fast > 2 * slow && slow > 10, "{fast} {slow}");
    // 121 blocks at 8 ms together; alone the fast one needs 1,210 ms.
    assert!(world.now - Mono(1000) < 1150, "{:?} {:?}", world.now, world.served);
    assert!(world.asked_max <= WANTS_PER_PEER_MAX * 2);
}

#[test]
fn downloads_survive_bad_peers() {
    let natures = [Nature::Empty, Nature::Silent, Nature::Wrong, Nature::Dies(5)];
    for nature in natures {
        let (root, blocks) = file(30);
        let mut world = World::new(blocks.clone(), &[(A, nature), (B, Nature::Honest(10)), (C, Nature::Honest(15))]);
        let result = world.run(root);
        assert!(result.is_ok(), "{nature:?}: {result:?}");
        assert_eq!(world.disk, blocks, "{nature:?}");
    }
}

#[test]
fn a_peer_with_wrong_bytes_is_dropped() {
    let (root, blocks) = file(60);
    let mut world = World::new(blocks, &[(A, Nature::Wrong), (B, Nature::Honest(10))]);
    world.run(root).unwrap();
    assert_eq!(world.dropped, [(A, PeerFault::WrongBlocks)]);
}

#[test]
fn a_silent_peer_is_dropped() {
    let (root, blocks) = file(700);
    let mut world = World::new(blocks, &[(A, Nature::Silent), (B, Nature::Honest(20))]);
    world.run(root).unwrap();
    assert_eq!(world.dropped, [(A, PeerFault::Silent)]);
    assert!(world.now - Mono(1000) < 700 * 20 + 1000 + WANT_DEADLINE_MS * u64::from(TIMEOUTS_MAX));
}

#[test]
fn blocks_on_disk_are_not_asked_for() {
    let (root, blocks) = file(30);
    let mut world = World::new(blocks.clone(), &[(A, Nature::Honest(10))]);
    world.disk = blocks
        .iter()
        .filter(|(cid, _)| cid.codec() == DAG_PB || cid.to_bytes()[10] % 2 == 0)
        .map(|(cid, block)| (*cid, block.clone()))
        .collect();
    let held = world.disk.len() as u64;
    let progress = world.run(root).unwrap();
    assert_eq!(world.stored, 31 - held);
    assert!(held > 5 && progress.held_bytes > 4 << 20);
    // A second run asks nobody for anything.
    let mut again = World::new(blocks.clone(), &[]);
    again.disk = blocks;
    assert_eq!(again.run(root).unwrap().blocks, 31);
}

#[test]
fn nobody_has_it() {
    let (root, _) = file(1);
    for peers in [&[][..], &[(A, Nature::Empty)], &[(A, Nature::Silent)]] {
        let result = World::new(BTreeMap::new(), peers).run(root);
        assert!(matches!(result, Err(FetchFailure::NotFound { cid, .. }) if cid == root), "{result:?}");
    }
}

#[test]
fn a_late_peer_helps() {
    let (root, blocks) = file(3);
    let mut world = World::new(blocks, &[]);
    world.peers.insert(A, (Nature::Honest(1), Mono(0), 0));
    world.later(Mono(3000), Input::PeerUp(A));
    world.run(root).unwrap();
}

/// Blocks of `links` each, one under the other, above a leaf.
fn chain(codec: u64, count: usize) -> (Cid, BTreeMap<Cid, Block>) {
    let mut below = Block::of(0x55, Bytes::from_static(b"x")).unwrap();
    let mut blocks = BTreeMap::from([(*below.cid(), below.clone())]);
    for _ in 0..count {
        let link = dagpb::Link { cid: *below.cid(), name: String::new(), total_bytes: 1 };
        let json = format!(r#"{{"below":{{"/":"{}"}}}}"#, below.cid());
        below = match codec {
            DAG_PB => {
                let node = dagpb::Node { links: vec![link], data: Bytes::new() };
                Block::of(DAG_PB, node.encode().into()).unwrap()
            }
            _ => ipld::from_dag_json(json.as_bytes(), codec).unwrap(),
        };
        blocks.insert(*below.cid(), below.clone());
    }
    (*below.cid(), blocks)
}

#[test]
fn links_of_every_codec_are_followed() {
    for codec in [DAG_PB, DAG_CBOR, crate::DAG_JSON] {
        let (root, blocks) = chain(codec, 100);
        let mut world = World::new(blocks.clone(), &[(A, Nature::Honest(1))]);
        assert_eq!(world.run(root).unwrap().blocks, 101, "codec {codec:x}");
        let mut world = World::new(blocks, &[(A, Nature::Honest(1))]);
        assert_eq!(world.run_scope(root, Scope::Block).unwrap().blocks, 1, "codec {codec:x}");
        assert_eq!(world.stored, 1);
    }
}

#[test]
fn identity_cids_are_here_already() {
    let inlined = Cid::new_v1(0x55, cid::multihash::Multihash::wrap(0, b"inlined").unwrap());
    let json = format!(r#"[{{"/":"{inlined}"}}]"#);
    let root = ipld::from_dag_json(json.as_bytes(), DAG_CBOR).unwrap();
    let mut world = World::new(BTreeMap::from([(*root.cid(), root.clone())]), &[(A, Nature::Honest(1))]);
    assert_eq!(world.run(*root.cid()).unwrap().blocks, 2);
    assert_eq!(world.stored, 1);
    assert_eq!(World::new(BTreeMap::new(), &[]).run(inlined).unwrap().bytes, 7);
}

#[test]
fn hostile_dags_end_typed() {
    let garbage = Block::of(DAG_PB, Bytes::from_static(b"\xff\xff")).unwrap();
    let root = *garbage.cid();
    let result = World::new(BTreeMap::from([(root, garbage)]), &[(A, Nature::Honest(1))]).run(root);
    assert!(matches!(result, Err(FetchFailure::BadNode { .. })), "{result:?}");
}

#[test]
fn a_full_disk_ends_it() {
    let (root, blocks) = file(3);
    let mut world = World::new(blocks, &[(A, Nature::Honest(1))]);
    world.later(Mono(1001), Input::StoreFailed("quota".to_owned()));
    assert_eq!(world.run(root), Err(FetchFailure::Store { why: "quota".to_owned() }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever peers do: it ends, and with one honest peer it ends well.
    #[test]
    fn always_ends(natures in proptest::collection::vec(any_nature(), 0..6), honest: bool, blocks in 1_usize..12) {
        let (root, blocks) = file(blocks);
        let mut peers: Vec<_> = natures.into_iter().enumerate().map(|(i, nature)| (PeerRef(i as u32), nature)).collect();
        if honest {
            peers.push((PeerRef(99), Nature::Honest(7)));
        }
        let mut world = World::new(blocks, &peers);
        let result = world.run(root);
        prop_assert!(!honest || result.is_ok(), "{:?}", result);
    }
}

fn any_nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        (1_u64..200).prop_map(Nature::Honest),
        Just(Nature::Empty),
        Just(Nature::Silent),
        Just(Nature::Wrong),
        (0_u64..9).prop_map(Nature::Dies),
    ]
}
