// Keys that the owner gives to programs: made, shown once, revoked.
import { useState } from "preact/hooks";
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Command, Failure, Page, Panel, Reading, Sure, Table, html, money } from "/web/parts.mjs";

const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

function Create({ again }) {
  const [made, setMade] = useState();
  const create = useAct(async (form) => {
    const fields = new FormData(form);
    const number = (name) => (fields.get(name) ? Number(fields.get(name)) : null);
    setMade(await call("POST", "/keys", { name: fields.get("name"), budget: number("budget"), days: number("days") }));
    form.reset();
    again();
  });
  const submit = (event) => { event.preventDefault(); create.run(event.currentTarget); };
  return html`<${Panel} title="Make a key"><form class="fields" onSubmit=${submit}>
    <label class="grow">Name<input name="name" maxlength="128" placeholder="laptop" /></label>
    <label>Budget, in tokens of money<input name="budget" type="number" min="0" step="any" placeholder="no limit" /></label>
    <label>Good for, in days<input name="days" type="number" min="1" max="36500" placeholder="ever" /></label>
    <button class="main" disabled=${create.busy}>Make it</button></form><${Failure} error=${create.error} />
    ${made && html`<div role="status"><p>This is the only time that it is shown:</p><${Command} text=${made.key} />
      <p>A program of OpenAI's protocol:</p><${Command} text=${`export OPENAI_BASE_URL=${location.origin}/v1 OPENAI_API_KEY=${made.key}`} /></div>`}<//>`;
}

function Revoke({ id, again }) {
  const revoke = useAct(async () => { await call("DELETE", `/keys/${encodeURIComponent(id)}`); again(); });
  return html`<${Sure} label="Revoke" sure="Really revoke" busy=${revoke.busy} act=${revoke.run} /><${Failure} error=${revoke.error} />`;
}

export function Keys() {
  const { value, error, again } = useAnswer("/api/v1/keys");
  if (!value) return html`<${Page} title="Keys">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const row = (key) => [html`<code>${key.id}</code>`, key.name, day(key.created), key.expires ? day(key.expires) : "ever", money(key.spent), key.budget ? money(key.budget) : "no limit",
    key.revoked ? "revoked" : html`<${Revoke} id=${key.id} again=${again} />`];
  return html`<${Page} title="Keys" lead="Programs ask this node with a key. The node keeps only its digest."><${Failure} error=${error} />
    <${Panel} title="Given away"><${Table} label="keys" heads=${["Key", "Name", "Made", "Good until", "Spent", "Budget", "State"]} rows=${value.keys.map(row)}
      empty="None: every program on this machine may ask for what costs nothing." /><//>
    <${Create} again=${again} /><//>`;
}
