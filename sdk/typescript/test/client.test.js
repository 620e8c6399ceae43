// Against a real node: TALKOO_URL, TALKOO_TOKEN; TALKOO_MODEL is there and offered.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem, createTalkoo } from "../index.js";

const baseURL = process.env.TALKOO_URL, token = process.env.TALKOO_TOKEN, model = process.env.TALKOO_MODEL;
assert(baseURL && token && model, "set TALKOO_URL, TALKOO_TOKEN and TALKOO_MODEL");
const node = createTalkoo({ baseURL, token });
const file = JSON.stringify({ custom_id: "a", method: "POST", url: "/v1/chat/completions", body: { model, max_tokens: 4, messages: [{ role: "user", content: "Hi" }] } });
const order = { file, own: true, verify: "none" };

test("calls are answered, and refusals say what to do", async () => {
  assert.equal((await node.get("/status")).api, new URL(baseURL).host);
  await assert.rejects(node.get("/jobs/{id}", { path: { id: "ff/ff" } }), (no) => no instanceof Problem && no.status === 404 && no.code === "unknown_id");
  await assert.rejects(node.post("/jobs", { body: { ...order, nods: 1 } }), /did you mean `nodes`/);
  await assert.rejects(createTalkoo({ baseURL, token: "wrong" }).get("/status"), (no) => no.status === 401);
  await assert.rejects(createTalkoo({ baseURL: "http://127.0.0.1:1", token, retries: 0 }).get("/status"), (no) => no.code === "silent");
});

test("a batch is posted and waited for", async () => {
  const { output } = await node.batch(order);
  assert.equal(JSON.parse(output).response.status_code, 200);
});

test("a request whose answer is lost is done once", async () => {
  let lost = 0;
  const lossy = async (...args) => {
    const response = await fetch(...args);
    if (args[1].method === "POST" && lost++ === 0) throw new TypeError("cut off");
    return response;
  };
  const before = (await node.get("/jobs")).jobs.length;
  const { job } = await createTalkoo({ baseURL, token, fetch: lossy }).post("/jobs", { body: order });
  const jobs = (await node.get("/jobs")).jobs;
  assert.equal(lost, 2);
  assert.equal(jobs.length, before + 1);
  assert(jobs.some((one) => one.job === job));
});

test("a reader that is cut off goes on where it was", async () => {
  let cut = 0;
  const asked = [];
  // Ends the first connection after its first event.
  const cutting = async (url, init) => {
    asked.push(init.headers["last-event-id"]);
    const response = await fetch(url, init);
    if (cut++ > 0) return response;
    const text = new TextDecoder();
    const one = new TransformStream({ transform(chunk, to) { to.enqueue(chunk); if (text.decode(chunk).includes("data: ")) to.terminate(); } });
    return new Response(response.body.pipeThrough(one));
  };
  const listening = createTalkoo({ baseURL, token, fetch: cutting }).events({ types: ["job.closed"] });
  const first = listening.next();
  // The first event comes after somebody listens; jobs are posted until then.
  const { job } = await node.post("/jobs", { body: order });
  await node.batch(order);
  const heard = new Set([(await first).value.job]);
  while (!heard.has(job) || heard.size < 2) heard.add((await listening.next()).value.job);
  await listening.return();
  assert(asked[1], "the second connection names the last event");
});

test("the preset is what an OpenAI client needs", async () => {
  const { baseURL: url, apiKey } = node.openai();
  const response = await fetch(`${url}/models`, { headers: { authorization: `Bearer ${apiKey}` } });
  assert.equal(response.status, 200);
});
