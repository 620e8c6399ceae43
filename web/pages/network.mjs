// Who is connected, how others reach this node, and how more come.
import { useState } from "preact/hooks";
import { Refusal, call, useAct, useAnswer } from "/web/api.mjs";
import { WorldMap } from "/web/map.mjs";
import { Command, Failure, Id, Page, Panel, Reading, Table, Words, bytes, html } from "/web/parts.mjs";

const UTF8 = new TextDecoder();

/** The addresses that a code leads to: a multiaddress is one, an invite has some, as hexadecimal JSON. */
async function addresses(code) {
  if (code.startsWith("/")) return [code];
  let invite;
  try {
    invite = JSON.parse(UTF8.decode(Uint8Array.from(code.match(/../g) ?? [], (byte) => Number(`0x${byte}`))));
  } catch {
    throw new Refusal({ code: "malformed", message: "the code is neither an invite nor a multiaddress", hint: "copy all of the code that `talkoo invite` printed there" });
  }
  const { network, chain } = await call("GET", "/status");
  if (invite.network !== network || (invite.chain ?? chain) !== chain) {
    throw new Refusal({ code: "disconnected", message: `the invite is for network ${invite.network}, this node is on ${network}`,
      need: `chain ${invite.chain}`, have: `chain ${chain}`, hint: `start this node with \`--network ${invite.network}\`` });
  }
  return invite.at;
}

function Join({ again }) {
  const [code, setCode] = useState("");
  const join = useAct(async () => {
    let no = new Refusal({ code: "malformed", message: "the invite names no address", hint: "the node that made it listens nowhere; ask for a new one" });
    for (const addr of await addresses(code.trim())) {
      try {
        await call("POST", "/peers", { addr });
        setCode("");
        return again();
      } catch (error) {
        no = error;
      }
    }
    throw no;
  });
  const submit = (event) => { event.preventDefault(); join.run(); };
  return html`<form class="fields" onSubmit=${submit}><label class="grow">An invite code or a multiaddress
    <input required value=${code} onInput=${(event) => setCode(event.currentTarget.value)} autocomplete="off" spellcheck="false" /></label>
    <button class="main" disabled=${join.busy || !code.trim()}>${join.busy ? "Connecting …" : "Join"}</button></form><${Failure} error=${join.error} />`;
}

const Finding = ({ of }) => html`<li><span class=${of.good ? "good" : "bad"}>${of.good ? "✓" : "!"}<span class="hidden">${of.good ? " good:" : " amiss:"}</span></span>
  <div>${of.what}${of.fix && html`<p class="muted">→ <${Words} text=${of.fix} /></p>`}</div></li>`;

export function Network() {
  const peers = useAnswer("/api/v1/peers");
  const doctor = useAnswer("/api/v1/doctor");
  const invite = useAnswer("/api/v1/invite");
  const status = useAnswer("/api/v1/status");
  const way = (us) => (us == null ? "—" : `${(us / 1000).toFixed(1)} ms`);
  const offers = (peer) => peer.offers + peer.offers_float;
  const row = (peer) => [html`<${Id} of=${peer.node} />`, peer.region ?? "—", html`<code class="small">${peer.at.split("/p2p/")[0]}</code>`, way(peer.rtt_us), offers(peer), peer.decode_tps == null ? "—" : `${peer.decode_tps} tokens/s`,
    html`<span class=${peer.standing === "good" ? "good" : "bad"}>${peer.standing}</span>`, `${bytes(peer.received_bytes)} / ${bytes(peer.sent_bytes)}`];
  return html`<${Page} title="Network">
    <${Failure} error=${peers.error ?? doctor.error ?? invite.error} />
    <${Panel} title="Peers">${peers.value ? html`<${Table} label="peers" heads=${["Node", "Country", "At", "Round trip", "Models", "Measured", "Standing", "In / out"]}
      rows=${peers.value.peers.map(row)} empty="No peer is connected." />` : html`<${Reading} />`}<${Join} again=${peers.again} /><//>
    <${Panel} title="Where">${peers.value && status.value ? html`<${WorldMap} nodes=${[{ region: status.value.region, own: true }, ...peers.value.peers]} />` : html`<${Reading} />`}<//>
    <${Panel} title="How others reach this node">${doctor.value ? html`<ul class="findings">${doctor.value.findings.map((one) => html`<${Finding} of=${one} />`)}</ul>` : html`<${Reading} />`}<//>
    <${Panel} title="Invite"><p class="muted">On the other machine: <code>talkoo join CODE</code></p>${invite.value && html`<${Command} text=${invite.value.code} />`}<//>
  <//>`;
}
