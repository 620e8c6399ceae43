// What the pages are made of.
import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);

/** A page: its heading gets the focus, so that the keyboard and a screen reader go on there. */
export function Page({ title, lead, children }) {
  const heading = useRef(/** @type {any} */ (null));
  useEffect(() => {
    document.title = `${title} · Talkoo`;
    heading.current.focus({ preventScroll: true });
  }, [title]);
  return html`<header class="head"><h1 tabindex="-1" ref=${heading}>${title}</h1>${lead && html`<p class="muted">${lead}</p>`}</header>${children}`;
}

export const Panel = ({ title, aside, children }) => html`
  <section class="panel"><div class="row"><h2>${title}</h2>${aside}</div>${children}</section>`;

/** A refusal with what to do about it. Words between back-ticks are code. */
export const Failure = ({ error }) => error && html`
  <div class="failure" role="alert"><strong><${Words} text=${error.message} /></strong>
    ${(error.need || error.have) && html`<span>needed ${error.need ?? "—"}, there is ${error.have ?? "—"}</span>`}
    ${error.hint && html`<span>→ <${Words} text=${error.hint} /></span>`}
  </div>`;

export const Words = ({ text }) => String(text ?? "").split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));

/** A command to copy. */
export function Command({ text }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
  };
  return html`<div class="command"><code>${text}</code>
    <button class="quiet" onClick=${copy} aria-label=${`copy ${text.slice(0, 40)}`}>${done ? "copied" : "copy"}</button></div>`;
}

/** A button that asks once more. */
export function Sure({ label, sure, act, busy }) {
  const [asked, setAsked] = useState(false);
  const click = () => {
    if (asked) act();
    setAsked(!asked);
  };
  return html`<button class=${asked ? "danger" : "quiet"} disabled=${busy} onClick=${click} onBlur=${() => setAsked(false)}>${asked ? sure : label}</button>`;
}

/** A day in UTC, as 2026-01-31. */
export const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

/** What is known of an answer. Nothing is called checked that nobody ran again. */
export function Badge({ facts }) {
  const [kind, word, why] = facts.tier === "float"
    ? ["warn", "float", "from an engine of another kind: nobody can compute it again bit for bit"]
    : facts.audited
      ? ["good", "re-run matched", "somebody else computed it again and got the same tokens"]
      : ["plain", facts.rerunnable_until ? `re-runnable until ${day(facts.rerunnable_until)}` : "re-runnable", `whoever runs this program on this prompt and seed gets this answer, bit for bit; nobody has yet${facts.rerunnable_until ? "; this node keeps prompt and receipt until then" : ""}`];
  return html`<span class=${`badge ${kind}`} title=${why}>${word}</span>`;
}

/** A row of figures. */
export const Figures = ({ of }) => html`<dl class="figures">${of.map(([name, value, more]) => html`
  <div><dt>${name}</dt><dd>${value}</dd>${more && html`<dd class="muted small">${more}</dd>`}</div>`)}</dl>`;

/** A table; scrolls by itself if it is too wide. */
export const Table = ({ label, heads, rows, empty }) => rows.length === 0 ? html`<p class="muted">${empty}</p>` : html`
  <div class="wide" role="region" aria-label=${label} tabindex="0"><table><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
  <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;

/** A long name, shortened; whole when pointed at. */
export const Id = ({ of }) => html`<code title=${of}>${of.length > 16 ? `${of.slice(0, 8)}…${of.slice(-4)}` : of}</code>`;

/** The way to older entries of a list and back to the newest. */
export const More = ({ next, at, go }) => (next || at) && html`<p>${at && html`<button class="quiet" onClick=${() => go()}>the newest</button> `}${next && html`<button class="quiet" onClick=${() => go(next)}>older</button>`}</p>`;

/** A moment of the API, in Unix seconds. */
export const when = (seconds) => (seconds > 0 ? new Date(seconds * 1000).toLocaleString() : "—");

export const Reading = () => html`<p class="muted" aria-busy="true">Reading …</p>`;

const UNITS = ["B", "kB", "MB", "GB", "TB"];
export function bytes(n) {
  let unit = 0;
  for (; n >= 1000 && unit < UNITS.length - 1; unit++) n /= 1000;
  return `${n.toFixed(n < 10 && unit ? 1 : 0)} ${UNITS[unit]}`;
}

/** An amount of the API as it is, without idle zeros. */
export const money = (text) => (String(text).includes(".") ? String(text).replace(/\.?0+$/, "") : String(text));

const MICRO = 1_000_000n;

/** Micro-units as tokens of money, exactly. */
export function tokens(micro) {
  const units = BigInt(micro);
  return money(`${units / MICRO}.${String(units % MICRO).padStart(6, "0")}`);
}

export function span(seconds) {
  /** @type {[number, string][]} */
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"]];
  const parts = units.find(([size]) => seconds >= size);
  return parts ? `${Math.floor(seconds / parts[0])} ${parts[1]}` : `${seconds} s`;
}
