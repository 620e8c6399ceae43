// What the stories of all clients share: keys, contracts, and a line for each step.
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.resolve(HERE, "../../..");
export const CHAIN_ID = 825_566;
export const NOBODY = "0x0000000000000000000000000000000000000000";
/** The keys that anvil gives gas to; our chain's founder is the first. One for each client, so that no nonce is shared. */
export const KEYS = [
  "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
  "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
  "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
  "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
  "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
];
export const artifact = (name) => JSON.parse(readFileSync(path.join(ROOT, `contracts/artifacts/${name}.json`), "utf8"));
export const TOKEN = ["Talkoo", "TALKOO", NOBODY];
export const SUPPLY = 10n ** 12n;
export const FOREVER = 2n ** 40n;
export const PERMIT = ["owner address", "spender address", "value uint256", "nonce uint256", "deadline uint256"];
/** Fields of a struct for EIP-712, from "name type" words. */
export const fields = (words) => words.map((word) => ({ name: word.split(" ")[0], type: word.split(" ")[1] }));

/** Raw JSON-RPC: the answer as it is. */
export async function rpc(url, method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  return answer.json();
}

/** The steps of a story: what came of each, and the gas it took. */
export class Story {
  steps = [];
  note(step, result, gas) {
    const plain = JSON.stringify(result, (_, value) => (typeof value === "bigint" ? value.toString() : value));
    this.steps.push({ step, result: plain, gas: gas === undefined ? "" : gas.toString() });
  }
}
