// Keys that the owner gives to programs: what each may do and pay, made, shown once, revoked; payments that wait.
import { useState } from "preact/hooks";
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Command, Failure, Figures, Id, Page, Panel, Reading, Sure, Table, html, money, when } from "/web/parts.mjs";

const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

const SCOPES = { inference: "answers, vectors, models", batch: "files and batches", data: "find and read sealed data", wallet: "see the wallet, pay by the policy", mcp: "the Model Context Protocol" };
const ASSETS = ["money", "stake", "gas"];

/** The body of a request from a form; what is empty is left out. */
function order(form) {
  const fields = new FormData(form);
  const text = (name) => String(fields.get(name) ?? "").trim() || undefined;
  const number = (name) => (text(name) ? Number(text(name)) : undefined);
  const scopes = fields.getAll("scopes");
  const pays = text("per_payment") || text("per_day");
  return { name: text("name"), budget: number("budget"), days: number("days"), rate: number("rate"), scopes: scopes.length ? scopes : undefined,
    per_payment: text("per_payment"), per_day: text("per_day"), approve_above: text("approve_above"), policy_days: number("policy_days"),
    allow: text("allow")?.split(/[\s,]+/), asset: pays ? text("asset") : undefined };
}

const Scopes = () => html`<fieldset><legend>It may do</legend>${Object.entries(SCOPES).map(([name, what]) => html`
  <label class="check"><input type="checkbox" name="scopes" value=${name} checked=${name === "inference" || name === "batch"} /><span>${name} <span class="muted">${what}</span></span></label>`)}</fieldset>`;

const Policy = () => html`<details><summary>It may pay</summary><div class="fields">
  <label>With<select name="asset">${ASSETS.map((word) => html`<option value=${word}>${word}</option>`)}</select></label>
  <label>At most at once<input name="per_payment" inputmode="decimal" placeholder="0.50" /></label>
  <label>At most in 24 hours<input name="per_day" inputmode="decimal" placeholder="2.00" /></label>
  <label>Ask me above<input name="approve_above" inputmode="decimal" placeholder="never" /></label>
  <label>For so many days<input name="policy_days" type="number" min="1" max="36500" placeholder="ever" /></label>
  <label class="grow">Only to these addresses<input name="allow" placeholder="0x… 0x…" spellcheck="false" /></label></div></details>`;

function Create({ again }) {
  const [made, setMade] = useState(/** @type {any} */ (undefined));
  const create = useAct(async (form) => {
    setMade(await call("POST", "/keys", order(form)));
    form.reset();
    again();
  });
  const submit = (event) => { event.preventDefault(); create.run(event.currentTarget); };
  return html`<${Panel} title="Make a key"><form class="stack" onSubmit=${submit}><div class="fields">
    <label class="grow">Name<input name="name" maxlength="128" placeholder="laptop" /></label>
    <label>Budget, in tokens of money<input name="budget" type="number" min="0" step="any" placeholder="no limit" /></label>
    <label>Good for, in days<input name="days" type="number" min="1" max="36500" placeholder="ever" /></label>
    <label>Requests in a minute<input name="rate" type="number" min="1" max="1000000" placeholder="no limit" /></label></div>
    <${Scopes} /><${Policy} /><p><button class="main" disabled=${create.busy}>Make it</button></p></form><${Failure} error=${create.error} />
    ${made && html`<div role="status"><p>This is the only time that it is shown:</p><${Command} text=${made.key} />
      <p>A program of OpenAI's protocol:</p><${Command} text=${`export OPENAI_BASE_URL=${location.origin}/v1 OPENAI_API_KEY=${made.key}`} /></div>`}<//>`;
}

function Revoke({ id, again }) {
  const revoke = useAct(async () => { await call("DELETE", `/keys/${encodeURIComponent(id)}`); again(); });
  return html`<${Sure} label="Revoke" sure="Really revoke" busy=${revoke.busy} act=${revoke.run} /><${Failure} error=${revoke.error} />`;
}

function Answer({ id, again }) {
  const act = useAct(async (method) => { await call(method, `/approvals/${encodeURIComponent(id)}`); again(); });
  return html`<div class="coming"><button disabled=${act.busy} onClick=${() => act.run("POST")}>Approve</button><${Sure} label="Refuse" sure="Really refuse" busy=${act.busy} act=${() => act.run("DELETE")} /></div><${Failure} error=${act.error} />`;
}

/** Payments of keys that wait for the owner; nothing if none does. */
export function Waiting() {
  const { value, error, again } = useAnswer("/api/v1/approvals");
  if (!value?.approvals.length) return html`<${Failure} error=${error} />`;
  const row = (one) => [html`<a href=${`#/keys/${one.key}`}>${one.key}</a>`, `${money(one.amount)} ${one.asset}`, html`<${Id} of=${one.to} />`, one.why, when(one.expires), html`<${Answer} id=${one.id} again=${again} />`];
  return html`<${Panel} title="Waiting for your word"><${Failure} error=${error} /><${Table} label="approvals" heads=${["Key", "Wants to pay", "To", "What for, in its words", "Until", "Your word"]} rows=${value.approvals.map(row)} /><//>`;
}

function One({ id }) {
  const { value, error } = useAnswer(`/api/v1/keys/${encodeURIComponent(id)}`);
  const audit = useAnswer(`/api/v1/keys/${encodeURIComponent(id)}/audit`);
  const lead = html`<a href="#/keys">All keys</a>`;
  if (!value) return html`<${Page} title="Key" lead=${lead}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const { policy } = value;
  const may = policy && [["With", policy.asset], ["At once", money(policy.per_payment)], ["In 24 hours", `${money(policy.per_day)}, ${money(value.paid)} paid`], ["Asks above", policy.approve_above ? money(policy.approve_above) : "never"],
    ["To", policy.allow.length ? policy.allow.map((to) => html`<code>${to}</code> `) : "nobody"], ["Until", policy.expires ? day(policy.expires) : "ever"]];
  const decision = (one) => [when(one.time), one.decision, `${money(one.amount)} ${one.asset}`, html`<${Id} of=${one.to} />`, one.why, one.rule ?? (one.transaction ? html`<${Id} of=${one.transaction} />` : "")];
  return html`<${Page} title=${value.name ? `Key ${value.name}` : `Key ${value.id}`} lead=${lead}><${Failure} error=${error ?? audit.error} />
    <${Figures} of=${[["State", value.revoked ? "revoked" : "good", value.expires ? `until ${day(value.expires)}` : "for ever"], ["Spent", money(value.spent), value.budget ? `of ${money(value.budget)}` : "no limit"], ["Requests", value.rate || "any number", value.rate ? "in a minute" : ""], ["May do", value.scopes.join(", ")]]} />
    <${Panel} title="May pay">${may ? html`<${Table} label="policy" heads=${["What", "Value"]} rows=${may} />` : html`<p class="muted">Nothing: it has no policy. <code>talkoo key set ${value.id}</code> gives it one.</p>`}<//>
    <${Panel} title="What was decided about its payments">${audit.value ? html`<${Table} label="decisions" heads=${["When", "Decision", "Amount", "To", "What for", "Rule, or transaction"]} rows=${audit.value.decisions.map(decision)} empty="Nothing yet." />` : html`<${Reading} />`}<//><//>`;
}

function All() {
  const { value, error, again } = useAnswer("/api/v1/keys");
  if (!value) return html`<${Page} title="Keys">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const row = (key) => [html`<a href=${`#/keys/${key.id}`}><code>${key.id}</code></a>`, key.name, key.scopes.join(", "), key.expires ? day(key.expires) : "ever", money(key.spent), key.budget ? money(key.budget) : "no limit",
    key.revoked ? "revoked" : html`<${Revoke} id=${key.id} again=${again} />`];
  return html`<${Page} title="Keys" lead="Programs ask this node with a key. The node keeps only its digest."><${Failure} error=${error} /><${Waiting} />
    <${Panel} title="Given away"><${Table} label="keys" heads=${["Key", "Name", "May do", "Good until", "Spent", "Budget", "State"]} rows=${value.keys.map(row)}
      empty="None: every program on this machine may ask for what costs nothing." /><//>
    <${Create} again=${again} /><//>`;
}

export const Keys = ({ rest: [id] }) => (id ? html`<${One} id=${id} />` : html`<${All} />`);
