// Call by call: the same requests to both; same keys, same types, same kind of error.
import { privateKeyToAccount } from "viem/accounts";
import { FOREVER, KEYS, NOBODY, rpc } from "./common.mjs";

const WORD = (value) => `0x${BigInt(value).toString(16).padStart(64, "0")}`;
const TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const [ME, OTHER] = KEYS.map((key) => privateKeyToAccount(key).address);

const OLD = "we keep the state of the last block only; anvil keeps all";
const GETH = "as go-ethereum: -32000; anvil has other codes";
const RECEIPT = "anvil tells a blobGasPrice and a blockTimestamp in receipts; go-ethereum does neither";
/** Where we differ on purpose: the request, and why. Each must still differ, or it is struck off. */
const KNOWN = {
  "eth_getTransactionReceipt": RECEIPT,
  "eth_getBlockReceipts": RECEIPT,
  "net_peerCount": "anvil has no peers to count",
  "eth_getStorageAt old": OLD,
  "eth_call old": OLD,
  "eth_getBalance old": OLD,
  "eth_getBalance beyond": GETH,
  "eth_feeHistory beyond": GETH,
  "eth_feeHistory none": "as go-ethereum: no rewards are told if none were asked for",
  "eth_feeHistory null": "as go-ethereum: null is as good as left out",
  "eth_sendRawTransaction nonce": GETH,
  "eth_sendRawTransaction rlp": GETH,
  "eth_call poor": GETH,
  "eth_call invalid opcode": GETH,
  "eth_estimateGas poor": "as go-ethereum: what the account cannot pay is refused; anvil estimates it",
  "eth_getFilterChanges first": "as go-ethereum: what came since; anvil also tells what was there before",
  "debug_traceTransaction": "anvil keeps steps only if its start was told to",
  "debug_traceTransaction none": "as go-ethereum: -32000; anvil tells an empty trace",
  "debug_traceTransaction calls": "anvil also tells the index of each event",
  "debug_traceCall": "as go-ethereum: no refund is told where there is none",
  "debug_traceCall calls": "as go-ethereum: why a call was reverted is told; anvil leaves it to the reader",
  "eth_getLogs reversed": "as go-ethereum: refused; anvil answers that there are none",
};

function requests({ head, hash, block, number, token, raw, filter }) {
  const call = { to: token, data: `0x70a08231${"0".repeat(24)}${ME.slice(2)}`, from: ME };
  const revert = { from: NOBODY, to: token, data: `0xa9059cbb${"0".repeat(24)}${ME.slice(2)}${WORD(1).slice(2)}` };
  const pay = { from: ME, to: OTHER, value: "0x1" };
  const poor = { from: "0x00000000000000000000000000000000000000aa", to: OTHER, value: "0x1" };
  return [
    ["web3_clientVersion"], ["web3_sha3", "0x68656c6c6f"], ["net_version"], ["net_listening"], ["net_peerCount"],
    ["eth_chainId"], ["eth_syncing"], ["eth_blockNumber"], ["eth_gasPrice"], ["eth_maxPriorityFeePerGas"],
    ["eth_blobBaseFee"], ["eth_feeHistory", "0x4", "latest", [10, 90]], ["eth_feeHistory none", "0x4", "latest", []],
    ["eth_feeHistory null", "0x4", number, null], ["eth_feeHistory beyond", "0x1", "0xffffff", []],
    ["eth_getBalance", ME, "latest"], ["eth_getBalance", ME, "pending"], ["eth_getBalance", ME, { blockHash: head }], ["eth_getBalance old", ME, { blockHash: block }],
    ["eth_getBalance beyond", ME, "0xffffff"], ["eth_getBalance short", "0x12", "latest"],
    ["eth_getTransactionCount", ME, "latest"], ["eth_getTransactionCount", ME, "pending"],
    ["eth_getCode", token, "latest"], ["eth_getCode", ME, "safe"], ["eth_getStorageAt", token, WORD(2), "finalized"],
    ["eth_getStorageAt old", token, WORD(2), "0x1"],
    ["eth_getProof", token, [WORD(2), WORD(99)], "latest"], ["eth_getProof", NOBODY, [], "latest"],
    ["eth_call", call, "latest"], ["eth_call", call], ["eth_call old", call, "0x1"],
    ["eth_call override", call, "latest", { [token]: { code: "0x602a5f5260205ff3" } }],
    ["eth_call revert", revert, "latest"], ["eth_call poor", poor, "latest"],
    ["eth_call invalid opcode", { data: "0xfe" }, "latest"], ["eth_call panic", { data: PANIC }, "latest"],
    ["eth_call words", { data: WORDS }, "latest"],
    ["eth_estimateGas", pay], ["eth_estimateGas", pay, "latest"], ["eth_estimateGas revert", revert],
    ["eth_estimateGas poor", poor], ["eth_createAccessList", call],
    ["eth_sendRawTransaction nonce", raw], ["eth_sendRawTransaction rlp", "0x02f8"],
    ["eth_getBlockByNumber", "latest", false], ["eth_getBlockByNumber", number, true], ["eth_getBlockByNumber", "earliest", true],
    ["eth_getBlockByNumber", "0xffffff", true], ["eth_getBlockByHash", block, true], ["eth_getBlockByHash", WORD(7), false],
    ["eth_getBlockTransactionCountByNumber", number], ["eth_getBlockTransactionCountByHash", block],
    ["eth_getUncleCountByBlockNumber", number], ["eth_getUncleCountByBlockHash", block],
    ["eth_getTransactionByHash", hash], ["eth_getTransactionByHash", WORD(7)],
    ["eth_getTransactionByBlockNumberAndIndex", number, "0x0"], ["eth_getTransactionByBlockHashAndIndex", block, "0x9"],
    ["eth_getTransactionReceipt", hash], ["eth_getTransactionReceipt", WORD(7)], ["eth_getBlockReceipts", number],
    ["eth_getLogs", { fromBlock: "0x0", toBlock: "latest", address: token }], ["eth_getLogs", { blockHash: block }],
    ["eth_getLogs", { fromBlock: "0x0", topics: [TRANSFER, null, [WORD(OTHER)]] }],
    ["eth_getLogs reversed", { fromBlock: "0x2", toBlock: "0x1" }],
    ["eth_getFilterChanges first", filter], ["eth_getFilterLogs", filter], ["eth_getFilterChanges unknown", "0x77"],
    ["eth_uninstallFilter", filter], ["eth_uninstallFilter", "0x77"],
    ["eth_newBlockFilter"], ["eth_newPendingTransactionFilter"], ["txpool_status"], ["txpool_content"],
    ["eth_call whole storage", call, "latest", { [token]: { state: {} } }],
    ["debug_traceTransaction", hash], ["debug_traceTransaction none", WORD(7)],
    ["debug_traceTransaction calls", hash, { tracer: "callTracer", tracerConfig: { withLog: true } }],
    ["debug_traceCall", call, "latest", { enableMemory: true }], ["debug_traceCall calls", revert, "latest", { tracer: "callTracer" }],
    ["eth_noSuchMethod"], ["eth_getBalance nothing"], ["eth_getBlockByNumber wrong", "latest", "yes"],
  ];
}

// Code that reverts with Panic(0x11), and with Error("no such job").
const PANIC = `0x634e487b7160e01b5f5260116004526024${"5ffd"}`;
const WORDS = `0x6308c379a060e01b5f5260206004527f${"0b".padStart(64, "0")}6024527f${Buffer.from("no such job").toString("hex").padEnd(64, "0")}60445260645ffd`;

/** Fields of any length: whatever they are, they are hexadecimal. */
const ANY = new Set(["extraData", "input", "data", "r", "s"]);

/** What kind of thing a value is: keys and kinds, not the value. */
function shape(value) {
  if (Array.isArray(value)) return value.length === 0 ? "[]" : `[${[...new Set(value.map(shape))].sort().join("|")}]`;
  if (value !== null && typeof value === "object") {
    const field = (key) => `${key}: ${ANY.has(key) ? typeof value[key] : shape(value[key])}`;
    return `{${Object.keys(value).sort().map(field).join(", ")}}`;
  }
  if (typeof value !== "string") return value === null ? "null" : typeof value;
  if (/^0x([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{512}|0{16})$/.test(value)) return `hex${value.length - 2}`;
  // A number has no zeros in front; bytes come in pairs.
  if (/^0x(0|[1-9a-f][0-9a-f]*)$/.test(value)) return "quantity";
  return /^0x/.test(value) ? "bytes" : "text";
}

/** The answer's shape, or the error's code, and for a revert its words and data. */
function outcome({ error, result }) {
  if (!error) return shape(result).replaceAll("bytes", "quantity");
  // Of an error that it does not know, anvil tells the arguments too, as text.
  const words = error.message.replace(/(custom error 0x[0-9a-f]{8}).*/s, "$1");
  return `error ${error.code}${error.code === 3 ? ` ${words} ${error.data}` : ""}`;
}

/** Finds what the requests name: a transaction with a log, its block, a token, a filter. */
async function scene(url) {
  const { result } = await rpc(url, "eth_getLogs", { fromBlock: "0x0", topics: [TRANSFER, WORD(ME), WORD(OTHER)] });
  const { transactionHash: hash, blockHash: block, blockNumber: number, address: token } = result[0];
  const fees = { gas: 21_000n, maxFeePerGas: FOREVER, maxPriorityFeePerGas: 0n, type: "eip1559", chainId: 825_566 };
  const raw = await privateKeyToAccount(KEYS[0]).signTransaction({ ...fees, nonce: 0, to: OTHER, value: 2n });
  const head = (await rpc(url, "eth_getBlockByNumber", "latest", false)).result.hash;
  const filter = (await rpc(url, "eth_newFilter", { fromBlock: "0x0", address: token })).result;
  return requests({ head, hash, block, number, token, raw, filter });
}

export async function compare(ours, theirs) {
  const [left, right] = [await scene(ours), await scene(theirs)];
  let [wrong, known] = [0, new Set()];
  for (const [n, [name, ...params]] of left.entries()) {
    const method = name.split(" ")[0];
    const a = outcome(await rpc(ours, method, ...params));
    const b = outcome(await rpc(theirs, method, ...right[n].slice(1)));
    if (a === b) continue;
    if (KNOWN[name]) {
      known.add(name);
      continue;
    }
    wrong += 1;
    console.log(`${name} ${JSON.stringify(params).slice(0, 120)}\n  ours  ${a}\n  anvil ${b}`);
  }
  for (const name of Object.keys(KNOWN).filter((entry) => !known.has(entry))) {
    wrong += 1;
    console.log(`${name} no longer differs: strike it off the list of exceptions`);
  }
  console.log(`\n${left.length} requests: ${left.length - wrong - known.size} have the same shape on both, ${wrong} differ; known:`);
  for (const name of known) console.log(`  ${name}: ${KNOWN[name]}`);
  return wrong;
}
