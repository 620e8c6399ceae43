// @ethereumjs/vm and Ethereum's own specification execute our blocks again, from our genesis: state, receipts, bloom and gas
// must be ours. The second makes the genesis by itself as well (eels.py).
//
// Our genesis has no contracts of the beacon chain (EIP-4788, 2935, 7002, 7251): where there is no code, their system calls do
// nothing and find no requests. @ethereumjs/vm throws there instead, so Prague is spelled out for it without them: Cancun
// and EIP-2537 (curve), 7623 (price of data), 7685 (requests, empty) and 7702 (delegations).
import { createBlockFromRPC } from "@ethereumjs/block";
import { Common, Hardfork, Mainnet } from "@ethereumjs/common";
import { MerklePatriciaTrie } from "@ethereumjs/mpt";
import { MerkleStateManager } from "@ethereumjs/statemanager";
import { bytesToHex, hexToBytes } from "@ethereumjs/util";
import { createVM, runBlock } from "@ethereumjs/vm";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keccak256 } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { CHAIN_ID, HERE, KEYS, NOBODY, rpc } from "./common.mjs";

const BLOCKS_MIN = 20;
const BURST = 90;
/** Creation code that logs, stores and leaves a contract of one byte: log1(0, 0, 1) sstore(2, 3) mstore8(0, 0) return(0, 1). */
const LOGGER = "0x60015f5fa16003600255" + "5f5f5360015ff3";
/** Before the hash of a code, in the database of @ethereumjs/statemanager. */
const CODE_PREFIX = "63";

/** What our genesis is made of, and what comes of it. */
function described(path) {
  const cargo = ["run", "--quiet", "-p", "talkoo-ledger", "--example", "genesis_nodes", "--", path];
  return execFileSync("cargo", cargo, { encoding: "utf8", maxBuffer: 1 << 28 });
}

/** The state of our genesis in another program's tries. */
async function genesis({ root, hash, nodes, codes }, common) {
  const trie = new MerklePatriciaTrie({ useKeyHashing: true, common });
  const put = (key, value) => trie.database().put(hexToBytes(key), hexToBytes(value));
  for (const node of nodes) await put(keccak256(node), node);
  for (const code of codes) await put(`0x${CODE_PREFIX}${keccak256(code).slice(2)}`, code);
  const stateManager = new MerkleStateManager({ trie, common });
  await stateManager.setStateRoot(hexToBytes(root));
  return { stateManager, hash };
}

/** Many transactions at once, so that blocks hold several: payments, new contracts, data, and some that fail. */
async function burst(url) {
  const account = privateKeyToAccount(KEYS[4]);
  const fees = { chainId: CHAIN_ID, gas: 120_000n, maxFeePerGas: 10n ** 10n };
  const kinds = [
    { type: "eip1559", to: NOBODY, value: 1n, maxPriorityFeePerGas: 2n },
    { type: "eip1559", data: LOGGER, maxPriorityFeePerGas: 5n },
    { type: "eip1559", data: "0xfe", maxPriorityFeePerGas: 0n },
    // Paid by its data (EIP-7623), not by what it does.
    { type: "eip1559", to: NOBODY, data: `0x${"ff".repeat(500)}`, maxPriorityFeePerGas: 1n },
  ];
  const raws = await Promise.all(
    Array.from({ length: BURST }, (_, nonce) => account.signTransaction({ ...fees, ...kinds[nonce % kinds.length], nonce })),
  );
  const body = raws.map((raw, id) => ({ jsonrpc: "2.0", id, method: "eth_sendRawTransaction", params: [raw] }));
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  const hash = (await answer.json()).at(-1).result;
  while ((await rpc(url, "eth_getTransactionReceipt", hash)).result === null);
}

/** Ethereum's specification, in Python. */
function specified(url, text, python) {
  const folder = mkdtempSync(join(tmpdir(), "judge-eels-"));
  try {
    writeFileSync(join(folder, "genesis.json"), text);
    execFileSync(python, [join(HERE, "eels.py"), url, join(folder, "genesis.json")], { stdio: "inherit" });
    return 0;
  } catch (why) {
    console.log(`ethereum-execution: ${why.message}`);
    return 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function check(url, path, python) {
  await burst(url);
  const text = described(path);
  const eips = [2537, 7623, 7685, 7702];
  const common = new Common({ chain: { ...Mainnet, chainId: CHAIN_ID }, hardfork: Hardfork.Cancun, eips });
  const block = async (number) =>
    createBlockFromRPC((await rpc(url, "eth_getBlockByNumber", `0x${number.toString(16)}`, true)).result, [], { common });
  const { stateManager, hash } = await genesis(JSON.parse(text), common);
  const last = Number((await rpc(url, "eth_blockNumber")).result);
  const blocks = new Map();
  const blockchain = { getBlock: async (id) => blocks.get(id), putBlock: async () => {}, shallowCopy: () => blockchain };
  const vm = await createVM({ common, stateManager, blockchain });
  let parent = await block(0);
  let [wrong, transactions, kinds] = [bytesToHex(parent.hash()) === hash ? 0 : 1, 0, new Set()];
  for (let number = 1; number <= last; number += 1) {
    const next = await block(number);
    const chained = bytesToHex(next.header.parentHash) === bytesToHex(parent.hash());
    // Compares gas, bloom, root of receipts and root of the state with the header's.
    const done = await runBlock(vm, { block: next, root: parent.header.stateRoot, skipHeaderValidation: true }).catch((e) => e);
    if (done instanceof Error || !chained) {
      wrong += 1;
      console.log(`block ${number}: ${chained ? done.message : "its parent is another"}`);
      break;
    }
    for (const [n, transaction] of next.transactions.entries()) {
      kinds.add(`type ${transaction.type}${done.receipts[n].status === 1 ? "" : " failed"}`);
      transactions += 1;
    }
    parent = next;
  }
  if (last < BLOCKS_MIN) wrong += 1;
  const seen = `${last} blocks, ${transactions} transactions (${[...kinds].sort().join(", ")})`;
  console.log(`\n@ethereumjs/vm: ${seen}: ${wrong === 0 ? "same gas, blooms and roots" : `${wrong} wrong`}`);
  return wrong + specified(url, text, python);
}
