// A node of ours and anvil, as children; both begin with the same accounts.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { privateKeyToAccount } from "viem/accounts";
import { CHAIN_ID, HERE, KEYS, rpc } from "./common.mjs";

/** Where our node has its files. */
export const folder = mkdtempSync(path.join(tmpdir(), "judge-ethereum-"));
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

/** Our node; the URL of its RPC. */
export async function talkoo(program) {
  // The owner of the node is the founder of its chain: the key that anvil's first account has.
  writeFileSync(path.join(folder, "owner.key"), Buffer.from(KEYS[0].slice(2), "hex"), { mode: 0o600 });
  const ports = ["--api", "127.0.0.1:0", "--ledger-rpc", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
  return start(program, ["--data-dir", folder, "-o", "json", "up", "--ledger", "own", ...ports], /"ledger":\s*"([^"]+)"/);
}

/** Anvil, by the same rules. */
export async function anvil() {
  const options = ["--port", "0", "--chain-id", `${CHAIN_ID}`, "--hardfork", "prague"];
  return `http://${await start(path.join(HERE, "node_modules/.bin/anvil"), options, /Listening on (\S+)/)}`;
}

/** Gives the other accounts gas, the same on both chains. */
export async function fund(url) {
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

/** Ends both. */
export async function end() {
  for (const child of children) {
    child.kill();
    if (child.exitCode === null) await once(child, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
}
