// The node's API: the token, calls, the event stream. The token comes in the address's fragment, which no browser sends
// to a server, and stays in this tab's session storage.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

const KEPT = "talkoo.token";
export const token = signal(sessionStorage.getItem(KEPT));

/** Takes the token out of the address, so that it is in no bookmark and no screenshot. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  sessionStorage.setItem(KEPT, given);
  token.value = given;
  history.replaceState(null, "", "#/");
}

/** @typedef {{code?: string, message: string, hint?: string, need?: string, have?: string}} No */

/** What the API says when it says no. */
export class Refusal extends Error {
  /** @type {string | undefined} */ code;
  /** @type {string | undefined} */ hint;
  /** @type {string | undefined} */ need;
  /** @type {string | undefined} */ have;

  /** @param {No} no */
  constructor(no) {
    super(no.message);
    Object.assign(this, no);
  }
}

/** A problem (RFC 9457) of the native API, or the error of a protocol of inference. */
const problem = (said) => said.code ? { ...said, message: said.detail } : said.error;

const SILENT = { code: "silent", message: "the node does not answer", hint: "is it up? start it with `talkoo up`" };

/**
 * A request with the token; its refusal is thrown.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @param {Record<string, string>} [more]
 */
export async function send(method, path, body, signal, more) {
  const headers = { authorization: `Bearer ${token.value}`, ...more };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (why) {
    throw signal?.aborted ? why : new Refusal(SILENT);
  }
  if (response.ok) return response;
  if (response.status === 401) {
    sessionStorage.removeItem(KEPT);
    token.value = null;
  }
  const said = await response.json().catch(() => ({}));
  throw new Refusal(problem(said) ?? { code: String(response.status), message: `the node answers with status ${response.status}` });
}

/**
 * A call of the native API: `call("POST", "/models", {name})`.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const call = async (method, path, body, signal) => (await send(method, `/api/v1${path}`, body, signal)).json();

/** The `data:` lines of an event stream (html.spec.whatwg.org, "Server-sent events"), as JSON. `mark` hears the ids.
 * @param {Response} response
 * @param {(id: string) => void} [mark]
 */
export async function* events(response, mark) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", id;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("id: ")) id = line.slice(4);
      if (id && (line === "" || line.startsWith("data: "))) mark?.(id);
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

const listeners = new Set();
/** Whether the event stream is open. */
export const live = signal(false);

/** Calls back for every event of the node, until the answer is called. */
export function listen(hear) {
  listeners.add(hear);
  return () => listeners.delete(hear);
}

const AGAIN_MS = 2_000;

let following = false;
/** Id of the last event that was read: where to go on. */
let last;

/** Follows the node's events as long as there is a token. */
export async function follow() {
  if (following) return;
  following = true;
  while (token.value) {
    try {
      const stream = await send("GET", "/api/v1/events", undefined, undefined, last && { "last-event-id": last });
      live.value = true;
      for await (const event of events(stream, (id) => { last = id; })) listeners.forEach((hear) => hear(event));
    } catch {
      // Every page says itself what it could not read.
    }
    live.value = false;
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
  following = false;
}

const LOOK_MS = 5_000;
const GATHER_MS = 250;

/**
 * What a path answers. Asked again after events, and now and then, while somebody looks.
 * @param {string} path
 * @returns {{value?: any, error?: any, again: () => void}}
 */
export function useAnswer(path) {
  const [state, setState] = useState(/** @type {{value?: any, error?: any}} */ ({}));
  const [turn, setTurn] = useState(0);
  const again = () => setTurn((turn) => turn + 1);
  useEffect(() => {
    const stop = new AbortController();
    send("GET", path, undefined, stop.signal)
      .then((response) => response.json())
      .then((value) => setState({ value }), (error) => stop.signal.aborted || setState((old) => ({ ...old, error })));
    return () => stop.abort();
  }, [path, turn]);
  useEffect(() => {
    let soon;
    const timer = setInterval(() => document.hidden || again(), LOOK_MS);
    const deaf = listen(() => (soon ??= setTimeout(() => { soon = undefined; again(); }, GATHER_MS)));
    return () => { clearInterval(timer); clearTimeout(soon); deaf(); };
  }, []);
  return { ...state, again };
}

/**
 * Something that a button does.
 * @param {(...args: any[]) => unknown} act
 * @returns {{run: (...args: any[]) => Promise<void>, busy: boolean, error?: any}}
 */
export function useAct(act) {
  const [state, setState] = useState(/** @type {{busy: boolean, error?: any}} */ ({ busy: false }));
  const run = async (...args) => {
    setState({ busy: true });
    try {
      await act(...args);
      setState({ busy: false });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return { run, ...state };
}
