// Sealed data: one's own, what was bought, who bought, and the log of all that happened to keys.
import { useState } from "preact/hooks";
import { call, useAct, useAnswer } from "/web/api.mjs";
import { Failure, Id, Page, Panel, Reading, Sure, Table, bytes, html, tokens, when } from "/web/parts.mjs";

const MICRO = 1_000_000n;

/** Tokens of money as micro-units; nothing if it is no amount. */
function micro(text) {
  const [, whole, part = ""] = /^(\d+)(?:\.(\d{1,6}))?$/.exec(text.trim()) ?? [];
  return whole === undefined ? undefined : String(BigInt(whole) * MICRO + BigInt(part.padEnd(6, "0")));
}

function Seal({ again }) {
  const [path, setPath] = useState("");
  const seal = useAct(async () => { await call("POST", "/data", { path: path.trim() }); setPath(""); again(); });
  const submit = (event) => { event.preventDefault(); seal.run(); };
  return html`<form class="fields" onSubmit=${submit}><label class="grow">A file or folder of the node's machine, from the root on
    <input required value=${path} placeholder="/home/me/bird-songs" spellcheck="false" onInput=${(event) => setPath(event.currentTarget.value)} /></label>
    <button class="main" disabled=${seal.busy || !path.trim()}>${seal.busy ? "Sealing …" : "Seal it"}</button></form><${Failure} error=${seal.error} />`;
}

/** What an owner says becomes public first as a draft: nothing is taken back. */
function Publish({ own, again }) {
  const open = own.filter((one) => one.version == null);
  const [terms, setTerms] = useState({ id: "", name: "", title: "", licence: "", purpose: "", price: "", per_query: "", on_request: false });
  const [draft, setDraft] = useState(/** @type {any} */ (undefined));
  const body = () => {
    const amount = (text) => {
      const units = text.trim() ? micro(text) : undefined;
      if (text.trim() && units === undefined) throw { message: `${text} is no amount`, hint: "a number with at most 6 digits behind the point" };
      return units;
    };
    const [price, per_query] = [amount(terms.price), amount(terms.per_query)];
    return { id: terms.id || open[0].id, name: terms.name, title: terms.title, licence: terms.licence, purposes: terms.purpose ? [terms.purpose] : [], price, per_query, on_request: terms.on_request };
  };
  const look = useAct(async () => setDraft(await call("POST", "/data-publish", { ...body(), dry: true })));
  const publish = useAct(async () => { await call("POST", "/data-publish", body()); setDraft(undefined); again(); });
  if (open.length === 0) return html`<p class="muted">All that is sealed here is published.</p>`;
  const field = (key, word, hint) => html`<label>${word}<input value=${terms[key]} placeholder=${hint ?? ""} onInput=${(event) => { setDraft(undefined); setTerms({ ...terms, [key]: event.currentTarget.value }); }} /></label>`;
  return html`<div class="fields"><label>What<select value=${terms.id} onChange=${(event) => { setDraft(undefined); setTerms({ ...terms, id: event.currentTarget.value }); }}>
      ${open.map((one) => html`<option value=${one.id}>${one.label || one.id}</option>`)}</select></label>
    ${field("name", "Name", "bird-songs")}${field("title", "Title")}${field("licence", "Licence", "CC-BY-NC-4.0")}${field("purpose", "May be used for", "research")}${field("price", "Price in tokens, none: not for sale", "2.50")}${field("per_query", "Of one use, in tokens", "0.001")}
    <label><input type="checkbox" checked=${terms.on_request} onChange=${(event) => { setDraft(undefined); setTerms({ ...terms, on_request: event.currentTarget.checked }); }} /> Each sale waits for my word</label>
    <button disabled=${look.busy} onClick=${look.run}>What becomes public?</button></div>
    <${Failure} error=${look.error ?? publish.error} />
    ${draft && html`<div class="stack" role="status"><p>This becomes public, and cannot be taken back:</p><pre class="wide" tabindex="0">${JSON.stringify(draft.public, null, 2)}</pre>
      <p class="muted">${draft.retained}</p><p><button class="main" disabled=${publish.busy} onClick=${publish.run}>${publish.busy ? "Publishing …" : "Publish it"}</button></p></div>`}`;
}

/** What others say of a version, and its purchase. */
function Buy({ again }) {
  const [id, setId] = useState("");
  const [found, setFound] = useState(/** @type {any} */ (undefined));
  const look = useAct(async () => { setFound(undefined); setFound(await call("POST", "/data-show", { id: id.trim() })); });
  const buy = useAct(async (offer) => { await call("POST", "/data-buy", { id: id.trim(), offer }); setFound(undefined); again(); });
  const submit = (event) => { event.preventDefault(); look.run(); };
  const offers = found?.offers.filter((one) => one.open) ?? [];
  return html`<form class="fields" onSubmit=${submit}><label class="grow">OWNER/NAME, the number of an asset, or a manifest's CID
    <input required value=${id} spellcheck="false" onInput=${(event) => { setFound(undefined); setId(event.currentTarget.value); }} /></label><button disabled=${look.busy || !id.trim()}>Look</button></form>
    <${Failure} error=${look.error ?? buy.error} />
    ${found && html`<div class="stack" role="status"><p><strong>${found.says.title || found.says.name || `asset ${found.asset}`}</strong> ${found.says.description}</p>
      <p class="muted">Licence ${found.says.licence || "not named"}; for ${found.says.purposes.join(", ") || "no named purpose"}; ${bytes(found.says.sealed_bytes)} sealed; by <${Id} of=${found.says.owner} /></p>
      ${offers.length > 0 ? offers.map((offer) => html`<p><button class="main" disabled=${buy.busy} onClick=${() => buy.run(offer.offer)}>${buy.busy ? "Paying …" : `Buy for ${tokens(offer.price)} tokens`}</button>
        <span class="small muted"> On hold until the key is here; back if that takes longer than ${Math.ceil(offer.deliver_s / 3600)} h. ${offer.uses_most > 0 ? `Uses: ${offer.uses_most}.` : ""}</span></p>`)
    : html`<p class="muted">It is not for sale now.</p>`}</div>`}`;
}

function Get({ grant, version }) {
  const [path, setPath] = useState("");
  const get = useAct(async () => { const { path: at } = await call("POST", "/data-get", { id: grant > 0 ? `#${grant}` : version, path: path.trim() }); setPath(`${at} is there`); });
  const submit = (event) => { event.preventDefault(); get.run(); };
  return html`<form class="fields" onSubmit=${submit}><label>Write it to<input required value=${path} placeholder="/home/me/songs" spellcheck="false" onInput=${(event) => setPath(event.currentTarget.value)} /></label>
    <button class="quiet" disabled=${get.busy}>Write</button></form><${Failure} error=${get.error} />`;
}

/** A paid grant that waits for the owner's word. */
function Word({ one, again }) {
  const [why, setWhy] = useState("");
  const approve = useAct(async () => { await call("POST", "/data-approve", { grant: one.grant }); again(); });
  const refuse = useAct(async () => { await call("POST", "/data-refuse", { grant: one.grant, why: why.trim() }); again(); });
  return html`<div class="fields"><button class="main" disabled=${approve.busy || refuse.busy} onClick=${approve.run}>Approve</button>
    <label>Reason of a refusal<input value=${why} maxlength="200" onInput=${(event) => setWhy(event.currentTarget.value)} /></label>
    <button class="quiet" disabled=${approve.busy || refuse.busy} onClick=${refuse.run}>Refuse</button></div><${Failure} error=${approve.error ?? refuse.error} />`;
}

/** How a grant stands, in the owner's eyes. */
function standing(one) {
  if (one.answer === "waits") return html`<strong>waits for your word</strong>${one.node && html` of node <${Id} of=${one.node} />`}${one.purpose && ` for ${one.purpose}`}`;
  if (one.answer === "refused") return `${one.state}; you refused it${one.why ? `: ${one.why}` : ""}`;
  return one.state;
}

function Requests() {
  const { value, error, again } = useAnswer("/api/v1/data-requests");
  const revoke = useAct(async (grant) => { await call("POST", "/data-revoke", { grant }); again(); });
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const row = (one) => [`#${one.grant}`, html`<${Id} of=${one.grantee} />`, tokens(one.price), standing(one), when(one.end), `${one.uses}${one.uses_most > 0 ? ` of ${one.uses_most}` : ""}`,
    one.answer === "waits" ? html`<${Word} one=${one} again=${again} />` : one.state === "granted" ? html`<${Sure} label="Revoke" sure="Really end it" busy=${revoke.busy} act=${() => revoke.run(one.grant)} />` : ""];
  return html`<${Failure} error=${error ?? revoke.error} />
    <${Table} label="grants" heads=${["Grant", "Who", "Paid", "State", "Until", "Uses", "Action"]} rows=${value.grants.map(row)} empty="Nobody has bought anything yet." />`;
}

function Audit() {
  const { value, error } = useAnswer("/api/v1/data-audit");
  const [checked, setChecked] = useState(/** @type {any} */ (undefined));
  const check = useAct(async () => setChecked(await call("GET", "/data-audit?verify=true")));
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<${Reading} />`;
  const lines = [...value.lines].reverse().slice(0, 50);
  const row = (line) => [line.n, when(line.at), line.what, html`<code class="small">${JSON.stringify(line.about)}</code>`];
  return html`<${Failure} error=${error ?? check.error} /><${Table} label="log" heads=${["Line", "When", "What", "About"]} rows=${lines.map(row)} empty="Nothing happened yet." />
    <p><button class="quiet" disabled=${check.busy} onClick=${check.run}>Check that nobody changed it</button>
      ${checked && html` <span role="status" class="good">${checked.lines} lines, as they were written</span>`}</p>`;
}

export function Data() {
  const { value, error, again } = useAnswer("/api/v1/data");
  if (!value) return html`<${Page} title="Data">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const own = (one) => [one.label || html`<${Id} of=${one.id} />`, one.kind, bytes(one.bytes), one.version ? html`asset ${one.asset} <${Id} of=${one.version} />${one.on_request ? ", on request" : ""}` : html`<span class="muted">only here, sealed</span>`];
  const bought = (one) => [one.grant > 0 ? `#${one.grant}` : "a gift", html`<${Id} of=${one.version} />`,
    one.over ? html`<span class="bad">${one.over}</span>` : one.here ? html`<span class="good">here</span>` : one.key ? "the key is here, the data comes" : `waits for ${one.waits}`,
    one.here && !one.over ? html`<${Get} grant=${one.grant} version=${one.version} />` : ""];
  return html`<${Page} title="Data" lead="What is sealed here, and what was bought. Who has a key can keep what it read."><${Failure} error=${error} />
    <${Panel} title="Mine"><${Table} label="own data" heads=${["What", "Kind", "Size", "Published"]} rows=${value.own.map(own)} empty="Nothing is sealed here yet." /><${Seal} again=${again} /><//>
    ${value.own.length > 0 && html`<${Panel} title="Publish, and sell"><${Publish} own=${value.own} again=${again} /><//>`}
    <${Panel} title="Who bought"><${Requests} /><//>
    <${Panel} title="Bought"><${Table} label="bought data" heads=${["Grant", "Version", "State", "Action"]} rows=${value.bought.map(bought)} empty="Nothing." /><${Buy} again=${again} /><//>
    <${Panel} title="Log"><${Audit} /><//><//>`;
}
