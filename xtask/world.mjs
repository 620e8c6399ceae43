// Makes web/world.mjs: the land of the earth as one path, and a point for each country.
// usage: npm i world-atlas@2.0.2 topojson-client@3.1.0 i18n-iso-countries@7.14.0, then node xtask/world.mjs FOLDER_WITH_NODE_MODULES > web/world.mjs
// Natural Earth's shapes (public domain), equirectangular: x = (longitude + 180) * 4, y = (84 - latitude) * 4, in whole numbers. Antarctica is left out.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));
const { feature } = require("topojson-client");
const countries = require("i18n-iso-countries");
const x = (longitude) => Math.round((longitude + 180) * 4);
const y = (latitude) => Math.round((84 - latitude) * 4);
const HEIGHT = y(-60);

const rings = (geometry) => (geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates);

/** A ring that crosses the date line goes on behind the edge, and comes in on the other side as a second one. */
function unwrapped(points) {
  let turn = 0;
  const all = points.map(([longitude, latitude], i) => {
    const step = i === 0 ? 0 : longitude - points[i - 1][0];
    turn += step > 180 ? -360 : step < -180 ? 360 : 0;
    return [longitude + turn, latitude];
  });
  const copies = [0, 360, -360].map((by) => all.map(([longitude, latitude]) => [longitude + by, latitude]));
  return copies.filter((copy) => copy.some(([longitude]) => longitude > -180 && longitude < 180));
}

/** A ring in relative steps; points that fall together are one. */
function ring(points) {
  const whole = points.map(([longitude, latitude]) => [x(longitude), y(latitude)]).filter(([a, b], i, all) => i === 0 || a !== all[i - 1][0] || b !== all[i - 1][1]);
  if (whole.length < 4 || whole.every(([, b]) => b > HEIGHT)) return "";
  let [a, b] = whole[0];
  let text = `M${a} ${b}l`;
  for (const [c, d] of whole.slice(1, -1)) {
    text += `${c < a || text.endsWith("l") ? "" : " "}${c - a}${d < b ? "" : " "}${d - b}`;
    [a, b] = [c, d];
  }
  return `${text}z`;
}

/** Twice the area of a ring, and the middle of it. */
function middle(points) {
  let [sum, sx, sy] = [0, 0, 0];
  for (let i = 0; i + 1 < points.length; i++) {
    const [[a, b], [c, d]] = [points[i], points[i + 1]];
    const cross = a * d - c * b;
    sum += cross;
    sx += (a + c) * cross;
    sy += (b + d) * cross;
  }
  return { area: Math.abs(sum), at: [sx / (3 * sum), sy / (3 * sum)] };
}

const land = require("world-atlas/land-110m.json");
const path_ = feature(land, land.objects.land).features.flatMap((one) => rings(one.geometry)).flat().flatMap(unwrapped).map(ring).join("");
const atlas = require("world-atlas/countries-50m.json");
const places = {};
for (const country of feature(atlas, atlas.objects.countries).features) {
  const code = countries.numericToAlpha2(country.id ?? "");
  if (!code || code === "AQ") continue;
  const largest = rings(country.geometry).map(([outer]) => middle(outer)).sort((a, b) => b.area - a.area)[0];
  places[code] = [x(largest.at[0]), y(largest.at[1])];
}
const rows = Object.entries(places).sort(([a], [b]) => (a < b ? -1 : 1)).map(([code, place]) => `${code}: ${JSON.stringify(place)},`);
const lines = [];
for (let i = 0; i < rows.length; i += 10) lines.push(`  ${rows.slice(i, i + 10).join(" ")}`);
console.log(`// Made by xtask/world.mjs of Natural Earth's shapes (public domain; world-atlas 2.0.2): do not edit.
export const WIDTH = ${x(180)}, HEIGHT = ${HEIGHT};
/** Land, as the path of an SVG. */
export const LAND = "${path_}";
/** The middles of countries by their codes (ISO 3166-1 alpha-2). */
export const PLACES = {
${lines.join("\n")}
};`);
