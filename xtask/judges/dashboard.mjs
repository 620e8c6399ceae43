// The dashboard in Chromium, by keyboard, on two real nodes: every page light and dark, axe-core, the console, bytes.
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

async function chat(page) {
  await visit(page, "Chat");
  await page.getByLabel("Longest answer").fill("24");
  const here = await ask(page, "Name three birds.");
  holds(`made here: ${here}`, /re-runnable/.test(here) && /this machine/.test(here) && /free/.test(here));
  await page.getByLabel("Answered by").selectOption("price");
  const bought = await ask(page, "Name three trees.");
  holds(`bought: ${bought}`, /re-run/.test(bought) && /tokens/.test(bought) && /receipt/.test(bought));
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
  await look(page, "provide");
  await visit(page, "Network");
  await page.getByLabel(/An invite code/).fill("nonsense");
  await page.getByLabel(/An invite code/).press("Enter");
  await page.getByRole("alert").getByText("copy all of the code").waitFor();
  await look(page, "network");
  await visit(page, "Keys");
  await page.getByLabel("Name").fill("judge");
  await page.getByRole("button", { name: "Make it" }).press("Enter");
  await page.getByText("This is the only time that it is shown").waitFor();
  await page.getByRole("button", { name: "Revoke" }).waitFor();
  await look(page, "keys");
  await page.setViewportSize({ width: 390, height: 844 });
  await look(page, "keys-narrow");
}

/** Data is sealed and sold where there is a ledger: at the node that joined nobody. */
async function data(context) {
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
  await look(page, "data");
}

async function judge(browser, base) {
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
  await data(context);
  await page.getByRole("button", { name: /^Theme/ }).click();
  holds("the switch goes before the system", (await page.evaluate(() => document.documentElement.dataset.theme)) === "light");
  holds(`nothing is wrong: ${wrong.join("\n")}`, wrong.length === 0);
}

let browser;
try {
  const worker = await start("worker", "--provide", "--pull", "smollm2");
  const { api } = await start("ui", "--bootstrap", worker.listen[0]);
  browser = await chromium.launch({ executablePath: program, args: QUIET });
  await judge(browser, `http://${api}`);
  console.log(`all held; pictures in ${shots}`);
} catch (error) {
  console.log(`${error.stack}\nlogs in ${root}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  nodes.forEach((node) => node.kill());
}
