// Bench: eth_call at a fixed rate, and transfers until all have receipts, on our chain and on anvil in turns.
// usage: node bench.mjs PROGRAM
import { once } from "node:events";
import http from "node:http";
import { cpus, loadavg } from "node:os";
import { privateKeyToAccount } from "viem/accounts";
import { encodeDeployData, encodeFunctionData } from "viem";
import { CHAIN_ID, KEYS, artifact, rpc } from "./common.mjs";
import { anvil, end, fund, talkoo } from "./nodes.mjs";

const TURNS = 3;
const CALLS_PER_S = 500;
const CALL_S = 5;
/** Transfers of a turn, from all accounts but the first. */
const TRANSFERS = 1_000;
const SENDERS = KEYS.slice(1);
/** Requests that are on their way at once. */
const AT_ONCE = 32;

/** A client that keeps its connections. */
function client(url) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const { hostname, port } = new URL(url);
  return async (method, params) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const request = http.request({ agent, hostname, port, method: "POST", path: "/", headers });
    request.end(body);
    const [response] = await once(request, "response");
    const chunks = [];
    for await (const chunk of response) chunks.push(chunk);
    const { error, result } = JSON.parse(Buffer.concat(chunks));
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
}

/** A token of ours, the same on both; its address. */
async function token(url) {
  const { abi, bytecode } = artifact("TestCredit");
  const account = privateKeyToAccount(KEYS[0]);
  const nonce = Number((await rpc(url, "eth_getTransactionCount", account.address, "latest")).result);
  const data = encodeDeployData({ abi, bytecode, args: [account.address, []] });
  const fees = { chainId: CHAIN_ID, gas: 8_000_000n, maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n, type: "eip1559" };
  const { error, result } = await rpc(url, "eth_sendRawTransaction", await account.signTransaction({ ...fees, nonce, data }));
  if (error) throw new Error(error.message);
  for (;;) {
    const receipt = (await rpc(url, "eth_getTransactionReceipt", result)).result;
    if (receipt) return { to: receipt.contractAddress, data: encodeFunctionData({ abi, functionName: "balanceOf", args: [account.address] }) };
  }
}

/** Milliseconds of every call, from the moment at which it was due. */
async function calls(ask, call) {
  const due = (n) => start + (n * 1_000) / CALLS_PER_S;
  const [start, waiting, times] = [performance.now(), [], []];
  for (let n = 0; n < CALLS_PER_S * CALL_S; n += 1) {
    while (performance.now() < due(n)) await new Promise(setImmediate);
    waiting.push(ask("eth_call", [call, "latest"]).then(() => times.push(performance.now() - due(n))));
  }
  await Promise.all(waiting);
  return times;
}

/** Does something with each of a list, so many at once. */
async function each(list, work) {
  const left = list.values();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const one of left) await work(one);
  }));
}

/** Transfers a second, from the first that is sent to the last receipt. */
async function transfers(ask, raws) {
  const start = performance.now();
  const hashes = [];
  await each(raws, async (raw) => hashes.push(await ask("eth_sendRawTransaction", [raw])));
  await each(hashes, async (hash) => {
    while ((await ask("eth_getTransactionReceipt", [hash])) === null);
  });
  return (raws.length * 1_000) / (performance.now() - start);
}

/** What is sent in a turn; each sender's in the order of their nonces. */
async function signed(turn) {
  const fees = { chainId: CHAIN_ID, gas: 21_000n, maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n, type: "eip1559" };
  const count = TRANSFERS / SENDERS.length;
  const raws = [];
  for (let n = 0; n < count; n += 1) {
    for (const key of SENDERS) {
      const nonce = turn * count + n;
      raws.push(await privateKeyToAccount(key).signTransaction({ ...fees, nonce, to: `0x${"77".repeat(20)}`, value: 1n }));
    }
  }
  return raws;
}

const sorted = (list) => list.toSorted((a, b) => a - b);
const at = (list, share) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * share))];

try {
  const urls = [await talkoo(process.argv[2]), await anvil()];
  await Promise.all(urls.map(fund));
  const sides = [];
  for (const url of urls) sides.push({ ask: client(url), call: await token(url), times: [], rates: [] });
  console.log(`${cpus().length} cores, load ${loadavg()[0].toFixed(1)} before; ${TURNS} turns each, one after another`);
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const side of sides) side.times.push(...(await calls(side.ask, side.call)));
    const raws = await signed(turn);
    for (const side of sides) side.rates.push(await transfers(side.ask, raws));
  }
  const [ours, theirs] = sides;
  console.log(`${"".padEnd(34)} ${"ours".padStart(10)} ${"anvil".padStart(10)} ${"ours/anvil".padStart(11)}`);
  const row = (name, a, b) => console.log(`${name.padEnd(34)} ${a.toFixed(2).padStart(10)} ${b.toFixed(2).padStart(10)} ${(a / b).toFixed(2).padStart(11)}`);
  row(`eth_call p50 ms at ${CALLS_PER_S}/s`, at(ours.times, 0.5), at(theirs.times, 0.5));
  row(`eth_call p99 ms at ${CALLS_PER_S}/s`, at(ours.times, 0.99), at(theirs.times, 0.99));
  row("transfers/s, median of turns", at(ours.rates, 0.5), at(theirs.rates, 0.5));
  console.log(`transfers/s of the turns: ours ${ours.rates.map(Math.round)}, anvil ${theirs.rates.map(Math.round)}`);
} finally {
  await end();
}
