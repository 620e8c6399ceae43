// cast plays: what people type.
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { HERE, KEYS, NOBODY, SUPPLY, Story, artifact } from "./common.mjs";

const CAST = path.join(HERE, "node_modules/.bin/cast");

export async function play(url) {
  const story = new Story();
  const run = async (name, ...args) =>
    (await promisify(execFile)(CAST, [name, "--rpc-url", url, ...args])).stdout.trim();
  const me = (await promisify(execFile)(CAST, ["wallet", "address", "--private-key", KEYS[3]])).stdout.trim();
  const send = async (step, ...args) => {
    const receipt = JSON.parse(await run("send", "--json", "--private-key", KEYS[3], ...args));
    story.note(step, [receipt.status, receipt.type, receipt.logs.map((log) => log.topics)], BigInt(receipt.gasUsed));
    return receipt;
  };
  const constructor = ["constructor(string,string,address,address,uint256)", "Talkoo", "TALKOO", NOBODY, me, `${SUPPLY}`];
  const { contractAddress: token } = await send("deploy", "--create", artifact("TalkooToken").bytecode, ...constructor);
  story.note("address", token.toLowerCase());
  await send("transfer", token, "transfer(address,uint256)", NOBODY.replace(/0$/, "9"), "123");
  story.note("call", await run("call", token, "balanceOf(address)(uint256)", me));
  story.note("storage", await run("storage", token, "2"));
  story.note("logs", JSON.parse(await run("logs", "--json", "--from-block", "0", "--address", token)).length);
  story.note("estimate", Math.abs(Number(await run("estimate", me, "--value", "1", "--from", me)) - 21_000) < 400);
  story.note("nonce", await run("nonce", me));
  const proof = JSON.parse(await run("proof", token, "0x0000000000000000000000000000000000000000000000000000000000000002"));
  story.note("proof", [proof.storageProof[0].value, proof.storageHash]);
  const why = await run("call", token, "transfer(address,uint256)", me, "1", "--from", NOBODY).catch((e) => e.stderr);
  story.note("revert", /execution reverted: custom error 0x[0-9a-f]{8}/.exec(why)?.[0]);
  return story.steps;
}
