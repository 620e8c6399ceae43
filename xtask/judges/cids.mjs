// Judge: ipfs-unixfs-importer gives the CIDs that we give to random files, folders and symlinks, by both
// profiles of IPIP-499, and @ipld/car and ipfs-unixfs-exporter read our CARs.
// usage: node cids.mjs FOLDER_WITH_NODE_MODULES OUR_PROGRAM [SEED]
import { createReadStream, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { createHash, randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const modules = path.resolve(process.argv[2], "node_modules");
const load = (name, file = "dist/src/index.js") => import(pathToFileURL(path.join(modules, name, file)));
const { importer } = await load("ipfs-unixfs-importer");
const { exporter } = await load("ipfs-unixfs-exporter");
const { BlackHoleBlockstore, MemoryBlockstore } = await load("blockstore-core");
const { CarReader } = await load("@ipld/car", "src/index.js");
const dagPb = await load("@ipld/dag-pb", "src/index.js");
const { CID } = await load("multiformats");

let state = Number(process.argv[4] ?? randomInt(2 ** 31));
console.log(`seed ${state}`);
/** Numbers below `max`, the same for the same seed (mulberry32). */
function below(max) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % max;
}
const bytes = (count) => {
  const out = Buffer.alloc(count);
  const seed = createHash("sha256").update(String(below(2 ** 31))).digest();
  for (let at = 0; at < count; at += 32) seed.copy(out, at, 0, Math.min(32, count - at)), seed.writeUInt32LE(at, 0);
  return out;
};

const work = mkdtempSync(path.join(tmpdir(), "cids-"));
const [cases, cars] = ["cases", "cars"].map((name) => path.join(work, name));
mkdirSync(cases), mkdirSync(cars);
const put = (name, count) => writeFileSync(path.join(cases, name), bytes(count));

// Files at every edge of both profiles.
for (const chunk of [256 << 10, 1 << 20])
  for (const [label, count] of [["0", 0], ["1", 1], ["less", chunk - 1], ["one", chunk], ["more", chunk + 1], ["two", 2 * chunk]])
    put(`${chunk >> 10}k-${label}`, count);
for (const chunks of [173, 174, 175, 174 * 2, 174 * 2 + 1]) put(`v0-${chunks}`, chunks * (256 << 10));
put("v0-174-and-1", 174 * (256 << 10) + 1);
for (const chunks of [1024, 1025]) writeFileSync(path.join(cases, `v1-${chunks}`), ""), truncateSync(path.join(cases, `v1-${chunks}`), chunks << 20);
for (let i = 0; i < 5; i++) put(`random-${i}`, below(9 << 20));

// Folders at the threshold, by either count.
const empty = { v1: CID.parse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"), v0: CID.parse("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH") };
const sizes = {
  v0: (names) => names.reduce((sum, name) => sum + name.length + 34, 0),
  v1: (names) => dagPb.encode(dagPb.prepare({ Data: Uint8Array.of(8, 1), Links: names.map((Name) => ({ Name, Hash: empty.v1, Tsize: 0 })) })).length,
};
for (const [profile, size] of Object.entries(sizes))
  for (const goal of [262143, 262144, 262145]) {
    const names = Array.from({ length: 4500 }, (_, i) => `${i}`.padStart(8, "0"));
    while (size(names) < goal - 400) names.push(`${names.length}`.padStart(8, "0"));
    // Two names take up the rest; where a length of length makes a step, the other one gives way.
    for (let a = 9, b = 9; ; a >= 200 ? ((a = 9), b++) : a++) {
      const all = [...names, "a".repeat(a), "b".repeat(b)];
      if (b > 250) throw new Error(`no names of ${goal} bytes`);
      if (size(all) !== goal) { if (size(all) < goal) a = Math.max(a, Math.min(199, a + goal - size(all) - 2)); else a = 200; continue; }
      mkdirSync(path.join(cases, `${profile}-folder-${goal}`));
      for (const name of all) writeFileSync(path.join(cases, `${profile}-folder-${goal}`, name), "");
      break;
    }
  }
mkdirSync(path.join(cases, "ten-thousand"));
for (let i = 0; i < 10000; i++) writeFileSync(path.join(cases, "ten-thousand", `entry ${i} ${below(1e6)}`), `${i % 7}`);
mkdirSync(path.join(cases, "folder-empty"));

// Random trees.
const alphabet = ["a", "Z", "0", " ", "é", "日", "🜁", "%", "-", "_", "\u0301", "."];
const name = () => Array.from({ length: 1 + below(12) }, () => alphabet[below(alphabet.length)]).join("");
function tree(folder, depth) {
  mkdirSync(folder);
  for (let i = below(8); i > 0; i--) {
    const at = path.join(folder, `${name()}${i}`);
    const kind = below(5);
    if (kind === 0 && depth < 4) tree(at, depth + 1);
    else if (kind === 1) symlinkSync(`../${name()}`, at);
    else writeFileSync(at, bytes(below(5) === 0 ? below(3 << 20) : below(2000)));
  }
}
for (let i = 0; i < 30; i++) tree(path.join(cases, `tree-${i}`), 0);

/** What their importer takes, relative to the folder of cases. */
function* candidates(at, name) {
  const stat = lstatSync(at);
  if (stat.isSymbolicLink()) yield { path: name, link: readlinkSync(at) };
  else if (stat.isDirectory()) {
    yield { path: name };
    for (const entry of readdirSync(at)) yield* candidates(path.join(at, entry), `${name}/${entry}`);
  } else yield { path: name, content: stat.size > 64 << 20 ? createReadStream(at, { highWaterMark: 1 << 20 }) : [readFileSync(at)] };
}

const started = Date.now();
const lines = execFileSync(process.argv[3], [cases, cars], { encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n");
console.log(`ours: ${lines.length} roots in ${Date.now() - started} ms`);
let wrong = 0;
for (const line of lines) {
  const [, profile, name, cid, size] = line.match(/^(\S+) (.*) (\S+) (\d+)$/);
  let last;
  for await (const entry of importer(candidates(path.join(cases, name), name), new BlackHoleBlockstore(), { profile })) last = entry;
  const same = String(last.cid) === cid && String(last.size) === size;
  if (!same) (wrong += 1), console.log(`${profile} ${name}: ours ${cid} (${size}), theirs ${last.cid} (${last.size})`);
}

// Our CARs, read by them down to the last byte.
let read = 0;
for (const file of readdirSync(cars)) {
  if (!/tree|random|folder|ten|k-/.test(file)) continue;
  const reader = await CarReader.fromBytes(readFileSync(path.join(cars, file)));
  const store = new MemoryBlockstore();
  for await (const { cid, bytes } of reader.blocks()) await store.put(cid, bytes);
  const [root] = await reader.getRoots();
  const at = path.join(cases, file.replace(/^unixfs-v\d-\d{4}-|\.car$/g, ""));
  const compare = async (entry, at) => {
    const stat = lstatSync(at);
    if (entry.type === "directory") {
      const names = new Set(readdirSync(at));
      for await (const child of entry.entries?.() ?? entry.content()) {
        const below = child.cid ? await exporter(child.cid, store) : child;
        if (!names.delete(child.name)) throw new Error(`${at} has no ${child.name}`);
        await compare(below, path.join(at, child.name));
      }
      if (names.size) throw new Error(`${at}: ${[...names]} are missing`);
      return;
    }
    const parts = [];
    if (stat.isSymbolicLink()) {
      const target = new TextDecoder().decode(entry.unixfs.data);
      if (target !== readlinkSync(at)) throw new Error(`${at} leads to ${target}`);
      return;
    }
    for await (const part of entry.content()) parts.push(part);
    if (Buffer.compare(Buffer.concat(parts), readFileSync(at)) !== 0) throw new Error(`${at} differs`);
  };
  try {
    await compare(await exporter(root, store), at);
    read += 1;
  } catch (why) {
    (wrong += 1), console.log(`${file}: ${why}`);
  }
}
rmSync(work, { recursive: true });
console.log(`${lines.length} roots compared, ${read} cars read, ${wrong} wrong`);
process.exit(wrong === 0 && read > 0 ? 0 : 1);
