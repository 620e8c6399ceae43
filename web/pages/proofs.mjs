// One dispute, move by move; one storage deal with what it has to prove next.
import { useAnswer } from "/web/api.mjs";
import { Failure, Figures, Id, Page, Panel, Reading, Table, bytes, html, tokens, when } from "/web/parts.mjs";

const Back = html`<a href="#/ledger">Ledger</a>`;
const amount = (micro) => (micro == null ? "—" : tokens(micro));
const Waits = ({ title, error }) => html`<${Page} title=${title} lead=${Back}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
const long = (text) => (text == null ? "—" : html`<code>${text}</code>`);

/** How a worker was asked, question by question, and what its claim was. */
export function Dispute({ id }) {
  const { value, error } = useAnswer(`/api/v1/disputes/${id}`);
  if (!value) return html`<${Waits} title="Dispute" error=${error} />`;
  const move = (one) => [when(one.at), one.who, one.text, one.transaction ? html`<a href=${`#/ledger/transactions/${one.transaction}`}><${Id} of=${one.transaction} /></a>` : "", one.block ?? "", one.gas?.toLocaleString() ?? ""];
  const rows = [["Worker", html`<code>${value.node}</code>`], ["Its owner", html`<a href=${`#/ledger/addresses/${value.operator}`}><code>${value.operator}</code></a>`], ["Job", html`<a href=${`#/jobs/${value.job}`}><code>${value.job}</code></a>`],
    ["Lease", long(value.lease)], ["It claimed", long(value.claimed)], ["What is right", long(value.right)]];
  return html`<${Page} title="Dispute" lead=${Back}><${Failure} error=${error} />
    <${Figures} of=${[["State", value.state, value.over ? "over" : "goes on"], ["Questions", value.questions], ["Taken of its bond", amount(value.slashed), "tokens"], ["Back to us", amount(value.refunded), "tokens"], ["Gas", value.gas.toLocaleString(), `${value.transactions} transactions of ours`]]} />
    ${value.why && html`<p>There is no verdict: ${value.why}</p>`}
    <${Panel} title="Moves"><${Table} label="moves" heads=${["When", "Who", "What", "Transaction", "Block", "Gas"]} rows=${value.story.map(move)} empty="None yet." /><//>
    <${Panel} title="Names"><${Table} label="dispute" heads=${["What", "Value"]} rows=${rows} /><//><//>`;
}

/** A deal of ours or of others, found in the list: there is no call for one. */
export function Deal({ id }) {
  const { value, error } = useAnswer("/api/v1/deals");
  if (!value) return html`<${Waits} title="Storage deal" error=${error} />`;
  const ours = value.objects.flatMap((object) => object.replicas.map((one) => ({ ...one, cid: one.cid ?? object.cid, until: object.until, epoch_s: object.epoch_s })));
  const one = [...ours, ...value.kept].find((one) => one.deal === id);
  if (!one) return html`<${Page} title="Storage deal" lead=${Back}><${Failure} error=${{ message: "this node has no such deal", hint: "`talkoo store deals` lists them" }} /><//>`;
  const { challenge } = one;
  const rows = [["Deal", long(one.deal)], ["Object", long(one.cid)], ["Bytes", one.bytes == null ? "—" : bytes(one.bytes)], ["Provider", long(one.node)], ["Its owner", one.owner ? html`<a href=${`#/ledger/addresses/${one.owner}`}><code>${one.owner}</code></a>` : "—"],
    ["Price of an epoch", `${tokens(one.price)} tokens`], ["Collateral", `${tokens(one.collateral)} tokens`], ["Kept until", one.until ? when(one.until) : "—"],
    ["Our own checks", one.checks == null ? "—" : `${one.checks}, the last ${one.checks_failed} failed`]];
  return html`<${Page} title="Storage deal" lead=${Back}><${Failure} error=${error} />
    <${Figures} of=${[["State", one.lost ? html`<span class="bad">given up</span>` : one.state], ["Epochs", `${one.decided} of ${one.epochs}`], ["Proven", one.proven ?? "—"], ["Missed", html`<span class=${one.missed ? "bad" : ""}>${one.missed ?? "—"}</span>`, `${one.missed_in_row} in a row`], ["Nobody could draw", one.void ?? "—"], ["Paid", amount(one.paid), "tokens"]]} />
    <${Panel} title="What has to be proved next">${challenge ? html`<p>Epoch ${challenge.epoch}: ${challenge.draw === "open" ? "the contract has drawn which blocks have to be shown; the provider answers" : "the contract has not drawn yet"}, until ${when(challenge.until)}.</p>` : html`<p class="muted">Nothing now.</p>`}<//>
    <${Panel} title="Names"><${Table} label="deal" heads=${["What", "Value"]} rows=${rows} /><//><//>`;
}
