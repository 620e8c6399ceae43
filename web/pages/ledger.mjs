// The chain that this node serves, block by block; receipts, disputes and deals.
import { useState } from "preact/hooks";
import { useAnswer } from "/web/api.mjs";
import { Failure, Figures, Id, More, Page, Panel, Reading, Table, html, money, tokens, when } from "/web/parts.mjs";
import { Deal, Dispute } from "/web/pages/proofs.mjs";
import { Receipt, Receipts } from "/web/pages/receipts.mjs";

const BASE = "#/ledger";
const Block = ({ of }) => html`<a href=${`${BASE}/blocks/${of}`}>${of}</a>`;
const Transaction = ({ of }) => html`<a href=${`${BASE}/transactions/${of}`}><${Id} of=${of} /></a>`;
const Address = ({ of, name }) => of ? html`<a href=${`${BASE}/addresses/${of}`}>${name ?? html`<${Id} of=${of} />`}</a>` : "a new contract";
const asked = (cursor) => (cursor ? `&cursor=${encodeURIComponent(cursor)}` : "");
const Back = html`<a href=${BASE}>Ledger</a>`;

/** Where a number, a hash or an address leads to. */
function target(text) {
  if (/^\d+$/.test(text)) return `${BASE}/blocks/${text}`;
  if (/^0x[0-9a-fA-F]{40}$/.test(text)) return `${BASE}/addresses/${text}`;
  if (/^0x[0-9a-fA-F]{64}$/.test(text)) return `${BASE}/transactions/${text}`;
  if (/^[\w-]+\/[\w-]+$/.test(text)) return `${BASE}/receipts/${text}`;
}

function Find() {
  const [text, setText] = useState("");
  const [error, setError] = useState(/** @type {any} */ (undefined));
  const submit = (event) => {
    event.preventDefault();
    const to = target(text.trim());
    if (to) location.hash = to;
    else setError({ message: "this is no block, transaction, address or receipt", hint: "a number, 0x and 64 or 40 hexadecimal digits, or JOB/STEP-LEASE" });
  };
  return html`<form class="fields" onSubmit=${submit}><label class="grow">A block's number, a transaction, an address or a receipt
    <input required value=${text} spellcheck="false" autocomplete="off" onInput=${(event) => { setText(event.currentTarget.value); setError(undefined); }} /></label><button disabled=${!text.trim()}>Look</button></form><${Failure} error=${error} />`;
}

function Blocks() {
  const [cursor, setCursor] = useState(/** @type {any} */ (undefined));
  const { value, error } = useAnswer(`/api/v1/ledger/blocks?limit=10${asked(cursor)}`);
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (one) => [html`<${Block} of=${one.number} />`, when(one.time), one.transactions, one.gas_used.toLocaleString(), html`<${Address} of=${one.proposer} />`];
  return html`<${Failure} error=${error} /><${Table} label="blocks" heads=${["Block", "Made", "Transactions", "Gas", "Proposer"]} rows=${value.blocks.map(row)} empty="None." />
    <${More} next=${value.next_cursor} at=${cursor} go=${setCursor} />`;
}

function Chain() {
  const { value, error } = useAnswer("/api/v1/ledger");
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  return html`<${Failure} error=${error} /><${Figures} of=${[["Block", value.height, "the last one, final as all are"], ["Chain", value.chain], ["For wallets", value.rpc]]} />
    <${Panel} title="Look up"><${Find} /><//><${Panel} title="Blocks"><${Blocks} /><//>
    <${Panel} title="Contracts"><${Table} label="contracts" heads=${["Contract", "Address"]} rows=${value.contracts.map((one) => [html`<${Address} of=${one.address} name=${one.name} />`, html`<code>${one.address}</code>`])} /><//>`;
}

function Disputes() {
  const { value, error } = useAnswer("/api/v1/disputes");
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (one) => [html`<a href=${`${BASE}/disputes/${one.id}`}><${Id} of=${one.id} /></a>`, html`<${Id} of=${one.node} />`, when(one.begun), one.state, one.questions, one.transactions];
  return html`<${Failure} error=${error} /><${Table} label="disputes" heads=${["Dispute", "Worker", "Begun", "State", "Questions", "Transactions"]} rows=${value.disputes.map(row)} empty="None: no worker was refuted by this node's engine." />`;
}

function Deals() {
  const { value, error } = useAnswer("/api/v1/deals");
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (whose, cid) => (one) => [html`<a href=${`${BASE}/deals/${one.deal}`}><${Id} of=${one.deal} /></a>`, whose, html`<${Id} of=${one.cid ?? cid ?? "—"} />`, one.state, `${one.decided} of ${one.epochs}`,
    html`${one.proven ?? "—"} / <span class=${one.missed ? "bad" : ""}>${one.missed ?? "—"}</span>`, one.paid == null ? "—" : tokens(one.paid)];
  const rows = [...value.objects.flatMap((object) => object.replicas.map(row("kept for us", object.cid))), ...value.kept.map(row("kept for others"))];
  return html`<${Failure} error=${error} /><${Table} label="deals" heads=${["Deal", "Whose", "Object", "State", "Epochs", "Proven / missed", "Paid, in tokens"]} rows=${rows} empty="None: nothing is kept for pay, here or for this node." />`;
}

function Whole() {
  const { value, error } = useAnswer("/api/v1/settings");
  if (!value) return html`<${Page} title="Ledger">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const ledger = value.settings.find((one) => one.flag === "--ledger").value;
  return html`<${Page} title="Ledger" lead="What was promised, paid and proved."><${Failure} error=${error} />
    ${ledger === "own" ? html`<${Chain} />` : html`<${Panel} title="No chain here"><p>${ledger === "off" ? "This node has no ledger: vouchers are kept, and worth what the client's word is." : `This node's ledger is at ${ledger}: ask that node for blocks.`}
      <span class="muted"> → <code>talkoo up --ledger own</code> serves a chain.</span></p><//>`}
    <${Panel} title="Receipts"><${Receipts} /><//>
    ${ledger !== "off" && html`<${Panel} title="Disputes"><${Disputes} /><//><${Panel} title="Storage deals"><${Deals} /><//>`}<//>`;
}

function OneBlock({ id }) {
  const [cursor, setCursor] = useState(/** @type {any} */ (undefined));
  const { value, error } = useAnswer(`/api/v1/ledger/blocks/${id}?limit=50${asked(cursor)}`);
  if (!value) return html`<${Page} title="Block" lead=${Back}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const { block } = value;
  const rows = [["Hash", html`<code>${block.hash}</code>`], ["Before it", html`<a href=${`${BASE}/blocks/${value.parent}`}><code>${value.parent}</code></a>`], ["State", html`<code>${value.state_root}</code>`], ["Proposer", html`<${Address} of=${block.proposer} />`]];
  const row = (one) => [html`<${Transaction} of=${one.hash} />`, html`<${Address} of=${one.from} />`, html`<${Address} of=${one.to} name=${one.contract} />`, html`<code>${one.function ?? ""}</code>`, money(one.value)];
  return html`<${Page} title=${`Block ${block.number}`} lead=${Back}><${Failure} error=${error} />
    <${Figures} of=${[["Made", when(block.time)], ["Signed by", value.signatures ?? "—", value.signatures == null ? "the first block needs none" : "validators"], ["Gas", block.gas_used.toLocaleString(), `of ${value.gas_limit.toLocaleString()}`], ["Bytes", value.bytes.toLocaleString()]]} />
    <${Panel} title="Transactions"><${Table} label="transactions" heads=${["Transaction", "From", "To", "Calls", "Pays"]} rows=${value.transactions.map(row)} empty="None." /><${More} next=${value.next_cursor} at=${cursor} go=${setCursor} /><//>
    <${Panel} title="Names"><${Table} label="block" heads=${["What", "Value"]} rows=${rows} /><//><//>`;
}

function OneTransaction({ id }) {
  const { value, error } = useAnswer(`/api/v1/ledger/transactions/${id}`);
  if (!value) return html`<${Page} title="Transaction" lead=${Back}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const { transaction: one } = value;
  const rows = [["Hash", html`<code>${one.hash}</code>`], ["From", html`<${Address} of=${one.from} />`], ["To", html`<${Address} of=${one.to} name=${one.contract} />`], ["Calls", html`<code>${one.function ?? "—"}</code>`],
    ["Pays", `${money(one.value)} of gas money`], ["Fee", value.fee ? `${money(value.fee)} of gas money` : "—"], ["Block", value.block == null ? "it waits" : html`<${Block} of=${value.block} />`], value.made && ["Made", html`<${Address} of=${value.made} />`],
    ["Input", html`<span class="muted">${value.input_bytes.toLocaleString()} bytes</span>`]].filter(Boolean);
  const event = (it) => [html`<${Address} of=${it.address} name=${it.contract} />`, it.event ? html`<code>${it.event}</code>` : it.topics[0] ? html`<${Id} of=${it.topics[0]} />` : "—", it.topics.slice(1).map((topic) => html`<${Id} of=${topic} /> `)];
  return html`<${Page} title="Transaction" lead=${Back}><${Failure} error=${error} />
    <${Figures} of=${[["State", html`<span class=${value.status === "reverted" ? "bad" : ""}>${value.status}</span>`], ["Made", value.time ? when(value.time) : "—"], ["Gas", value.gas_used?.toLocaleString() ?? "—", `of ${value.gas_limit.toLocaleString()}`], ["Nonce", value.nonce]]} />
    <${Panel} title="What it does"><${Table} label="transaction" heads=${["What", "Value"]} rows=${rows} /><//>
    <${Panel} title="Events"><${Table} label="events" heads=${["Contract", "Event", "Topics"]} rows=${value.events.map(event)} empty="None." />${value.events_left > 0 && html`<p class="muted">and ${value.events_left} more</p>`}<//><//>`;
}

function OneAddress({ id }) {
  const { value, error } = useAnswer(`/api/v1/ledger/addresses/${id}`);
  if (!value) return html`<${Page} title="Address" lead=${Back}>${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  return html`<${Page} title=${value.contract ? `Contract ${value.contract}` : value.is_contract ? "Contract" : "Address"} lead=${Back}><${Failure} error=${error} /><p><code>${value.address}</code></p>
    <${Figures} of=${[["Money", money(value.money), "tokens"], ["Stake", money(value.stake), "tokens that are not bonded"], ["Gas", money(value.gas)], ["Sent", value.nonce, "transactions"]]} /><//>`;
}

const ONE = { deals: Deal, disputes: Dispute, blocks: OneBlock, transactions: OneTransaction, addresses: OneAddress, receipts: Receipt };

const All = () => html`<${Page} title="Receipts" lead=${Back}><${Panel} title="The newest first"><${Receipts} /><//><//>`;

export function Ledger({ rest: [kind, ...id] }) {
  const One = ONE[kind];
  if (One && id.length > 0) return html`<${One} id=${id.map(encodeURIComponent).join("/")} />`;
  return kind === "receipts" ? html`<${All} />` : html`<${Whole} />`;
}
