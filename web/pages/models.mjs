// The models that are here, how others come, who answers with them.
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { call, listen, useAct, useAnswer } from "/web/api.mjs";
import { Failure, Id, Page, Panel, Reading, Sure, Table, bytes, html } from "/web/parts.mjs";

/** What is on its way, by name: the last `model.…` event of it. */
const coming = signal({});

listen((event) => {
  if (event.type === "model.pulled") {
    // An alias was asked for, the model came under its own name.
    coming.value = Object.fromEntries(Object.entries(coming.value).filter(([name, was]) => name !== event.name && was.total !== event.bytes));
  } else if (/^model\.(pulling|waiting|failed)$/.test(event.type)) {
    coming.value = { ...coming.value, [event.name]: event };
  }
});

const Coming = ({ event }) => html`<div class="coming"><strong>${event.name}</strong>
  ${event.type === "model.pulling" && html`<progress aria-label=${`${event.name} on its way`} value=${event.bytes} max=${event.total || undefined}></progress>
    <span class="small muted">${bytes(event.bytes)} of ${bytes(event.total)} from ${event.from}</span>`}
  ${event.type === "model.waiting" && html`<span class="muted">${event.message}</span>`}
  ${event.type === "model.failed" && html`<${Failure} error=${event} />`}</div>`;

function Pull({ again }) {
  const [name, setName] = useState("");
  const pull = useAct(async () => {
    await call("POST", "/models", { name: name.trim() });
    setName("");
    again();
  });
  const submit = (event) => { event.preventDefault(); pull.run(); };
  return html`<${Panel} title="Get a model"><form class="fields" onSubmit=${submit}>
    <label class="grow">A name of the catalogue, or the path of a GGUF file on the node's machine
      <input list="catalogue" required value=${name} onInput=${(event) => setName(event.currentTarget.value)} placeholder="smollm2" />
      <datalist id="catalogue"><option value="smollm2"></option></datalist></label>
    <button class="main" disabled=${pull.busy || !name.trim()}>Get it</button></form>
    <${Failure} error=${pull.error} />${Object.values(coming.value).map((event) => html`<${Coming} event=${event} />`)}<//>`;
}

function Remove({ name, again }) {
  const remove = useAct(async () => {
    await call("DELETE", `/models/${encodeURIComponent(name)}`);
    again();
  });
  return html`<${Sure} label="Remove" sure=${`Really remove ${name}`} busy=${remove.busy} act=${remove.run} /><${Failure} error=${remove.error} />`;
}

function Endpoints({ name }) {
  const { value, error } = useAnswer(`/v1/models/${encodeURIComponent(name)}/endpoints`);
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const million = (price) => (Number(price) === 0 ? "free" : String(Number((Number(price) * 1e6).toPrecision(6))));
  const row = (one) => [one.tag === "here" ? "this machine" : html`<${Id} of=${one.tag} />`, million(one.pricing.prompt), million(one.pricing.completion),
    one.throughput_last_30m ? `${one.throughput_last_30m.toFixed(0)} tokens/s` : "—", one.slots ?? "—"];
  return html`<${Table} label=${`who answers with ${name}`} heads=${["Node", "Price of a million in", "Of a million out", "Speed", "Slots"]} rows=${value.data.endpoints.map(row)} empty="Nobody offers it." />`;
}

export function Models() {
  const { value, error, again } = useAnswer("/api/v1/models");
  if (!value) return html`<${Page} title="Models">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const row = (model) => [html`<strong>${model.name}</strong>`, bytes(model.bytes), `${model.context} tokens`, html`<${Id} of=${model.root} />`,
    html`<${Id} of=${model.cid} />`, html`<${Remove} name=${model.name} again=${again} />`];
  return html`<${Page} title="Models" lead="A model is one integer program: its root says which."><${Failure} error=${error} />
    <${Panel} title="Here"><${Table} label="models here" heads=${["Name", "Size", "Context", "Program", "File", html`<span class="hidden">Actions</span>`]}
      rows=${value.models.map(row)} empty="None yet." /><//>
    <${Pull} again=${again} />
    ${value.models.map(({ name }) => html`<${Panel} key=${name} title=${`Who answers with ${name}`}><${Endpoints} name=${name} /><//>`)}<//>`;
}
