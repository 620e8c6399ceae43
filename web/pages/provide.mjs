// Whether this machine works for others, what keeps work away, what it earned.
import { useEffect, useState } from "preact/hooks";
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Failure, Figures, Id, Page, Panel, Reading, Table, Words, html, money, when } from "/web/parts.mjs";

/** When the machine is not for others, and what it asks; sent whole, counts at once. */
function Terms({ of: { limits, prices }, again }) {
  const save = useAct(async (event) => {
    const fields = new FormData(event.target);
    const text = (name) => String(fields.get(name) ?? "").trim();
    const number = (name) => (text(name) ? Number(text(name)) : null);
    const price = text("price").split("..").map(Number);
    await call("POST", "/provide", { price, limits: { hours: text("hours").split(/[\s,]+/).filter(Boolean), idle_only: number("idle"), mains_only: fields.has("mains"), celsius_max: number("celsius"),
      reclaim_s: number("reclaim") } });
    again();
  });
  const asked = [...new Set(prices)].map((micro) => Number(micro) / 1e6).join("..");
  return html`<form class="fields" onSubmit=${(event) => { event.preventDefault(); save.run(event); }}>
    <label>Price for a million output tokens, or 0.1..0.5<input name="price" required pattern="[0-9.]+" value=${asked} /></label>
    <label>Only at hours, as 22:00-7:30<input name="hours" value=${limits.hours.join(", ")} /></label>
    <label>Only while others use at most, %<input name="idle" type="number" min="0" max="100" value=${limits.idle_only} /></label>
    <label>Only while no hotter than, °C<input name="celsius" type="number" min="1" max="150" value=${limits.celsius_max} /></label>
    <label>Then work may go on for, s<input name="reclaim" type="number" min="0" max="3600" required value=${limits.reclaim_s} /></label>
    <label class="check"><input name="mains" type="checkbox" checked=${limits.mains_only} /><span>Only on mains power</span></label>
    <button class="main" disabled=${save.busy}>Save</button></form><${Failure} error=${save.error} />`;
}

/** What came in, by day and source; days without income are there, too. */
function Income({ earned }) {
  const [days, setDays] = useState(7);
  const [{ value, error }, setState] = useState(/** @type {{value?: any, error?: any}} */ ({}));
  // A long chain is looked through for it: not with every event, as other answers are.
  useEffect(() => {
    let isGone = false;
    call("GET", `/earnings?days=${days}`).then((value) => isGone || setState({ value }), (error) => isGone || setState((old) => ({ ...old, error })));
    return () => { isGone = true; };
  }, [days, earned]);
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (one) => [one.date ?? "Sum", money(one.inference), money(one.x402), money(one.storage), money(one.data), html`<strong>${money(one.total)}</strong>`];
  return html`<${Failure} error=${error} /><p class="fields"><label>Days<select value=${days} onChange=${(event) => setDays(Number(event.currentTarget.value))}>
      ${[7, 30, 90, 366].map((n) => html`<option value=${n}>${n}</option>`)}</select></label></p>
    <${Table} label="income" heads=${["Day, UTC", "Inference", "By transfer (x402)", "Storage", "Data", "All"]} rows=${[row(value.sum), ...[...value.days].reverse().map(row)]} />
    <p class="small muted">Tokens. Inference is counted since ${when(value.since.inference)}${value.since.ledger == null ? "; without a ledger there is no other income." : `, what stands on the ledger since ${when(value.since.ledger)}.`}</p>`;
}

export function Provide() {
  const { value, error, again } = useAnswer("/api/v1/provide");
  const turn = useAct(async (on) => { await call("POST", "/provide", { on }); again(); });
  if (!value) return html`<${Page} title="Provide">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const offers = value.offers.map((one) => [html`<${Id} of=${one.program} />`, one.tier, `${one.prefill_tps} tokens/s`, `${one.decode_tps} tokens/s`]);
  return html`<${Page} title="Provide" lead="Let others use this machine for pay.">
    <${Failure} error=${error ?? turn.error} />
    <div class="panel row"><span id="offer">Offer this machine's compute</span>
      <button role="switch" aria-labelledby="offer" aria-checked=${value.providing} disabled=${turn.busy} class="switch" onClick=${() => turn.run(!value.providing)}></button></div>
    <${Figures} of=${[["Earned", money(value.earned), "tokens, by what was sold"], ["Working on", value.slots_taken, "runs"], ["Offers", value.offers.length]]} />
    <${Panel} title="Income"><${Income} earned=${value.earned} /><//>
    <${Panel} title="Why idle">${value.reasons.length === 0 ? html`<p>Nothing keeps work away from here.</p>` : html`<ul class="list">${value.reasons.map((reason) => html`
      <li><strong>${reason.message}</strong>${reason.hint && html`<span class="muted"> → <${Words} text=${reason.hint} /></span>`}</li>`)}</ul>`}<//>
    <${Panel} title="Owner first"><${Terms} key=${JSON.stringify([value.limits, value.prices])} of=${value} again=${again} /><//>
    <${Panel} title="What is offered"><${Table} label="offers" heads=${["Program", "Tier", "Reads", "Writes"]} rows=${offers} empty="Nothing." /><//>
    <${Panel} title="Clients that got nothing"><p><${Words} text=${value.lost.length === 0 ? "None since the start." : value.summary} /></p><//>
  <//>`;
}
