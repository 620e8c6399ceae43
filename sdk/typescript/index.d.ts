import type { components, operations, paths } from "./api.js";

export type { components, operations, paths };

/** A shape of the API by its name: `Schema<"Job">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

/** Something that happened in the node. */
export type Event = Schema<"Event">;

/** Where a node is. */
export interface Options {
  /** Address of the node; `http://127.0.0.1:8420` unless told otherwise. */
  baseURL?: string;
  /** The content of `<data-dir>/api.token`. */
  token: string;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
  /** How often a request is sent again that got no answer, 429 or 503; 2 unless told otherwise. */
  retries?: number;
}

type Verb = "get" | "post" | "delete";
type Prefix = "/api/v1";

/** Paths that have a method, without `/api/v1`. */
export type PathOf<V extends Verb> = {
  [P in keyof paths]: paths[P] extends Record<V, object> ? (P extends `${Prefix}${infer Rest}` ? Rest : never) : never;
}[keyof paths];

type Operation<V extends Verb, P extends string> = `${Prefix}${P}` extends keyof paths
  ? paths[`${Prefix}${P}`] extends Record<V, infer O> ? O : never
  : never;

/** What a call answers. */
export type Answer<V extends Verb, P extends string> =
  Operation<V, P> extends { responses: { 200: { content: { "application/json": infer A } } } } ? A : never;

type Part<O, Name extends string> = O extends { parameters: { [K in Name]?: infer T } } ? Exclude<T, undefined> : never;
type Body<O> = O extends { requestBody: { content: { "application/json": infer B } } } ? B
  : O extends { requestBody?: { content: { "application/json": infer B } } } ? B | undefined : undefined;

/** What goes with a call. */
export interface With<V extends Verb, P extends string> {
  /** Parts of the path: `{id: "…"}`. */
  path?: Part<Operation<V, P>, "path">;
  /** Parameters behind the `?`. */
  query?: Part<Operation<V, P>, "query">;
  /** Fields of the body. */
  body?: Body<Operation<V, P>>;
  /** A name for this very request; a new one for every POST unless told otherwise, so that a retry does nothing twice. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** What events to hear. */
export interface Listen {
  /** Only these types. */
  types?: Event["type"][];
  /** Id of the last event that was read before. */
  after?: string;
  signal?: AbortSignal;
  /** How long a cut connection is tried again, in milliseconds; 10,000 unless told otherwise. */
  patienceMs?: number;
}

/** An event with its id, with which a later reader goes on. */
export type Heard = Event & { id?: string };

/** A refusal of the node (RFC 9457), or its silence (`code` is `silent`, `status` 0). */
export class Problem extends Error {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly hint: string;
  readonly need: string | null;
  readonly have: string | null;
  constructor(said: Partial<Schema<"Problem">> & { detail: string });
}

/** A node. */
export interface Talkoo {
  get<P extends PathOf<"get">>(path: P, more?: With<"get", P>): Promise<Answer<"get", P>>;
  post<P extends PathOf<"post">>(path: P, more?: With<"post", P>): Promise<Answer<"post", P>>;
  delete<P extends PathOf<"delete">>(path: P, more?: With<"delete", P>): Promise<Answer<"delete", P>>;
  /** The node's events as they happen. A cut connection is resumed; `lagged` and `reset` say what is lost. */
  events(listen?: Listen): AsyncGenerator<Heard, void, void>;
  /** Posts a batch and waits for its results, as JSONL. */
  batch(order: Schema<"JobAsk">, more?: { idempotencyKey?: string; signal?: AbortSignal }): Promise<Schema<"JobOutput">>;
  /** What the AI SDK's `createOpenAICompatible` and OpenAI's client need to ask this node. */
  openai(): { name: string; baseURL: string; apiKey: string };
}

/** The client of a node. */
export function createTalkoo(options: Options): Talkoo;
