// How this node was started, who it is, and what this browser remembers.
import { useAnswer } from "/web/api.mjs";
import { Command, Failure, Page, Panel, Reading, Table, html } from "/web/parts.mjs";
import { theme } from "/web/theme.mjs";
import { choose, purpose } from "/web/pages/home.mjs";

const THEMES = { system: "as the system has it", light: "light", dark: "dark" };

const Browser = () => html`<${Panel} title="This browser"><div class="fields">
  <label>Theme<select value=${theme.value} onChange=${(event) => (theme.value = event.currentTarget.value)}>${Object.entries(THEMES).map(([key, word]) => html`<option value=${key}>${word}</option>`)}</select></label>
  <button disabled=${!purpose.value} onClick=${() => choose(null)}>Ask again what to do first</button></div><//>`;

export function Settings() {
  const { value, error } = useAnswer("/api/v1/settings");
  if (!value) return html`<${Page} title="Settings">${error ? html`<${Failure} error=${error} />` : html`<${Reading} />`}<//>`;
  const who = [["Node", value.node], ["Address", value.address], ["Owner", value.owner], ["Build", value.build]];
  return html`<${Page} title="Settings" lead=${`Talkoo ${value.version}`}><${Failure} error=${error} /><${Browser} />
    <${Panel} title="This node"><${Table} label="identity" heads=${["What", "Id"]} rows=${who.map(([word, id]) => [word, html`<code>${id}</code>`])} />
      <p>The API, for programs of this machine: <a href="#/keys">make a key</a></p><${Command} text=${`http://${value.api}`} /><//>
    <${Panel} title="How it was started"><p class="muted">Flags of <code>talkoo up</code>, also those that were left out. Passphrases, keys and paths of URLs are not shown. To change one, start the node again with it.</p>
      <${Table} label="flags" heads=${["Flag", "Value"]} rows=${value.settings.map((one) => [html`<code>${one.flag}</code>`, one.value])} /><//><//>`;
}
