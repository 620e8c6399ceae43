// Judge: viem, ethers, web3.py and cast play the same on our chain and on anvil, the shapes of all answers are compared,
// and two other machines execute our blocks again.
// usage: node judge.mjs PROGRAM|URL WEB3_PYTHON EELS_PYTHON [GENESIS.json]
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { privateKeyToAccount } from "viem/accounts";
import { HERE, KEYS } from "./common.mjs";
import * as cast from "./cast.mjs";
import * as ethers from "./ethers.mjs";
import { anvil, end, folder, fund, talkoo } from "./nodes.mjs";
import * as roots from "./roots.mjs";
import * as shapes from "./shapes.mjs";
import * as viem from "./viem.mjs";
import * as x402 from "./x402.mjs";

const [ours, python, eels, given] = process.argv.slice(2);

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
  const theirs = await anvil();
  await Promise.all([fund(url), fund(theirs)]);
  for (const [name, story] of Object.entries({ viem, ethers, "web3.py": web3, cast })) {
    compare(name, ...(await Promise.all([story.play(url), story.play(theirs)])));
  }
  wrong += await shapes.compare(url, theirs);
  await x402.play(url);
  wrong += await roots.check(url, genesis, eels);
  console.log(wrong === 0 ? "all agree" : `${wrong} differences`);
} finally {
  await end();
}
process.exit(wrong === 0 ? 0 : 1);
