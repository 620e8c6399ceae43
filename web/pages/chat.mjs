// A conversation by /v1/chat/completions, and of every answer who gave it, what it cost and how it can be checked.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refusal, events, send, useAnswer } from "/web/api.mjs";
import { Badge, Failure, Id, Page, Reading, html, money } from "/web/parts.mjs";

/** `{role, content, facts?, error?, stopped?}`: outlives a visit to another page, but not the tab. */
const talk = signal([]);
const running = signal(null);
const wishes = signal({ model: "", where: "", tokens: 256 });

const WHERE = { "": "this machine, free", price: "network: cheapest", throughput: "network: quickest", latency: "network: first word soonest" };

const amend = (change) => (talk.value = [...talk.value.slice(0, -1), { ...talk.value.at(-1), ...change }]);

async function ask(text, model) {
  const { where, tokens } = wishes.value;
  // Turns come in pairs; what got no answer is not told again.
  const told = talk.value.filter((_, i, all) => all[i | 1].content);
  const messages = [...told, { role: "user", content: text }];
  talk.value = [...talk.value, messages.at(-1), { role: "assistant", content: "" }];
  const stop = (running.value = new AbortController());
  const body = { model, stream: true, max_tokens: tokens, messages: messages.map(({ role, content }) => ({ role, content })) };
  if (where) body.provider = { sort: where };
  try {
    for await (const event of events(await send("POST", "/v1/chat/completions", body, stop.signal))) {
      if (event.error) throw new Refusal(event.error);
      const choice = event.choices?.[0];
      if (choice?.delta?.content) amend({ content: talk.value.at(-1).content + choice.delta.content });
      if (event.talkoo) amend({ facts: event.talkoo, finish: choice?.finish_reason });
    }
  } catch (error) {
    amend(stop.signal.aborted ? { stopped: true } : { error });
  }
  running.value = null;
}

function Facts({ facts, finish }) {
  const { nodes, price, receipt, seed } = facts;
  return html`<div class="facts small"><${Badge} facts=${facts} />
    <span>${nodes.map((one, i) => html`${i > 0 && ", "}${one.here ? "this machine" : html`<${Id} of=${one.node} />`}`)}</span>
    <span>${Number(price) === 0 ? "free" : `${money(price)} tokens`}</span><span>seed ${seed}</span>
    ${finish === "length" && html`<span>cut at the longest answer</span>`}
    ${receipt && html`<a href=${`#/ledger/${receipt.replace(/\.receipt$/, "")}`}>receipt</a>`}</div>`;
}

const Turn = ({ turn, isLast }) => html`<li class=${turn.role}><span class="small muted">${turn.role === "user" ? "You" : "Model"}</span>
  <p class="text">${turn.content}${isLast && running.value && html`<span class="caret" aria-hidden="true"></span>`}</p>
  ${turn.facts && html`<${Facts} ...${turn} />`}${turn.stopped && html`<p class="small muted">stopped</p>`}<${Failure} error=${turn.error} /></li>`;

const set = (name) => (event) => (wishes.value = { ...wishes.value, [name]: event.currentTarget.value });

function Wishes({ models, model }) {
  const longest = (event) => (wishes.value = { ...wishes.value, tokens: Math.max(1, Math.round(event.currentTarget.valueAsNumber) || 256) });
  return html`<div class="fields">
    <label>Model<select value=${model} onChange=${set("model")}>${models.map(({ id }) => html`<option value=${id}>${id}</option>`)}</select></label>
    <label>Answered by<select value=${wishes.value.where} onChange=${set("where")}>${Object.entries(WHERE).map(([key, name]) => html`<option value=${key}>${name}</option>`)}</select></label>
    <label>Longest answer<input type="number" min="1" value=${wishes.value.tokens} onChange=${longest} /></label></div>`;
}

export function Chat() {
  const { value, error } = useAnswer("/v1/models");
  const [text, setText] = useState("");
  const end = useRef(/** @type {any} */ (null));
  useEffect(() => end.current?.scrollIntoView({ block: "nearest" }), [talk.value]);
  const models = value?.data.filter((model) => model.architecture.output_modalities.includes("text"));
  if (!models) return html`<${Page} title="Chat">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  if (models.length === 0) return html`<${Page} title="Chat"><p>No model is here. <a href="#/models">Get one</a> first.</p><//>`;
  const model = models.some(({ id }) => id === wishes.value.model) ? wishes.value.model : models[0].id;
  const say = () => {
    if (!text.trim() || running.value) return;
    ask(text.trim(), model);
    setText("");
  };
  const press = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    say();
  };
  return html`<${Page} title="Chat"><${Wishes} models=${models} model=${model} /><${Failure} error=${error} />
    <div class="talk" role="log" aria-label="Conversation" tabindex="0" aria-busy=${Boolean(running.value)}>
      <ol>${talk.value.map((turn, i) => html`<${Turn} turn=${turn} isLast=${i === talk.value.length - 1} />`)}</ol><div ref=${end}></div></div>
    <div class="say"><label class="grow"><span class="hidden">Message</span>
      <textarea rows="3" placeholder="Ask something. Enter sends, Shift+Enter begins a line." value=${text} onInput=${(event) => setText(event.currentTarget.value)} onKeyDown=${press}></textarea></label>
      <div class="stack">${running.value
        ? html`<button class="danger" onClick=${() => running.value?.abort()}>Stop</button>`
        : html`<button class="main" disabled=${!text.trim()} onClick=${say}>Send</button>`}
        <button class="quiet" disabled=${Boolean(running.value) || talk.value.length === 0} onClick=${() => (talk.value = [])}>Clear</button></div></div>
  <//>`;
}
