// Judge: clients with a wallet and nothing else, @x402/fetch and Python's x402, buy answers of a real node, on anvil.
// usage: node x402pay.mjs TALKOO FOLDER_WITH_NODE_MODULES PYTHON_WITH_X402|-
import { createRequire } from "node:module";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import assert from "node:assert/strict";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

const [talkoo, modules, python] = process.argv.slice(2);
const folder = path.resolve(modules);
const require = createRequire(path.join(folder, "package.json"));
const { createPublicClient, createWalletClient, defineChain, http } = require("viem");
const { generatePrivateKey, privateKeyToAccount } = require("viem/accounts");
const { wrapFetchWithPayment, x402Client, decodePaymentResponseHeader } = require("@x402/fetch");
const { ExactEvmScheme } = require("@x402/evm/exact/client");

const root = mkdtempSync(path.join(os.tmpdir(), "talkoo-x402-"));
// The first account of every anvil: its key is public, and worth nothing.
const KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const [INPUT, OUTPUT, CREDIT] = [100n, 400n, 50_000_000n];
const RECEIPT_MS = 30_000;
const processes = [];

// Port 0: the system picks one, and anvil says which; into a file, for a pipe that nobody reads would stop it.
const chatter = `${root}/anvil.log`;
const stdio = ["ignore", openSync(chatter, "w"), "inherit"];
processes.push(spawn(path.join(folder, "node_modules/.bin/anvil"), ["--port", "0", "--block-time", "1"], { stdio }));
const listening = await until("there: anvil", async () => readFileSync(chatter, "utf8").match(/Listening on (\S+)/));
const rpc = `http://${listening[1]}`;
const currency = { name: "gas", symbol: "GAS", decimals: 18 };
const chain = defineChain({ id: 31_337, name: "judge", nativeCurrency: currency, rpcUrls: { default: { http: [rpc] } } });
const node = createPublicClient({ chain, transport: http(), pollingInterval: 100 });
const deployer = createWalletClient({ account: privateKeyToAccount(`0x${KEY}`), chain, transport: http() });
const abi = JSON.parse(readFileSync("contracts/artifacts/TalkooToken.json", "utf8")).abi;
const money = (token, who) => node.readContract({ address: token, abi, functionName: "balanceOf", args: [who] });

async function mined(hash) {
  const { status } = await node.waitForTransactionReceipt({ hash, timeout: RECEIPT_MS });
  assert.equal(status, "success");
}

async function until(what, holds, seconds = 120) {
  for (const begin = Date.now(); Date.now() < begin + seconds * 1000; ) {
    const found = await holds().catch(() => null);
    if (found) return found;
    await new Promise((wake) => setTimeout(wake, 200));
  }
  throw new Error(`not ${what} after ${seconds} s; logs in ${root}`);
}

const own = (...words) => JSON.parse(execFileSync(talkoo, ["--data-dir", `${root}/seller`, "-o", "json", ...words], { encoding: "utf8" }));

async function up(ledger, ...listen) {
  const log = openSync(`${root}/seller.log`, "a");
  const words = ["--data-dir", `${root}/seller`, "-o", "json", "up", "--network", "judge", ...listen, "--ledger", ledger, "--pull",
    "smollm2", "--threads", "1", "--x402", "--x402-price", "400", "--x402-least", "0"];
  const child = spawn(talkoo, words, { stdio: ["ignore", "pipe", log] });
  processes.push(child);
  const lines = readline.createInterface({ input: child.stdout });
  const [line] = await Promise.race([once(lines, "line"), once(child, "exit")]);
  const port = JSON.parse(line).api.split(":").at(-1);
  const outside = Object.values(os.networkInterfaces()).flat().find((one) => one.family === "IPv4" && !one.internal)?.address;
  return { child, url: `http://${(listen[1].startsWith("0.0.0.0") && outside) || "127.0.0.1"}:${port}` };
}

const json = (body, headers = {}) => ({ method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64");
const header = (response, name) => JSON.parse(Buffer.from(response.headers.get(name), "base64").toString());
const chat = (text, more = {}) => ({ model: "smollm2", messages: [{ role: "user", content: text }], max_tokens: 16, ...more });
const textOf = async (response) => {
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: {"));
  const events = lines.map((line) => JSON.parse(line.slice(6)));
  return { text: events.map((event) => event.choices?.[0]?.delta.content ?? "").join(""), events };
};

async function main() {
  writeFileSync(`${root}/deployer.key`, KEY);
  const { ledger, contracts } = JSON.parse(execFileSync(talkoo, ["-o", "json", "ledger", "deploy", "--rpc", rpc, "--key", `${root}/deployer.key`], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const refused = spawnSync(talkoo, ["--data-dir", `${root}/nobody`, "up", "--ledger", "own", "--x402"], { encoding: "utf8", timeout: 60_000 });
  assert.ok(refused.status === 2 && refused.stderr.includes("ledger deploy"), `test credit was sold for: ${refused.stderr}`);

  let seller = await up(ledger, "--api", "127.0.0.1:0");
  const { owner, address } = own("status");
  await mined(await deployer.sendTransaction({ to: address, value: 10n ** 18n }));
  const secret = generatePrivateKey();
  const [buyer, poor] = [privateKeyToAccount(secret), privateKeyToAccount(generatePrivateKey())];
  const transfer = { address: contracts.token, abi, functionName: "transfer" };
  await mined(await deployer.writeContract({ ...transfer, args: [buyer.address, CREDIT] }));
  await until("the model is there", async () => (await (await fetch(`${seller.url}/v1/models`)).json()).data.some((model) => model.id.startsWith("smollm2")));

  // What cannot be answered is refused before anybody pays; what is not sold stays closed.
  const free = [
    ["/v1/chat/completions", chat("x", { model: "nobody" }), 404], ["/v1/chat/completions", chat("x", { temperature: "hot" }), 400],
    ["/v1/chat/completions", chat("word ".repeat(9000)), 400], ["/v1/chat/completions", chat("x", { service_tier: "flex" }), 400],
    ["/v1/chat/completions", chat("x", { n: 9 }), 413], ["/v1/responses", { model: "smollm2", input: "x", background: true }, 400],
    ["/v1/chat/completions", chat("x".repeat(1 << 20)), 413], ["/v1/embeddings", { model: "minilm", input: "x" }, 401],
    ["/v1/batches", {}, 401], ["/api/chat", chat("x"), 401], ["/mcp", {}, 401], ["/api/v1/jobs", {}, 401],
  ];
  for (const [where, body, status] of free) {
    const no = await fetch(seller.url + where, json(body));
    assert.deepEqual([where, no.status, no.headers.get("payment-required")], [where, status, null]);
  }
  assert.equal((await fetch(`${seller.url}/v1/chat/completions`, json(chat("x"), { authorization: "Bearer sk-talkoo-no" }))).status, 401);

  const client = (account) => {
    const one = new x402Client().register("eip155:*", new ExactEvmScheme(account));
    one.setSpendControls({ allowedAssets: [{ network: "eip155:31337", asset: contracts.token }] });
    return one;
  };
  const buy = wrapFetchWithPayment(fetch, client(buyer));
  let spent = 0n;
  const books = async (price) => {
    spent += price;
    assert.deepEqual([await money(contracts.token, owner), await money(contracts.token, buyer.address)], [spent, CREDIT - spent]);
  };

  // The price is told, and is what is paid, to the last unit.
  const question = chat("What is the capital of Finland?");
  const asked = await fetch(`${seller.url}/v1/chat/completions`, json(question));
  const required = header(asked, "payment-required");
  assert.deepEqual([asked.status, required.x402Version, required.accepts[0].scheme, required.accepts[0].network], [402, 2, "exact", "eip155:31337"]);
  assert.equal((await asked.json()).error.code, "payment_required");
  const answer = await buy(`${seller.url}/v1/chat/completions`, json(question, { authorization: "Bearer of-another-service" }));
  const whole = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(whole));
  const price = INPUT * BigInt(whole.usage.prompt_tokens) + OUTPUT * 16n;
  assert.equal(BigInt(required.accepts[0].amount), price);
  const settled = decodePaymentResponseHeader(answer.headers.get("payment-response"));
  assert.deepEqual([settled.success, settled.payer.toLowerCase(), settled.amount], [true, buyer.address.toLowerCase(), String(price)]);
  assert.deepEqual([whole.talkoo.payment.transaction, BigInt(Math.round(whole.talkoo.price * 1e6))], [settled.transaction, price]);
  assert.equal((await node.getTransactionReceipt({ hash: settled.transaction })).status, "success");
  await books(price);
  const streamed = await buy(`${seller.url}/v1/chat/completions`, json({ ...question, stream: true }));
  assert.ok(decodePaymentResponseHeader(streamed.headers.get("payment-response")).success);
  const told = await textOf(streamed);
  assert.deepEqual([told.text, told.events.at(-1).talkoo.payment.payer], [whole.choices[0].message.content, buyer.address.toLowerCase()]);
  await books(price);
  for (const [where, body, read] of [
    ["/v1/messages", question, (told) => told.content[0].text],
    ["/v1/responses", { model: "smollm2", input: "Name a river.", max_output_tokens: 8 }, (told) => told.output[0].content[0].text],
    ["/v1/completions", { model: "smollm2", prompt: ["One, two,", "Three, four,"], max_tokens: 4 }, (told) => told.choices[1].text],
  ]) {
    const bought = await buy(seller.url + where, json(body));
    const { amount, success } = decodePaymentResponseHeader(bought.headers.get("payment-response"));
    assert.ok(bought.status === 200 && success && read(await bought.json()).length > 0, where);
    await books(BigInt(amount));
  }
  console.log("@x402/fetch: chat, stream, messages, responses and completions are paid to the last unit");

  // Wrong payments.
  const payload = async (account, terms) => ({ ...(await client(account).createPaymentPayload({ ...required, accepts: [terms] })), accepted: required.accepts[0] });
  const send = (payment, body = question) => fetch(`${seller.url}/v1/chat/completions`, json(body, { "payment-signature": base64(payment) }));
  const terms = required.accepts[0];
  const lower = { ...terms, amount: String(price - 1n) };
  const twisted = await payload(buyer, terms);
  twisted.payload.authorization.nonce = `0x${"7".repeat(64)}`;
  const wrong = [
    ["invalid_exact_evm_payload_authorization_value", await payload(buyer, lower)],
    ["invalid_payment_requirements", { ...(await payload(buyer, lower)), accepted: lower }],
    ["invalid_exact_evm_payload_authorization_valid_before", await payload(buyer, { ...terms, maxTimeoutSeconds: 1 })],
    ["invalid_exact_evm_payload_recipient_mismatch", await payload(buyer, { ...terms, payTo: poor.address })],
    ["invalid_exact_evm_payload_signature", await payload(buyer, { ...terms, extra: { ...terms.extra, name: "Another" } })],
    ["invalid_exact_evm_payload_signature", twisted],
    ["insufficient_funds", await payload(poor, terms)],
    ["invalid_x402_version", { ...twisted, x402Version: 1 }],
  ];
  for (const [reason, payment] of wrong) {
    const no = await send(payment);
    const said = await no.text();
    assert.deepEqual([no.status, header(no, "payment-required").error], [402, reason], said);
  }
  const torn = await fetch(`${seller.url}/v1/chat/completions`, json(question, { "payment-signature": "not base64" }));
  assert.deepEqual([torn.status, header(torn, "payment-required").error], [400, "invalid_payload"]);
  await books(0n);

  // One authorization, one answer: not for another body, not twice at once; again for who lost it.
  const good = await payload(buyer, terms);
  const both = await Promise.all([send(good), send(good)]);
  assert.deepEqual(both.map((one) => one.status).sort(), [200, 402]);
  await books(price);
  const other = await send(good, chat("What is the capital of Norway ?"));
  assert.equal(header(other, "payment-required").error, "invalid_exact_evm_nonce_already_used");
  const again = await send(good);
  assert.deepEqual([again.status, (await again.json()).choices[0].message.content], [200, whole.choices[0].message.content]);
  await books(0n);
  // Who uses an authorization elsewhere has spent it.
  const elsewhere = await payload(buyer, terms);
  const { from, to, value, validAfter, validBefore, nonce } = elsewhere.payload.authorization;
  const args = [from, to, value, validAfter, validBefore, nonce, elsewhere.payload.signature];
  await mined(await deployer.writeContract({ address: contracts.token, abi, functionName: "transferWithAuthorization", args }));
  assert.equal(header(await send(elsewhere), "payment-required").error, "invalid_exact_evm_nonce_already_used");
  await books(price);
  console.log("wrong payments: none has an answer, none costs anything");

  // Killed with the first piece of an answer: what was paid is answered after the next start.
  const long = chat("Tell a story.", { max_tokens: 200, stream: true, temperature: 1 });
  const before = header(await fetch(`${seller.url}/v1/chat/completions`, json(long)), "payment-required");
  const authorized = await client(buyer).createPaymentPayload(before);
  const broken = await send(authorized, long);
  const transaction = decodePaymentResponseHeader(broken.headers.get("payment-response")).transaction;
  seller.child.kill("SIGKILL");
  await once(seller.child, "exit");
  await broken.text().catch(() => "broken off");
  // Where other machines come in.
  seller = await up(ledger, "--api", "0.0.0.0:0", "--api-public");
  const mended = await until("the node answers again", async () => {
    const one = await send(authorized, long);
    return one.status === 200 && one;
  });
  assert.equal(decodePaymentResponseHeader(mended.headers.get("payment-response")).transaction, transaction);
  assert.ok((await textOf(mended)).text.length > 0);
  await books(BigInt(before.accepts[0].amount));
  console.log("killed in the middle of a paid answer: answered after the next start, paid once");

  // Keys and the owner go on as before.
  const { key } = own("key", "create", "--name", "friend");
  assert.equal((await fetch(`${seller.url}/v1/chat/completions`, json(question, { authorization: `Bearer ${key}` }))).status, 200);
  const token = readFileSync(`${root}/seller/api.token`, "utf8").trim();
  const metrics = await (await fetch(`${seller.url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text();
  assert.match(metrics, /talkoo_x402_total\{outcome="repeated"\} 1/);
  await books(0n);
  const { sum, days } = own("provide", "earnings", "--days", "2");
  assert.deepEqual([BigInt(sum.x402.replace(".", "")), sum.total, days.length], [spent, sum.x402, 2]);
  if (python === "-") return console.log("Python's x402: SKIPPED, it is not here");
  const words = ["xtask/judges/x402pay.py", `${seller.url}/v1/chat/completions`, contracts.token, JSON.stringify(question)];
  const done = spawnSync(python, words, { encoding: "utf8", timeout: 240_000, env: { ...process.env, X402_KEY: secret } });
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.equal(JSON.parse(done.stdout).text, whole.choices[0].message.content);
  await books(price);
  console.log("x402 of Python pays, too");
}

try {
  await main();
} catch (why) {
  console.log(`logs in ${root}`);
  throw why;
} finally {
  processes.forEach((one) => one.kill("SIGKILL"));
}
