// A job over time: one lane for each node, one bar for each run or re-run; and all steps as a strip.
import { html, span } from "/web/parts.mjs";

const WIDTH = 1000;
const BAR = 10;
const GAP = 3;
/** What a bar means, by how it ended. */
const ENDS = { open: "under way", done: "answered", lost: "lost, and given to another", equal: "re-run: the same tokens", unequal: "re-run: other tokens" };

/** Puts bars that overlap below one another; answers how many rows that takes. */
function pack(bars) {
  const ends = [];
  for (const bar of bars) {
    const free = ends.findIndex((end) => end <= bar.from);
    bar.row = free < 0 ? ends.length : free;
    ends[bar.row] = bar.to;
  }
  return Math.max(1, ends.length);
}

function Lane({ name, bars, from, scale }) {
  const height = pack(bars) * (BAR + GAP) + GAP;
  const shape = (bar) => html`<rect class=${`bar ${bar.end} ${bar.kind}`} x=${(bar.from - from) * scale} width=${Math.max(2, (bar.to - bar.from) * scale)}
    y=${GAP + bar.row * (BAR + GAP)} height=${BAR}><title>${`step ${bar.step}, ${bar.kind === "check" ? "re-run" : "run"}: ${ENDS[bar.end]}, ${((bar.to - bar.from) / 1000).toFixed(1)} s${bar.why ? `: ${bar.why}` : ""}`}</title></rect>`;
  return html`<div class="lane"><code title=${name}>${name.length > 16 ? `${name.slice(0, 8)}…${name.slice(-4)}` : name}</code>
    <svg role="img" aria-label=${`${name}: ${bars.length} runs`} viewBox=${`0 0 ${WIDTH} ${height}`} height=${height} preserveAspectRatio="none">${bars.map(shape)}</svg></div>`;
}

/** `of`: the spans of `GET /api/v1/jobs/{id}/timeline`. */
export function Gantt({ of: { spans, dropped }, open }) {
  if (spans.length === 0) return html`<p class="muted">Nothing is known: the node was started after this job ran, or the job has not begun.</p>`;
  const now = open ? Date.now() : Math.max(...spans.map((one) => one.to_ms ?? one.from_ms));
  const from = Math.min(...spans.map((one) => one.from_ms));
  const scale = WIDTH / Math.max(1, now - from);
  const lanes = new Map();
  for (const one of spans) {
    const name = one.node ?? "this node";
    const bar = { ...one, from: one.from_ms, to: one.to_ms ?? now };
    lanes.set(name, [...(lanes.get(name) ?? []), bar]);
  }
  const key = Object.entries(ENDS).filter(([end]) => spans.some((one) => one.end === end));
  return html`<div class="gantt">${[...lanes].map(([name, bars]) => html`<${Lane} key=${name} name=${name} bars=${bars} from=${from} scale=${scale} />`)}
    <div class="lane"><span></span><span class="row small muted"><span>0 s</span><span>${span(Math.ceil((now - from) / 1000))}</span></span></div></div>
    <ul class="key small">${key.map(([end, word]) => html`<li><svg class="swatch" viewBox="0 0 12 12" aria-hidden="true"><rect class=${`bar ${end}`} width="12" height="12" /></svg>${word}</li>`)}</ul>
    ${dropped > 0 && html`<p class="small muted">${dropped} older runs are not shown.</p>`}`;
}

const CELLS_MAX = 240;
/** Least done first: a cell of several steps shows the one that keeps it back. */
const ORDER = ["failed", "waiting", "running", "checking", "done"];

/** All steps of a job in their order; many steps share a cell. */
export function Strip({ rows }) {
  const each = Math.ceil(rows.length / CELLS_MAX);
  const cells = [];
  for (let at = 0; at < rows.length; at += each) {
    const some = rows.slice(at, at + each);
    cells.push(ORDER.find((status) => some.some((row) => row.status === status)) ?? "waiting");
  }
  const wide = WIDTH / cells.length;
  const counts = ORDER.map((status) => [rows.filter((row) => row.status === status).length, status]).filter(([count]) => count > 0);
  const words = counts.map(([count, status]) => `${count} ${status}`).join(", ");
  return html`<svg class="strip" role="img" aria-label=${`steps: ${words}`} viewBox=${`0 0 ${WIDTH} 14`} height="14" preserveAspectRatio="none">
    ${cells.map((status, at) => html`<rect class=${`bar ${status}`} x=${at * wide} width=${Math.max(0.5, wide - (cells.length < 120 ? 2 : 0))} height="14"><title>${`steps ${at * each}${each > 1 ? `–${Math.min(rows.length, (at + 1) * each) - 1}` : ""}: ${status}`}</title></rect>`)}</svg>
    <p class="small muted">${words}${each > 1 ? `; ${each} steps in each cell` : ""}</p>`;
}
