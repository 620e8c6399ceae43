//! All judges.

use super::{
    Outcome, cids, dashboard, eip712, ethereum, families, gateway, inference, installs, ipfs, kubo_dht, lies, mcp,
    outside, processes, script, tokens, vocabularies, x402, x402pay,
};

/// Somebody who judges.
pub(super) struct Judge {
    /// What `cargo xtask judge NAME` calls it.
    pub(super) name: &'static str,
    /// What it finds good.
    pub(super) what: &'static str,
    /// Whether CI runs it each time.
    pub(super) quick: bool,
    pub(super) run: fn() -> Outcome,
}

const NATIVE: &str = "xtask/judges/native.py";
/// All of them.
pub(super) const JUDGES: &[Judge] = &[
    Judge {
        name: "openapi",
        what: "schemathesis 4.32 finds no answer of the native API that its description does not say; openapi-spec-validator reads it; the TypeScript client works",
        quick: false,
        run: || installs(NATIVE, "openapi"),
    },
    Judge {
        name: "eip712",
        what: "ethers 6.17 recomputes our digests and recovers our signatures",
        quick: true,
        run: eip712,
    },
    Judge {
        name: "x402",
        what: "the client and the facilitator of @x402/evm 2.27 pay a worker through our contracts, on anvil 1.7",
        quick: true,
        run: x402,
    },
    Judge {
        name: "x402pay",
        what: "@x402/fetch 2.27 and Python's x402 2.25, without key or account, buy a node's answers on anvil, to the last unit, also over a kill",
        quick: false,
        run: x402pay,
    },
    Judge {
        name: "lies",
        what: "the demo: every lie of a worker is caught, and nobody is accused without one",
        quick: false,
        run: lies,
    },
    Judge {
        name: "ethereum",
        what: "viem, ethers, web3.py, cast get the same from a node and from anvil; x402 pays there; @ethereumjs/vm and Ethereum's specification get its roots",
        quick: false,
        run: ethereum,
    },
    Judge {
        name: "outside",
        what: "deploy, order, pay, claim and take back on anvil 1.7 instead of a chain of ours, to the last unit",
        quick: true,
        run: outside,
    },
    Judge {
        name: "validators",
        what: "four validators and a follower as processes: kill -9, partition, full disk, one joins by stake, one votes twice",
        quick: false,
        run: || processes("validators.py"),
    },
    Judge {
        name: "deals",
        what: "a client and four providers as processes: one killed for ever, one without its blocks, a replica mended, the object back, money to the last unit",
        quick: true,
        run: || processes("deals.py"),
    },
    Judge {
        name: "data",
        what: "sealed data sold from node to node as processes: paid, delivered, read, used up, revoked, refunded, inherited, kill -9 of either side",
        quick: false,
        run: || processes("data.py"),
    },
    Judge {
        name: "keepers",
        what: "data sold while its owner is dead, as processes: two of three keepers, one killed, one lying; refunds and income to the last unit",
        quick: false,
        run: || processes("keepers.py"),
    },
    Judge {
        name: "cids",
        what: "ipfs-unixfs-importer 17.1 gives our CIDs of files, folders and symlinks by both profiles of IPIP-499; @ipld/car and ipfs-unixfs-exporter read our CARs",
        quick: false,
        run: cids,
    },
    Judge {
        name: "kubo-rpc",
        what: "kubo-rpc-client 7.1 adds, reads, pins, imports and exports at a node's /api/v0, and gets js's CIDs",
        quick: false,
        run: || gateway("kubo-rpc"),
    },
    Judge {
        name: "verified-fetch",
        what: "@helia/verified-fetch 8.0 and @ipld/car check every block that a node's gateway gives",
        quick: false,
        run: || gateway("verified-fetch"),
    },
    Judge {
        name: "hub",
        what: "huggingface_hub 1.33 and datasets treat a node as a hub: upload, download, resume, revisions",
        quick: false,
        run: || gateway("hub"),
    },
    Judge {
        name: "pins",
        what: "schemathesis 4.32 finds no fault in a node's Pinning Service API",
        quick: false,
        run: || gateway("pins"),
    },
    Judge {
        name: "comply",
        what: "llm-comply 0.5 (chat, Open Responses, Anthropic) and compatcanary 0.2 find a node's inference API as it has to be",
        quick: false,
        run: || inference("comply"),
    },
    Judge {
        name: "clients",
        what: "openai 2 and 3, anthropic, ollama, litellm, instructor, LangChain, LlamaIndex, openai-agents, openai-node, the AI SDK and our own client work with a node",
        quick: false,
        run: || inference("clients"),
    },
    Judge {
        name: "evals",
        what: "lm-eval 0.4.13 gets over HTTP, letter for letter, the answers of the engine by itself, and so its score",
        quick: false,
        run: || inference("evals"),
    },
    Judge {
        name: "market",
        what: "answers bought through /v1 on a network: the text of at home though the worker is killed in the middle, paid, within a key's budget",
        quick: false,
        run: || processes("inference/market.py"),
    },
    Judge {
        name: "embeddings",
        what: "vectors bought through /v1 on a network: the numbers of at home, to the last bit, over two workers, one killed in the middle of a batch; receipts hold and re-run",
        quick: false,
        run: || processes("inference/embeddings.py"),
    },
    Judge { name: "mcp", what: "MCP's own suite and Python client, on a node", quick: false, run: mcp::run },
    Judge {
        name: "audit",
        what: "a bundle of bought answers is checked without its node and a network: paid, from the genesis on; whatever was changed is refused",
        quick: false,
        run: || processes("audit.py"),
    },
    Judge { name: "newcomers", what: "five who know only the README", quick: false, run: || processes("newcomers.py") },
    Judge {
        name: "dashboard",
        what: "TypeScript finds no wrong type in the dashboard; Chromium shows every page of it, light and dark; axe-core 4.14, the console, the keyboard and 300 kB hold, a chat is answered here and bought",
        quick: false,
        run: dashboard,
    },
    Judge {
        name: "nat",
        what: "nodes behind routers of two kinds meet by a relay, punch holes, and say why if they cannot (network namespaces)",
        quick: false,
        run: || processes("netlab/judge.py"),
    },
    Judge {
        name: "vectors",
        what: "a second implementation of docs/EXACT.md, in Python, gives all of docs/vectors.jsonl",
        quick: true,
        run: || script("python3", &[], &["xtask/judges/vectors.py"]),
    },
    Judge {
        name: "kubo",
        what: "kubo 0.22 exchanges files and a sharded directory with us, both ways, and again after coming back empty",
        quick: false,
        run: || ipfs("kubo"),
    },
    Judge {
        name: "kubo-dht",
        what: "kubo 0.22 as the DHT: nodes that know only it find one another's files, and its own",
        quick: false,
        run: kubo_dht,
    },
    Judge { name: "helia", what: "Helia 7.1.15 does the same", quick: false, run: || ipfs("helia") },
    Judge {
        name: "tokenizer",
        what: "the `tokenizers` package gives our token ids on 10,000 lines",
        quick: false,
        run: || tokens("xtask/judges/tokenizer.py"),
    },
    Judge {
        name: "wordpiece",
        what: "the `tokenizers` package gives our token ids of all-MiniLM-L6-v2 on 10,000 lines",
        quick: false,
        run: || tokens("xtask/judges/wordpiece.py"),
    },
    Judge {
        name: "families",
        what: "llama.cpp gives our logits, up to rounding, on a made-up model of every family",
        quick: false,
        run: families,
    },
    Judge {
        name: "vocabularies",
        what: "llama.cpp's own test texts give its token ids, with byte-level BPE and SentencePiece",
        quick: false,
        run: vocabularies,
    },
];
