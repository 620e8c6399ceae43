// The dashboard in Chromium, by keyboard, on three real nodes: every page light and dark, axe-core, the console, bytes.
//
// Usage: dashboard.mjs TALKOO PACKAGES SCREENSHOTS
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const [talkoo, packages, shots] = process.argv.slice(2).map((path) => resolve(path));
const { chromium } = createRequire(join(packages, "here.js"))("playwright-core");
const axe = readFileSync(join(packages, "node_modules/axe-core/axe.min.js"), "utf8");
const program = process.env.CHROMIUM ?? "/usr/bin/chromium";
if (spawnSync(program, ["--version"]).status !== 0) {
  console.log(`there is no ${program}: install chromium, or name it in CHROMIUM`);
  process.exit(77);
}
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const BYTES_MAX = 300_000;
const WAIT_MS = 120_000;
/** A page is to be usable after so many milliseconds. */
const GOAL_MS = 300;
const FRIEND = `0x${"4".repeat(40)}`;
const root = mkdtempSync(join(tmpdir(), "talkoo-dashboard-"));
const nodes = [];
mkdirSync(shots, { recursive: true });

function holds(what, is) {
  if (!is) throw new Error(`not so: ${what}`);
}

/** A node as a process; answers what it said at its start. */
async function start(name, ...flags) {
  const log = openSync(join(root, `${name}.log`), "a");
  const words = ["--data-dir", join(root, name), "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", ...flags];
  const node = spawn(talkoo, words, { stdio: ["ignore", "pipe", log] });
  nodes.push(node);
  for await (const line of createInterface(node.stdout)) return JSON.parse(line);
  throw new Error(`${name} did not start: see ${root}`);
}

function cli(name, ...words) {
  const done = spawnSync(talkoo, ["--data-dir", join(root, name), ...words], { encoding: "utf8" });
  holds(`${words.join(" ")}: ${done.stderr}`, done.status === 0);
  return done.stdout.trim();
}

/** The path of a batch of three lines. */
function batch() {
  const line = (word) => JSON.stringify({ custom_id: word, method: "POST", url: "/v1/chat/completions", body: { model: "smollm2", max_tokens: 40, messages: [{ role: "user", content: `Name three ${word}.` }] } });
  writeFileSync(join(root, "batch.jsonl"), ["birds", "trees", "rivers"].map(line).join("\n"));
  return join(root, "batch.jsonl");
}

/** Everything that can be used is reached by Tab. */
async function keyboard(page, name) {
  const count = await page.evaluate(() => {
    const usable = "a[href], button:not(:disabled), input, select, textarea, summary, [tabindex='0']";
    window.wanted = new Set([...document.querySelectorAll(usable)].filter((element) => element.checkVisibility()));
    document.activeElement.blur();
    return window.wanted.size;
  });
  for (let i = 0; i < 2 * count + 5; i++) {
    await page.keyboard.press("Tab");
    await page.evaluate(() => window.wanted.delete(document.activeElement));
  }
  const left = await page.evaluate(() => [...window.wanted].filter((element) => element.isConnected).map((element) => element.outerHTML));
  holds(`${name}: Tab reaches ${left}`, left.length === 0);
}

/** One page, as it looks and as axe-core sees it, in both lights. */
async function look(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`), fullPage: true });
    if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run());
    const said = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`);
    holds(`${name} ${colorScheme}: ${said.join("\n")}`, said.length === 0);
  }
  await keyboard(page, name);
  console.log(`${name}: light, dark, axe, keyboard`);
}

async function visit(page, name, heading) {
  await page.getByRole("link", { name, exact: true }).press("Enter");
  await page.getByRole("heading", { level: 1, name: heading ?? name }).waitFor();
  await page.locator("[aria-busy=true]").first().waitFor({ state: "detached" });
}

/** Asks in the page; answers the facts under the answer. */
async function ask(page, text) {
  const before = await page.locator(".facts").count();
  await page.getByLabel("Message").fill(text);
  await page.getByLabel("Message").press("Enter");
  await page.locator(".facts").nth(before).waitFor({ timeout: WAIT_MS });
  holds("the answer has text", (await page.locator("li.assistant .text").last().innerText()).trim().length > 0);
  return page.locator(".facts").nth(before).innerText();
}

/** The receipt of the answer that was bought, check by check. */
async function receipt(page) {
  await page.locator(".facts").last().getByRole("link", { name: "receipt" }).press("Enter");
  await page.getByRole("heading", { level: 1, name: "Receipt" }).waitFor();
  await page.getByRole("button", { name: "Verify" }).press("Enter");
  await page.getByText("All that needs no model holds.").waitFor();
  holds("every check is told", (await page.locator(".findings li").count()) === 6 && (await page.locator(".findings .bad").count()) === 0);
  await look(page, "receipt");
  await visit(page, "Chat");
}

async function chat(page) {
  await visit(page, "Chat");
  await page.getByLabel("Longest answer").fill("24");
  const here = await ask(page, "Name three birds.");
  holds(`made here: ${here}`, /re-runnable/.test(here) && /this machine/.test(here) && /free/.test(here));
  await page.getByLabel("Answered by").selectOption("price");
  const bought = await ask(page, "Name three trees.");
  holds(`bought: ${bought}`, /re-run/.test(bought) && /tokens/.test(bought) && /receipt/.test(bought));
  await receipt(page);
  await page.getByLabel("Answered by").selectOption("");
  await page.getByLabel("Longest answer").fill("4000");
  await page.getByLabel("Message").fill("Count to one thousand.");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("stopped", { exact: true }).waitFor();
  await look(page, "chat");
}

async function pages(page) {
  await page.getByRole("heading", { name: "What do you want to do first?" }).waitFor();
  await look(page, "first");
  await page.getByRole("button", { name: /^Use/ }).press("Enter");
  await page.getByRole("link", { name: "Get a model" }).waitFor();
  await look(page, "home");
  await visit(page, "Models");
  await page.getByLabel(/A name of the catalogue/).fill("smollm2");
  await page.getByLabel(/A name of the catalogue/).press("Enter");
  await page.getByRole("cell", { name: "smollm2-135m-instruct" }).waitFor({ timeout: WAIT_MS });
  await page.getByRole("cell", { name: /tokens\/s/ }).waitFor({ timeout: WAIT_MS });
  await look(page, "models");
  await chat(page);
  await visit(page, "Jobs");
  await page.getByText("None yet.").waitFor();
  await page.getByLabel(/OpenAI batch lines/).setInputFiles(batch());
  await page.getByRole("button", { name: "What would it cost?" }).press("Enter");
  await page.getByText("Steps: 3, workers: 1.").waitFor();
  await page.getByRole("button", { name: "Post", exact: true }).press("Enter");
  await page.getByText("3 of 3").waitFor();
  await look(page, "jobs");
  await page.locator("td a").first().press("Enter");
  await page.getByRole("heading", { name: "Steps" }).waitFor();
  await page.getByRole("img", { name: "steps: 3 done" }).waitFor();
  holds("each run is a bar", (await page.locator(".lane svg .bar.done").count()) >= 3);
  await page.locator("[aria-busy=true]").first().waitFor({ state: "detached" });
  await look(page, "job");
  await visit(page, "Provide");
  await page.getByRole("switch").press("Enter");
  await page.locator("[role=switch][aria-checked=true]").waitFor();
  await page.getByLabel(/Only at hours/).fill("22:00-7:30, 12-13");
  await page.getByRole("button", { name: "Save" }).press("Enter");
  // As the node has it: "12-13" comes back as "12:00-13:00".
  await page.waitForFunction(() => document.querySelector("input[name=hours]")?.value === "22:00-7:30, 12:00-13:00");
  await page.getByLabel(/Only at hours/).fill("");
  await page.getByRole("button", { name: "Save" }).press("Enter");
  for (const end = Date.now() + WAIT_MS; JSON.parse(cli("ui", "-o", "json", "provide", "limits")).limits.hours.length > 0;) holds("the hours end", Date.now() < end);
  await page.getByLabel("Days").selectOption("30");
  // Thirty days and their sum.
  await page.getByRole("region", { name: "income" }).getByRole("row").nth(31).waitFor();
  await look(page, "provide");
  await visit(page, "Network");
  await page.getByLabel(/An invite code/).fill("nonsense");
  await page.getByLabel(/An invite code/).press("Enter");
  await page.getByRole("alert").getByText("copy all of the code").waitFor();
  await page.getByRole("img", { name: "Germany: 1 node; Finland: 1 node, this one among them" }).waitFor();
  holds("a point for each country", (await page.locator(".map circle").count()) === 2);
  await look(page, "network");
  await visit(page, "Keys");
  await page.getByLabel("Name").fill("judge");
  await page.getByRole("button", { name: "Make it" }).press("Enter");
  await page.getByText("This is the only time that it is shown").waitFor();
  await page.getByRole("button", { name: "Revoke" }).waitFor();
  await look(page, "keys");
  await page.locator("td a").first().press("Enter");
  await page.getByRole("heading", { level: 1, name: "Key judge" }).waitFor();
  await page.getByText("Nothing yet.").waitFor();
  await look(page, "key");
  await visit(page, "Ledger");
  await page.getByText("This node has no ledger").waitFor();
  await page.locator("td a").first().waitFor();
  await look(page, "ledger-none");
  await visit(page, "Settings");
  await page.getByRole("cell", { name: "--bootstrap" }).waitFor();
  await page.getByLabel("Theme").selectOption("dark");
  holds("Settings switch the theme", (await page.evaluate(() => document.documentElement.dataset.theme)) === "dark");
  await page.getByLabel("Theme").selectOption("system");
  await look(page, "settings");
  await visit(page, "Home");
  await page.getByRole("region", { name: "offers" }).getByRole("cell", { name: "smollm2-135m-instruct" }).waitFor();
  await look(page, "home-offers");
  await visit(page, "Keys");
  await page.setViewportSize({ width: 390, height: 844 });
  await look(page, "keys-narrow");
  await visit(page, "Ledger");
  await look(page, "ledger-narrow");
}

/** The chain, at the node that serves one: from the last blocks to a contract that a transaction called. */
async function ledger(page) {
  await visit(page, "Ledger");
  await page.getByRole("cell", { name: "disputes", exact: true }).waitFor();
  await page.getByText("None: no worker was refuted").waitFor();
  await page.getByText("None: nothing is kept for pay").waitFor();
  await look(page, "ledger");
  await page.getByLabel(/A block's number/).fill("nonsense");
  await page.getByLabel(/A block's number/).press("Enter");
  await page.getByRole("alert").getByText("this is no block").waitFor();
  await page.getByLabel(/A block's number/).fill("1");
  await page.getByLabel(/A block's number/).press("Enter");
  await page.getByRole("heading", { level: 1, name: "Block 1" }).waitFor();
  await page.getByRole("region", { name: "transactions" }).waitFor();
  await look(page, "block");
  await page.getByRole("region", { name: "transactions" }).locator("a").first().press("Enter");
  await page.getByRole("heading", { level: 1, name: "Transaction" }).waitFor();
  await page.getByText("grant(address,bytes32,(uint128,uint128))").waitFor();
  await page.getByText("Transfer(address,address,uint256)").waitFor();
  await look(page, "transaction");
  await page.getByRole("link", { name: "faucet" }).first().press("Enter");
  await page.getByRole("heading", { level: 1, name: "Contract faucet" }).waitFor();
  await look(page, "address");
}

/** A tool of the Model Context Protocol, with a key. */
async function tool(api, key, name, args) {
  const about = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": { name: "judge", version: "1" }, "io.modelcontextprotocol/clientCapabilities": {} };
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", accept: "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args, _meta: about } });
  return (await fetch(`http://${api}/mcp`, { method: "POST", headers, body })).text();
}

/** A key with a policy asks for more than it may; its owner refuses one payment and approves the other. */
async function approvals(page, api) {
  await visit(page, "Keys");
  await page.getByLabel("Name").fill("agent");
  for (const scope of [/^wallet/, /^mcp/]) await page.getByRole("checkbox", { name: scope }).check();
  await page.getByText("It may pay").press("Enter");
  await page.getByLabel("With").selectOption("gas");
  for (const [label, text] of [["At most at once", "2"], ["At most in 24 hours", "5"], ["Ask me above", "0.5"], ["Only to these addresses", FRIEND]]) await page.getByLabel(label).fill(text);
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByText("This is the only time that it is shown").waitFor();
  const key = await page.locator("[role=status] code").first().innerText();
  for (const [amount, why] of [["1.5", "a cake"], ["1.2", "a pie"]]) {
    const said = await tool(api, key, "wallet_pay", { to: FRIEND, amount, why, asset: "gas" });
    holds(`a payment waits: ${said}`, /waits/.test(said));
  }
  await page.getByRole("cell", { name: "a pie" }).waitFor();
  await look(page, "approvals");
  await page.getByRole("row", { name: /a pie/ }).getByRole("button", { name: "Refuse" }).press("Enter");
  await page.getByRole("row", { name: /a pie/ }).getByRole("button", { name: "Really refuse" }).press("Enter");
  await page.getByRole("cell", { name: "a pie" }).waitFor({ state: "detached" });
  await page.getByRole("row", { name: /a cake/ }).getByRole("button", { name: "Approve" }).press("Enter");
  await page.getByRole("cell", { name: "a cake" }).waitFor({ state: "detached", timeout: WAIT_MS });
  await page.getByRole("region", { name: "keys" }).locator("a").first().press("Enter");
  await page.getByRole("heading", { level: 1, name: "Key agent" }).waitFor();
  await page.getByRole("region", { name: "decisions" }).getByText("a cake").first().waitFor();
  await look(page, "key-policy");
}

/** How long a page takes from the start of its navigation to its heading's focus and its first data: told, not held. */
async function speed(context, base) {
  const all = [];
  for (const name of ["", "chat", "models", "jobs", "data", "provide", "network", "ledger", "keys", "settings"]) {
    const page = await context.newPage();
    await page.addInitScript((token) => {
      sessionStorage.setItem("talkoo.token", token);
      const watch = () => {
        const heading = document.querySelector("main h1");
        const is = heading && document.activeElement === heading && !document.querySelector("main [aria-busy=true]");
        is ? (window.interactive = performance.now()) : requestAnimationFrame(watch);
      };
      requestAnimationFrame(watch);
    }, readFileSync(join(root, "ui", "api.token"), "utf8").trim());
    await page.goto(`${base}/#/${name}`);
    await page.waitForFunction(() => window.interactive, undefined, { timeout: WAIT_MS });
    all.push([name || "home", Math.round(await page.evaluate(() => window.interactive))]);
    await page.close();
  }
  const middle = all.map(([, ms]) => ms).sort((a, b) => a - b)[all.length / 2];
  console.log(`interactive after ms (the goal is ${GOAL_MS}): ${all.map(([name, ms]) => `${name} ${ms}`).join(", ")}; median ${middle}`);
}

/** Data is sealed and sold where there is a ledger: at the node that joined nobody. So is the chain, and what keys pay. */
async function data(context, api) {
  const page = await context.newPage();
  await page.goto(cli("worker", "open"));
  await page.getByRole("button", { name: /^Share data/ }).click();
  await visit(page, "Data");
  await page.getByLabel(/A file or folder/).fill("songs");
  await page.getByRole("button", { name: "Seal it" }).click();
  await page.getByRole("alert").getByText("absolute").waitFor();
  writeFileSync(join(root, "songs.txt"), "the song of the crane\n");
  await page.getByLabel(/A file or folder/).fill(join(root, "songs.txt"));
  await page.getByLabel(/A file or folder/).press("Enter");
  await page.getByText("only here, sealed").waitFor();
  for (const [label, text] of [[/^Name/, "songs"], ["Title", "Songs of cranes"], ["Licence", "CC-BY-4.0"], [/^Price/, "0.25"]]) await page.getByLabel(label).fill(text);
  await page.getByLabel(/^Of one use/).fill("0.001");
  await page.getByLabel(/waits for my word/).check();
  await page.getByRole("button", { name: "What becomes public?" }).press("Enter");
  await page.getByRole("button", { name: "Publish it" }).waitFor();
  await look(page, "data-draft");
  await page.getByRole("button", { name: "Publish it" }).press("Enter");
  await page.getByText("All that is sealed here is published.").waitFor({ timeout: WAIT_MS });
  await page.getByRole("button", { name: "Check that nobody changed it" }).press("Enter");
  await page.getByText("as they were written").waitFor();
  await page.getByLabel(/OWNER\/NAME/).fill("1");
  await page.getByLabel(/OWNER\/NAME/).press("Enter");
  await page.getByRole("button", { name: "Buy for 0.25 tokens" }).waitFor();
  // The node asks itself: what it sells on request waits for its own word.
  await page.getByRole("button", { name: "Buy for 0.001 tokens" }).press("Enter");
  await page.getByText("waits for your word").waitFor({ timeout: WAIT_MS });
  await look(page, "data-asked");
  await page.getByLabel("Reason of a refusal").fill("not today");
  await page.getByRole("button", { name: "Refuse" }).press("Enter");
  await page.getByText("you refused it: not today").waitFor();
  await look(page, "data");
  await ledger(page);
  await approvals(page, api);
}

async function judge(browser, base, api) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ["clipboard-write"] });
  const page = await context.newPage();
  const wrong = [];
  let bytes = 0;
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && wrong.push(said.text()));
  page.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("blob:") || wrong.push(`asks elsewhere: ${request.url()}`));
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  devtools.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
  await page.goto(base);
  await page.getByText("talkoo open", { exact: true }).waitFor();
  await look(page, "gate");
  await page.goto(cli("ui", "open"));
  await page.getByRole("heading", { name: "What do you want to do first?" }).waitFor();
  holds("the token is out of the address", !page.url().includes("token"));
  console.log(`${bytes} bytes for the whole dashboard`);
  holds(`at most ${BYTES_MAX} bytes`, bytes > 10_000 && bytes <= BYTES_MAX);
  await pages(page);
  await data(context, api);
  await speed(context, base);
  await page.getByRole("button", { name: /^Theme/ }).click();
  holds("the switch goes before the system", (await page.evaluate(() => document.documentElement.dataset.theme)) === "light");
  holds(`nothing is wrong: ${wrong.join("\n")}`, wrong.length === 0);
}

let browser;
try {
  const worker = await start("worker", "--region", "DE", "--provide", "--pull", "smollm2");
  const { api } = await start("ui", "--region", "FI", "--bootstrap", worker.listen[0]);
  await start("third", "--bootstrap", worker.listen[0]);
  browser = await chromium.launch({ executablePath: program, args: QUIET });
  await judge(browser, `http://${api}`, worker.api);
  console.log(`all held; pictures in ${shots}`);
} catch (error) {
  console.log(`${error.stack}\nlogs in ${root}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  nodes.forEach((node) => node.kill());
}
