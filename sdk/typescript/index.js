// The client of a Talkoo node: typed calls, resumable events, safe repeats. Runs in Node 20 and in browsers.

const AGAIN_MS = 250;

/** A refusal of the node (RFC 9457), or its silence. */
export class Problem extends Error {
  /** @param {Partial<import("./index.js").Schema<"Problem">> & {detail: string}} said */
  constructor(said) {
    super(said.hint ? `${said.detail}; ${said.hint}` : said.detail);
    this.name = "Problem";
    this.type = said.type ?? "about:blank";
    this.title = said.title ?? said.detail;
    this.status = said.status ?? 0;
    this.code = said.code ?? "other";
    this.hint = said.hint ?? "";
    this.need = said.need ?? null;
    this.have = said.have ?? null;
  }
}

/** @param {number} ms @param {AbortSignal} [signal] */
const pause = (ms, signal) => new Promise((done, broken) => {
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", () => { clearTimeout(timer); broken(signal.reason); }, { once: true });
});

/** The problem that a response tells. @param {Response} response */
async function problemOf(response) {
  const said = await response.json().catch(() => undefined);
  return new Problem(said?.code ? said : { status: response.status, detail: `the node answers with status ${response.status}` });
}

/** A name that no other request has: `randomUUID` is for secure origins only. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What a reader of an event stream (html.spec.whatwg.org, "Server-sent events") has after each block of lines.
 * @param {ReadableStream<Uint8Array>} body @returns {AsyncGenerator<{id?: string, data?: string}, void, void>} */
async function* blocks(body) {
  const reader = body.getReader(), text = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + text.decode(value, { stream: true })).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        /** @type {{id?: string, data?: string}} */
        const block = {};
        for (const line of part.split("\n")) {
          if (line.startsWith("id: ")) block.id = line.slice(4);
          if (line.startsWith("data: ")) block.data = line.slice(6);
        }
        yield block;
      }
    }
  } finally {
    // Who stops reading ends the connection.
    await reader.cancel().catch(() => {});
  }
}

/** @type {typeof import("./index.js").createTalkoo} */
export function createTalkoo({ baseURL = "http://127.0.0.1:8420", token, fetch = globalThis.fetch, retries = 2 }) {
  const base = baseURL.replace(/\/+$/, "");

  /** @param {string} method @param {string} path @param {Record<string, string>} headers @param {string} [body] @param {AbortSignal} [signal] */
  async function once(method, path, headers, body, signal) {
    try {
      return await fetch(base + path, { method, headers: { authorization: `Bearer ${token}`, ...headers }, body, signal });
    } catch (why) {
      if (signal?.aborted) throw why;
      throw new Problem({ code: "silent", detail: `the node at ${base} does not answer (${why})`, hint: "is it up? `talkoo status`" });
    }
  }

  /** Sends, and again if the node was silent or says that it is for now: with the same key, so that nothing is done twice.
   * @param {string} method @param {string} path @param {any} more */
  async function call(method, path, { path: parts = {}, query = {}, body, idempotencyKey, signal } = {}) {
    const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(parts[name])));
    const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value != null).map(([name, value]) => [name, String(value)]));
    const target = `/api/v1${filled}${asked.size ? `?${asked}` : ""}`;
    /** @type {Record<string, string>} */
    const headers = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (method === "POST") headers["idempotency-key"] = idempotencyKey ?? newKey();
    const text = body === undefined ? undefined : JSON.stringify(body);
    for (let turn = 0; ; turn++) {
      /** @type {unknown} */
      let problem;
      try {
        const response = await once(method, target, headers, text, signal);
        if (response.ok) return await response.json();
        problem = await problemOf(response);
      } catch (why) {
        if (signal?.aborted) throw why;
        problem = why instanceof Problem ? why : new Problem({ code: "silent", detail: `the answer broke off (${why})` });
      }
      const isForNow = problem instanceof Problem && [0, 429, 503].includes(problem.status);
      if (!isForNow || turn >= retries) throw problem;
      await pause(AGAIN_MS * 2 ** turn, signal);
    }
  }

  /** @type {import("./index.js").Talkoo["events"]} */
  async function* events({ types, after, signal, patienceMs = 10_000 } = {}) {
    const path = `/api/v1/events${types ? `?types=${types.join(",")}` : ""}`;
    let last = after, silentSince = 0;
    for (;;) {
      try {
        const response = await once("GET", path, last ? { "last-event-id": last } : {}, undefined, signal);
        if (!response.ok) throw await problemOf(response);
        silentSince = 0;
        for await (const { id, data } of blocks(/** @type {ReadableStream<Uint8Array>} */ (response.body))) {
          last = id ?? last;
          if (data !== undefined) yield { ...JSON.parse(data), id };
        }
      } catch (why) {
        if (signal?.aborted || (why instanceof Problem && why.status !== 0 && why.status !== 503)) throw why;
        silentSince ||= Date.now();
        // Never connected, or gone for too long.
        if (last === undefined || Date.now() - silentSince > patienceMs) throw why;
      }
      await pause(AGAIN_MS, signal);
    }
  }

  /** @type {import("./index.js").Talkoo["batch"]} */
  async function batch(order, { idempotencyKey, signal } = {}) {
    const stop = new AbortController();
    const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    // Listening before it is posted: nothing is missed.
    const heard = events({ types: ["job.closed", "lagged", "reset"], signal: either });
    let next = heard.next();
    next.catch(() => {});
    try {
      const { job } = await call("POST", "/jobs", { body: order, idempotencyKey, signal });
      while ((await call("GET", "/jobs/{id}", { path: { id: job }, signal })).status === "open") {
        const { value } = await Promise.race([next, pause(2_000, either).then(() => ({ value: undefined }))]);
        if (value) next = heard.next();
        next.catch(() => {});
      }
      return await call("GET", "/jobs/{id}/output", { path: { id: job }, signal });
    } finally {
      stop.abort();
    }
  }

  return {
    get: (path, more) => call("GET", path, more),
    post: (path, more) => call("POST", path, { body: {}, ...more }),
    delete: (path, more) => call("DELETE", path, more),
    events,
    batch,
    openai: () => ({ name: "talkoo", baseURL: `${base}/v1`, apiKey: token }),
  };
}
