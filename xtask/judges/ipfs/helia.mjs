// A real Helia 7 that obeys the lines of its input; one line of JSON answers each.
//
// Usage: helia.mjs KEY-FILE; commands: add PATH, adddir PATH, connect ADDR, disconnect PEER, get CID OUT, getdir CID OUT.
import { createHelia } from 'helia'
import { unixfs, globSource } from '@helia/unixfs'
import { noise } from '@libp2p/noise'
import { yamux } from '@libp2p/yamux'
import { tcp } from '@libp2p/tcp'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { multiaddr } from '@multiformats/multiaddr'
import { peerIdFromString } from '@libp2p/peer-id'
import { CID } from 'multiformats/cid'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import readline from 'node:readline'

const keyFile = process.argv[2]
if (!fs.existsSync(keyFile)) fs.writeFileSync(keyFile, privateKeyToProtobuf(await generateKeyPair('Ed25519')))
const privateKey = privateKeyFromProtobuf(fs.readFileSync(keyFile))
const services = { identify: identify(), ping: ping() }
const transport = { transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()], peerDiscovery: [] }
const config = { config: 'replace', privateKey, addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] }, ...transport, services }
let helia = createHelia({ libp2p: config })
helia = (await helia.start?.()) ?? helia
const files = unixfs(helia)
const profile = { cidVersion: 1, rawLeaves: true, chunker: fixedSize({ chunkSize: 1048576 }), layout: balanced({ maxChildrenPerNode: 1024 }) }
const within = () => ({ signal: AbortSignal.timeout(300_000) })

const commands = {
  async add (path) {
    const cid = await files.addByteStream(fs.createReadStream(path, { highWaterMark: 1 << 20 }), profile)
    return { cid: cid.toString() }
  },
  async adddir (path) {
    let last
    for await (const entry of files.addAll(globSource(path, '**/*'), { ...profile, wrapWithDirectory: true })) last = entry
    return { cid: last.cid.toString() }
  },
  async connect (addr) {
    return { peer: (await helia.libp2p.dial(multiaddr(addr))).remotePeer.toString() }
  },
  async disconnect (peer) {
    await helia.libp2p.hangUp(peerIdFromString(peer))
    return {}
  },
  async get (cid, out) {
    const start = performance.now()
    const hash = createHash('sha256')
    let bytes = 0
    for await (const part of files.cat(CID.parse(cid), within())) {
      bytes += part.length
      hash.update(part)
    }
    return { seconds: (performance.now() - start) / 1000, bytes, sha256: hash.digest('hex') }
  },
  async getdir (cid, out) {
    fs.mkdirSync(out, { recursive: true })
    for await (const entry of files.ls(CID.parse(cid), within())) {
      const parts = []
      for await (const part of files.cat(entry.cid, within())) parts.push(part)
      fs.writeFileSync(`${out}/${entry.name}`, Buffer.concat(parts))
    }
    return {}
  }
}
const answer = (fields) => console.log('answer', JSON.stringify(fields))
answer({ peer: helia.libp2p.peerId.toString(), addrs: helia.libp2p.getMultiaddrs().map(String) })
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [word, ...words] = line.trim().split(/\s+/)
  try {
    answer(await commands[word](...words))
  } catch (why) {
    answer({ error: String(why?.message ?? why) })
  }
}
process.exit(0)
