// A map of who says where he is: land, and a point for each country with nodes. Nobody's place is looked up.
import { useEffect, useState } from "preact/hooks";
import { html } from "/web/parts.mjs";

/** `nodes`: `{region, own}` of each. */
export function WorldMap({ nodes }) {
  const [world, setWorld] = useState(/** @type {any} */ (undefined));
  // The shapes are some kilobytes that no other page needs.
  useEffect(() => { import("/web/world.mjs").then(setWorld); }, []);
  const counts = new Map();
  for (const { region, own } of nodes) {
    if (!region) continue;
    const had = counts.get(region) ?? { count: 0, own: false };
    counts.set(region, { count: had.count + 1, own: had.own || own });
  }
  const names = new Intl.DisplayNames(["en"], { type: "region" });
  const word = (code, { count, own }) => `${names.of(code)}: ${count} ${count === 1 ? "node" : "nodes"}${own ? ", this one among them" : ""}`;
  const all = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  const silent = nodes.filter(({ region }) => !region).length;
  const told = all.map(([code, of]) => word(code, of)).join("; ");
  return html`${world && html`<svg class="map" role="img" aria-label=${told || "no node says where it is"} viewBox=${`0 0 ${world.WIDTH} ${world.HEIGHT}`}><path d=${world.LAND} />
    ${all.filter(([code]) => world.PLACES[code]).map(([code, of]) => html`<circle key=${code} class=${of.own ? "own" : ""} cx=${world.PLACES[code][0]} cy=${world.PLACES[code][1]} r=${7 + 5 * Math.log2(of.count)}><title>${word(code, of)}</title></circle>`)}</svg>`}
    <p class="small muted">${told ? `${told}. ` : ""}${silent > 0 && `${silent} ${silent === 1 ? "does" : "do"} not say. `}Countries are what owners say (<code>up --region FI</code>); nobody's address is looked up.</p>`;
}
