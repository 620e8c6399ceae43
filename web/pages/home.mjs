// How the node is, and what to do next. The first time it asks one thing.
import { signal } from "@preact/signals";
import { useAnswer } from "/web/api.mjs";
import { Command, Failure, Figures, Id, Page, Panel, Reading, Table, bytes, html, money, span } from "/web/parts.mjs";
import { Waiting } from "/web/pages/keys.mjs";

const KEPT = "talkoo.purpose";
/** What the owner wants first. */
export const purpose = signal(localStorage.getItem(KEPT));

/** Remembers it; nothing asks anew. */
export function choose(word) {
  word ? localStorage.setItem(KEPT, word) : localStorage.removeItem(KEPT);
  purpose.value = word;
}

const PURPOSES = {
  use: ["Use", "Ask models, here or on the network"],
  earn: ["Earn", "Let others use this machine for pay"],
  share: ["Share data", "Seal a dataset and sell access to it"],
  build: ["Build", "Point a program at this node"],
};

const First = () => html`<${Page} title="What do you want to do first?">
  <div class="choices">${Object.entries(PURPOSES).map(([key, [title, what]]) => html`
    <button onClick=${() => choose(key)}><strong>${title}</strong><span class="muted">${what}</span></button>`)}</div>
  <p class="muted">All of it stays possible.</p><//>`;

/** What is between this node and its owner's purpose: the first thing is the next one. */
function steps(status) {
  const model = status.models === 0 && html`<a href="#/models">Get a model</a>: the smallest has 98 MB`;
  const peers = status.peers === 0 && html`<a href="#/network">Join a network</a>: no peer is connected`;
  return {
    use: [model, html`<a href="#/chat">Ask something</a>`, peers],
    earn: [model, !status.providing && html`<a href="#/provide">Offer this machine's compute</a>`, peers,
      status.providing && html`<a href="#/provide">See what keeps work away</a>`],
    share: [html`Seal a file or a folder: <${Command} text="talkoo data add FOLDER" />`,
      html`Say what it costs and for what: <${Command} text="talkoo data publish ID --price 2 --purpose research" />`, peers],
    build: [model, html`<a href="#/keys">Make a key</a> for the program`,
      html`Whatever speaks OpenAI's protocol: <${Command} text=${`export OPENAI_BASE_URL=${location.origin}/v1`} />`],
  }[purpose.value].filter(Boolean);
}

/** The market in a few rows: every model with the cheapest and the quickest of those who offer it. */
function pulse(offers) {
  const models = new Map();
  for (const one of offers) {
    for (const model of one.models) {
      const row = models.get(model.program) ?? { name: model.name ?? model.program, tier: model.tier, nodes: 0, price: Infinity, speed: 0 };
      models.set(model.program, { ...row, nodes: row.nodes + 1, price: Math.min(row.price, Number(one.price_output)), speed: Math.max(row.speed, one.decode_tps_measured ?? model.decode_tps) });
    }
  }
  return [...models.values()].sort((a, b) => b.nodes - a.nodes).slice(0, 8);
}

function Market() {
  const { value, error } = useAnswer("/api/v1/offers?limit=200");
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (one) => [one.name.length > 40 ? html`<${Id} of=${one.name} />` : one.name, one.tier, one.nodes, `${money(one.price)} tokens`, `${one.speed} tokens/s`];
  return html`<${Failure} error=${error} /><${Table} label="offers" heads=${["Model", "Tier", "Nodes", "A million tokens from", "Up to"]} rows=${pulse(value.offers).map(row)} empty="No other node offers anything." />`;
}

export function Home() {
  const { value: status, error } = useAnswer("/api/v1/status");
  if (!PURPOSES[purpose.value]) return html`<${First} />`;
  if (!status) return html`<${Page} title="Home">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  return html`<${Page} title="Home" lead=${html`Node <${Id} of=${status.node} /> on network ${status.network}`}>
    <${Failure} error=${error} />
    <${Figures} of=${[
      ["State", "up", `for ${span(status.uptime_s)}, version ${status.version}`],
      ["Peers", status.peers, status.peers === 0 ? "nobody yet" : "connected"],
      ["Earned", money(status.earned), status.settled_on_chain ? "tokens, paid on a ledger" : "tokens; there is no ledger"],
      ["Providing", status.providing ? "yes" : "no", `${status.slots_taken} runs now`],
      ["Models", status.models, `${bytes(status.block_bytes)} of blocks`],
      ["Open jobs", status.jobs_open],
    ]} />
    <${Panel} title=${`Next: ${PURPOSES[purpose.value][0].toLowerCase()}`} aside=${html`<button class="quiet" onClick=${() => choose(null)}>something else</button>`}>
      <ol class="steps">${steps(status).map((step) => html`<li>${step}</li>`)}</ol><//>
    <${Waiting} /><${Panel} title="On offer"><${Market} /><//>
  <//>`;
}
