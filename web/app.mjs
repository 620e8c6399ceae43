// The frame: who may look, which page, light or dark.
import { h, render } from "preact";
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { follow, live, takeToken, token } from "/web/api.mjs";
import { Command, Page, html } from "/web/parts.mjs";
import { theme } from "/web/theme.mjs";
import { Home } from "/web/pages/home.mjs";
import { Chat } from "/web/pages/chat.mjs";
import { Models } from "/web/pages/models.mjs";
import { Jobs } from "/web/pages/jobs.mjs";
import { Data } from "/web/pages/data.mjs";
import { Provide } from "/web/pages/provide.mjs";
import { Network } from "/web/pages/network.mjs";
import { Ledger } from "/web/pages/ledger.mjs";
import { Keys } from "/web/pages/keys.mjs";
import { Settings } from "/web/pages/settings.mjs";

const PAGES = { "": ["Home", Home], chat: ["Chat", Chat], models: ["Models", Models], jobs: ["Jobs", Jobs], data: ["Data", Data],
  provide: ["Provide", Provide], network: ["Network", Network], ledger: ["Ledger", Ledger], keys: ["Keys", Keys], settings: ["Settings", Settings] };

const place = signal([]);

function arrive() {
  takeToken();
  place.value = location.hash.replace(/^#\/?/, "").split("/");
}

const NEXT = { system: "light", light: "dark", dark: "system" };
const Theme = () => html`<button class="quiet" onClick=${() => (theme.value = NEXT[theme.value])}>Theme: ${theme.value}</button>`;

const Gate = () => html`<main id="main" class="gate"><${Page} title="This is your node's dashboard">
  <p>It opens with the node's token. On the machine where the node runs:</p>
  <${Command} text="talkoo open" />
  <p class="muted">It prints an address; open that in this browser. The token stays in this tab and goes to nobody but the node.</p>
<//></main>`;

const Nowhere = () => html`<${Page} title="There is no such page"><p><a href="#/">Home</a></p><//>`;

function Frame() {
  const [name, ...rest] = place.value;
  const Shown = PAGES[name]?.[1] ?? Nowhere;
  useEffect(() => { follow(); }, []);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <nav aria-label="Pages"><a class="brand" href="#/"><img src="/web/icon.svg" alt="" width="22" height="22" />Talkoo</a>
      <ul>${Object.entries(PAGES).map(([key, [title]]) => html`
        <li><a href=${`#/${key}`} aria-current=${key === name ? "page" : undefined}>${title}</a></li>`)}</ul>
      <div class="foot"><span class=${`dot ${live.value ? "good" : "bad"}`}></span><span class="small muted">${live.value ? "live" : "no connection"}</span><${Theme} /></div>
    </nav>
    <main id="main" tabindex="-1"><${Shown} key=${place.value.join("/")} rest=${rest} /></main>`;
}

const App = () => (token.value ? h(Frame, null) : h(Gate, null));

addEventListener("hashchange", arrive);
arrive();
render(h(App, null), document.body);
