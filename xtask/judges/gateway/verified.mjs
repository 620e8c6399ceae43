// @helia/verified-fetch and @helia/car against a node's gateway: everything that comes is checked by them.
// Usage: node verified.mjs GATEWAY_URL ROOT SHARDED DIGEST   (ROOT/big.bin has that SHA-256; SHARDED has 5,000 entries)
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createVerifiedFetch } from '@helia/verified-fetch'
import { CarReader } from '@ipld/car'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const [url, root, sharded, digest] = process.argv.slice(2)
let checks = 0
const check = (name, ok) => { checks += 1; assert.ok(ok, name) }
const fetched = await createVerifiedFetch({ gateways: [url], routers: [url], allowLocal: true, allowInsecure: true })

const text = await fetched(`ipfs://${root}/sub/a.txt`)
check('text', text.ok && await text.text() === 'hello world\n')
const big = await fetched(`ipfs://${root}/big.bin`)
const hash = createHash('sha256')
for await (const piece of big.body) hash.update(piece)
check('big file', hash.digest('hex') === digest)
const part = await fetched(`ipfs://${root}/big.bin`, { headers: { range: 'bytes=1048570-1048590' } })
check('range', part.status === 206 && (await part.arrayBuffer()).byteLength === 21)
const entry = await fetched(`ipfs://${sharded}/file-4321.txt`)
check('sharded folder', await entry.text() === '4321')
const missing = await fetched(`ipfs://${root}/nowhere`)
check('missing', missing.status === 404)
await fetched.stop()

// CARs: every block is what its name says, in the order of a depth-first walk, and nothing is missing.
const car = async path => {
  const response = await fetch(`${url}/ipfs/${path}`, { headers: { accept: 'application/vnd.ipld.car; version=1; order=dfs; dups=n' } })
  check(`car ${path.slice(60)}`, response.ok && response.headers.get('content-type').startsWith('application/vnd.ipld.car'))
  const reader = await CarReader.fromBytes(new Uint8Array(await response.arrayBuffer()))
  const blocks = []
  for await (const { cid, bytes } of reader.blocks()) {
    if (cid.multihash.code === sha256.code) check('hash', Buffer.from((await sha256.digest(bytes)).digest).equals(Buffer.from(cid.multihash.digest)))
    blocks.push(cid.toString())
  }
  return blocks
}
const whole = await car(root)
check('root first', whole[0] === root)
const block = await car(`${root}/sub/a.txt?dag-scope=block`)
check('path and block', block.length === 3)
const bytes = await car(`${root}/big.bin?dag-scope=entity&entity-bytes=0:10`)
check('first bytes only', bytes.length === 3)
const last = await car(`${root}/big.bin?entity-bytes=-5:*`)
check('last bytes only', last.length === 3 && last[2] !== bytes[2])
const folder = await car(`${sharded}?dag-scope=entity`)
check('folder without files', folder.length > 10 && folder.length < 1000)

const raw = await fetch(`${url}/ipfs/${root}?format=raw`)
check('raw', raw.headers.get('content-type') === 'application/vnd.ipld.raw' && raw.headers.get('x-content-type-options') === 'nosniff')
check('raw hash', Buffer.from((await sha256.digest(new Uint8Array(await raw.arrayBuffer()))).digest).equals(Buffer.from(CID.parse(root).multihash.digest)))
const again = await fetch(`${url}/ipfs/${root}?format=raw`, { headers: { 'if-none-match': raw.headers.get('etag') } })
check('not modified', again.status === 304)
console.log(`verified-fetch and CARs: ${checks} checks`)
