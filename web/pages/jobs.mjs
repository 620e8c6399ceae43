// The node's jobs, and of one its steps as they happen, and why nodes do not work for it.
import { useState } from "preact/hooks";
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Gantt, Strip } from "/web/gantt.mjs";
import { Failure, Figures, Id, More, Page, Panel, Reading, Sure, Table, html, money, span } from "/web/parts.mjs";

const Progress = ({ job }) => html`<progress aria-label=${`steps done of ${job.job.slice(0, 8)}`} value=${job.done + job.failed} max=${job.steps}></progress>
  <span class="small muted"> ${job.done} of ${job.steps}${job.failed > 0 && html`, <span class="bad">${job.failed} failed</span>`}</span>`;

const WORD = { finished: "good", done: "good", failed: "bad", cancelled: "plain" };
const Status = ({ of }) => html`<span class=${`badge ${WORD[of] ?? "busy"}`}>${of}</span>`;

function All() {
  const [cursor, setCursor] = useState(/** @type {any} */ (undefined));
  const { value, error, again } = useAnswer(`/api/v1/jobs?limit=50${cursor ? `&cursor=${cursor}` : ""}`);
  if (!value) return html`<${Page} title="Jobs">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const row = (job) => [html`<a href=${`#/jobs/${job.job}`}><${Id} of=${job.job} /></a>`, job.model, job.tier, html`<${Status} of=${job.status} />`, html`<${Progress} job=${job} />`];
  return html`<${Page} title="Jobs" lead="Batches that this node has done by others."><${Failure} error=${error} />
    <${Table} label="jobs" heads=${["Job", "Model", "Tier", "Status", "Steps"]} rows=${value.jobs.map(row)} empty="None yet." /><${More} next=${value.next_cursor} at=${cursor} go=${setCursor} />
    <${Post} again=${again} /><//>`;
}

/** A quote, or what a post answered. */
function Told({ of }) {
  const most = (ms) => span(Math.ceil(ms / 1000));
  return html`<div role="status">${of.job
    ? html`<p><a href=${`#/jobs/${of.job}`}>Job ${of.job.slice(0, 8)}</a> is posted, steps: ${of.steps}.</p>`
    : of.workers.length > 0
      ? html`<p>Steps: ${of.steps}, workers: ${of.workers.length}. It takes ${most(of.p50_ms)} or so, ${most(of.p95_ms)} if it goes badly, and costs at most ${money(of.cost)} tokens of money, re-runs apart.</p>`
      : html`<p>Nobody would work for it: ${of.summary}.</p>`}
    ${of.bad.length > 0 && html`<p class="bad">Lines that cannot run:</p><ul class="list">${of.bad.map((line) => html`<li>line ${line.line}: ${line.message}</li>`)}</ul>`}</div>`;
}

function Post({ again }) {
  const [file, setFile] = useState(/** @type {any} */ (undefined));
  const [told, setTold] = useState(/** @type {any} */ (undefined));
  const ask = useAct(async (path) => {
    setTold(undefined);
    setTold(await call("POST", path, { file: await file.text() }));
    again();
  });
  return html`<${Panel} title="Post a batch"><div class="fields"><label class="grow">A file of OpenAI batch lines
      <input type="file" accept=".jsonl" onChange=${(event) => { setFile(event.currentTarget.files[0]); setTold(undefined); }} /></label>
    <button disabled=${ask.busy || !file} onClick=${() => ask.run("/quotes")}>What would it cost?</button>
    <button class="main" disabled=${ask.busy || !file} onClick=${() => ask.run("/jobs")}>Post</button></div>
    <${Failure} error=${ask.error} />${told && html`<${Told} of=${told} />`}<//>`;
}

/** How the answer to a step was looked at. */
const checked = (step) => step.error ? html`<span class="bad">${step.error}</span>`
  : step.doubtful ? html`<span class="bad">its worker lied elsewhere</span>`
    : step.audited === true ? html`<span class="badge good">re-run matched</span>` : step.audited === false ? "not re-run" : "";

function Explained({ id }) {
  const { value, error } = useAnswer(`/api/v1/jobs/${id}/explain`);
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const speed = (tps) => (tps == null ? "not measured" : `${tps} tokens/s`);
  return html`<${Failure} error=${error} />
    <${Table} label="workers" heads=${["Working", "Slots", "Speed"]} rows=${value.working.map((one) => [html`<${Id} of=${one.node} />`, one.slots, speed(one.decode_tps)])}
      empty="Nobody works for it." />
    <${Table} label="other nodes" heads=${["Not working", "Why", "What helps"]} rows=${value.refused.map((one) => [html`<${Id} of=${one.node} />`, one.message, one.hint])}
      empty=${`Peers connected: ${value.peers}; none has been refused.`} />`;
}

function One({ id }) {
  const { value: job, error, again } = useAnswer(`/api/v1/jobs/${id}`);
  const times = useAnswer(`/api/v1/jobs/${id}/timeline`);
  const end = useAct(async () => { await call("DELETE", `/jobs/${id}`); again(); });
  const forget = useAct(async () => { await call("POST", `/jobs/${id}/forget`, {}); location.hash = "#/jobs"; });
  const save = useAct(async () => {
    const { output } = await call("GET", `/jobs/${id}/output`);
    const url = URL.createObjectURL(new Blob([output], { type: "application/jsonl" }));
    Object.assign(document.createElement("a"), { href: url, download: `${id.slice(0, 8)}.jsonl` }).click();
    URL.revokeObjectURL(url);
  });
  const title = `Job ${id.slice(0, 8)}`;
  if (!job) return html`<${Page} title=${title}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const rows = job.rows.map((step) => [step.custom_id, html`<${Status} of=${step.status} />`,
    (step.node ? [step.node] : step.running_on).map((node) => html`<${Id} of=${node} /> `), step.units ?? "", checked(step)]);
  const aside = job.status === "open"
    ? html`<${Sure} label="Cancel" sure="Really cancel" busy=${end.busy} act=${end.run} />`
    : html`<span><button class="quiet" disabled=${save.busy} onClick=${save.run}>Save the answers</button>
      <${Sure} label="Forget" sure="Really delete prompts and answers" busy=${forget.busy} act=${forget.run} /></span>`;
  return html`<${Page} title=${title} lead=${html`${job.model}, ${job.tier}. <a href="#/jobs">All jobs</a>`}><${Failure} error=${error ?? end.error ?? forget.error ?? save.error} />
    <${Figures} of=${[["Status", job.status], ["Running", job.running], ["Being re-run", job.checking], ["Done", `${job.done} of ${job.steps}`], ["Failed", job.failed]]} />
    <${Panel} title="Who did what, and when">${job.rows.length > 0 && html`<${Strip} rows=${job.rows} />`}
      ${times.value ? html`<${Gantt} of=${times.value} open=${job.status === "open"} />` : times.error ? html`<${Failure} error=${times.error} />` : html`<${Reading} />`}<//>
    <${Panel} title="Steps" aside=${aside}><${Table} label="steps" heads=${["Line", "Status", "Node", "Tokens", "Check"]} rows=${rows} empty="It has none." /><//>
    <${Panel} title="Who works for it, and why others do not"><${Explained} id=${id} /><//><//>`;
}

export const Jobs = ({ rest }) => (rest[0] ? html`<${One} id=${rest[0]} />` : html`<${All} />`);
