// Judge: viem, ethers, web3.py and cast play the same on our chain and on anvil, the shapes of all answers are compared,
// and another machine executes our blocks again.
// usage: node judge.mjs PROGRAM|URL PYTHON [GENESIS.json]
import { spawn, execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { privateKeyToAccount } from "viem/accounts";
import { CHAIN_ID, HERE, KEYS, rpc } from "./common.mjs";
import * as cast from "./cast.mjs";
import * as ethers from "./ethers.mjs";
import * as roots from "./roots.mjs";
import * as shapes from "./shapes.mjs";
import * as viem from "./viem.mjs";
import * as x402 from "./x402.mjs";

const [ours, python, given] = process.argv.slice(2);
const folder = mkdtempSync(path.join(tmpdir(), "judge-ethereum-"));
const children = [];

/** Starts a program and waits until it says where it listens. */
async function start(program, args, says) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`${program} ended`)));
  let said = "";
  while (!says.test(said)) said += (await Promise.race([once(child.stdout, "data"), ended]))[0];
  ended.catch(() => {});
  child.stdout.resume();
  return says.exec(said)[1];
}

async function talkoo(program) {
  // The owner of the node is the founder of its chain: the key that anvil's first account has.
  writeFileSync(path.join(folder, "owner.key"), Buffer.from(KEYS[0].slice(2), "hex"), { mode: 0o600 });
  const ports = ["--api", "127.0.0.1:0", "--ledger-rpc", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
  return start(program, ["--data-dir", folder, "-o", "json", "up", "--ledger", "own", ...ports], /"ledger":\s*"([^"]+)"/);
}

/** Gives the other accounts gas, the same on both chains. */
async function fund(url) {
  const founder = privateKeyToAccount(KEYS[0]);
  const common = { chainId: CHAIN_ID, gas: 21_000n, value: 10n ** 20n, type: "eip1559" };
  const fees = { maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n };
  for (const [nonce, key] of KEYS.slice(1).entries()) {
    const to = privateKeyToAccount(key).address;
    const { error, result } = await rpc(url, "eth_sendRawTransaction", await founder.signTransaction({ ...common, ...fees, nonce, to }));
    if (error) throw new Error(error.message);
    while ((await rpc(url, "eth_getTransactionReceipt", result)).result === null);
  }
}

const web3 = {
  async play(url) {
    const args = [path.join(HERE, "web3_story.py"), url, KEYS[2], privateKeyToAccount(KEYS[1]).address];
    return JSON.parse((await promisify(execFile)(python, args)).stdout);
  },
};

let wrong = 0;
function compare(name, left, right) {
  const cut = (text) => (text.length > 60 ? `${text.slice(0, 57)}...` : text);
  console.log(`\n${name.padEnd(34)} ${"gas, ours".padStart(10)} ${"anvil".padStart(10)}  result`);
  for (let n = 0; n < Math.max(left.length, right.length); n += 1) {
    const [a, b] = [left[n] ?? {}, right[n] ?? {}];
    const same = a.step === b.step && a.gas === b.gas && a.result === b.result;
    wrong += same ? 0 : 1;
    const verdict = same ? cut(a.result) : `DIFFERS\n  ours  ${a.result}\n  anvil ${b.result}`;
    console.log(`${(a.step ?? b.step).padEnd(34)} ${String(a.gas).padStart(10)} ${String(b.gas).padStart(10)}  ${verdict}`);
  }
}

try {
  const url = ours.startsWith("http") ? ours : await talkoo(ours);
  const genesis = given ?? path.join(folder, "chain", "genesis.json");
  const anvil = path.join(HERE, "node_modules/.bin/anvil");
  const options = ["--port", "0", "--chain-id", `${CHAIN_ID}`, "--hardfork", "prague"];
  const theirs = `http://${await start(anvil, options, /Listening on (\S+)/)}`;
  await Promise.all([fund(url), fund(theirs)]);
  for (const [name, story] of Object.entries({ viem, ethers, "web3.py": web3, cast })) {
    compare(name, ...(await Promise.all([story.play(url), story.play(theirs)])));
  }
  wrong += await shapes.compare(url, theirs);
  await x402.play(url);
  wrong += await roots.check(url, genesis);
  console.log(wrong === 0 ? "all agree" : `${wrong} differences`);
} finally {
  for (const child of children) {
    child.kill();
    if (child.exitCode === null) await once(child, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
}
process.exit(wrong === 0 ? 0 : 1);
