// Whether this machine works for others, what keeps work away, what it earned.
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Failure, Figures, Id, Page, Panel, Reading, Table, Words, html, money } from "/web/parts.mjs";

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
    <${Panel} title="Why idle">${value.reasons.length === 0 ? html`<p>Nothing keeps work away from here.</p>` : html`<ul class="list">${value.reasons.map((reason) => html`
      <li><strong>${reason.message}</strong>${reason.hint && html`<span class="muted"> → <${Words} text=${reason.hint} /></span>`}</li>`)}</ul>`}<//>
    <${Panel} title="What is offered"><${Table} label="offers" heads=${["Program", "Tier", "Reads", "Writes"]} rows=${offers} empty="Nothing." /><//>
    <${Panel} title="Clients that got nothing"><p><${Words} text=${value.lost.length === 0 ? "None since the start." : value.summary} /></p><//>
  <//>`;
}
