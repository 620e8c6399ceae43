// Receipts of what was bought: what each says, and check by check what of it holds.
import { useState } from "preact/hooks";
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Badge, Failure, Figures, Id, More, Page, Panel, Reading, Table, html, day, money, when } from "/web/parts.mjs";

const MARK = { true: ["good", "✓", " holds:"], false: ["bad", "!", " does not hold:"], null: ["muted", "–", " nothing to check:"] };

function Check({ of }) {
  const [kind, mark, word] = MARK[String(of.holds)];
  return html`<li><span class=${kind}>${mark}<span class="hidden">${word}</span></span><div>${of.what}${of.why && html`<p class="muted">${of.why}</p>`}</div></li>`;
}

/** One receipt. */
export function Receipt({ id }) {
  const { value, error } = useAnswer(`/api/v1/receipts/${id}`);
  const [found, setFound] = useState(/** @type {any} */ (undefined));
  const verify = useAct(async () => setFound(await call("POST", "/receipts/verify", { receipt: id })));
  const lead = html`<a href="#/ledger/receipts">All receipts</a>`;
  if (!value) return html`<${Page} title="Receipt" lead=${lead}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const rows = [["Worker", value.worker], ["Client", value.client], ["Model", value.model_root], ["States", value.trace_root], ["Job", value.job], ["File", value.file]];
  return html`<${Page} title="Receipt" lead=${lead}><${Failure} error=${error ?? verify.error} />
    <${Figures} of=${[["State", value.holds ? value.badge : "does not hold", value.why], ["Tokens", value.units ?? "—", value.chunks && `chunks: ${value.chunks}`], ["Tier", value.tier ?? "—"], ["Written", when(value.time), value.rerunnable_until && `prompt and answer are kept here until ${day(value.rerunnable_until)}`]]} />
    <${Panel} title="Does it hold?" aside=${html`<button class="main" disabled=${verify.busy} onClick=${verify.run}>Verify</button>`}>
      ${found ? html`<div role="status"><p><strong class=${found.holds ? "good" : "bad"}>${found.holds ? "All that needs no model holds." : "It does not hold."}</strong></p>
        <ul class="findings">${found.checks.map((one) => html`<${Check} of=${one} />`)}</ul></div>`
        : html`<p class="muted">Signatures, sums and roots are checked here. To compute the answer again: <code>talkoo receipt verify --rerun</code></p>`}<//>
    <${Panel} title="What it says"><${Table} label="receipt" heads=${["What", "Value"]} rows=${rows.filter(([, text]) => text).map(([word, text]) => [word, html`<code>${text}</code>`])} /><//><//>`;
}

/** A page of them. */
export function Receipts() {
  const [cursor, setCursor] = useState(/** @type {any} */ (undefined));
  const { value, error } = useAnswer(`/api/v1/receipts?limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (one) => [html`<a href=${`#/ledger/receipts/${one.id}`}><${Id} of=${one.id} /></a>`, when(one.time), html`<${Id} of=${one.worker} />`,
    one.error ? html`<span class="bad">${one.error}</span>` : one.units, one.amount && money(one.amount), one.tier, one.error ? "" : one.audited || (one.disclosed && one.tier === "exact") ? html`<${Badge} facts=${one} />` : "not re-run"];
  return html`<${Failure} error=${error} /><${Table} label="receipts" heads=${["Receipt", "Written", "Worker", "Tokens", "Paid", "Tier", "Checked"]} rows=${value.receipts.map(row)} empty="None: nothing was bought yet." />
    <${More} next=${value.next_cursor} at=${cursor} go=${setCursor} />`;
}
