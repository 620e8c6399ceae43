// kubo-rpc-client against a node's /api/v0: add, cat, get, ls, pin, dag, block, id, swarm, routing, version, stats.
// Usage: node kubo-rpc.mjs API_URL TOKEN OTHER_MULTIADDR
import assert from 'node:assert/strict'
import { create } from 'kubo-rpc-client'
import { CID } from 'multiformats/cid'
import { importer } from 'ipfs-unixfs-importer'
import { MemoryBlockstore } from 'blockstore-core/memory'

const [url, token, other] = process.argv.slice(2)
const client = create({ url: `${url}/api/v0`, headers: { authorization: `Bearer ${token}` } })
const all = async source => { const out = []; for await (const item of source) out.push(item); return out }
const bytes = async source => Buffer.concat(await all(source))
const text = new TextEncoder()
let checks = 0
const check = (name, ok) => { checks += 1; assert.ok(ok, name) }

// add: kubo's default layout gives the CID that the whole world knows.
const hello = await client.add('hello world\n')
check('add', hello.cid.toString() === 'QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o' && hello.size === 20)
const v1 = await client.add('hello world', { cidVersion: 1 })
check('add v1', v1.cid.toString() === 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e')
const only = await client.add('never kept', { onlyHash: true })
check('only hash', !(await all(client.refs.local())).some(r => r.ref === only.cid.toString()))

const big = new Uint8Array(3_000_000).map((_, i) => (i * 31 + (i >> 9) + (i >> 17) * 7) & 255)
const files = [
  { path: 'dir/big.bin', content: big },
  { path: 'dir/deep/é ü.txt', content: text.encode('unicode') },
  { path: 'dir/empty' }
]
let told = 0
const added = await all(client.addAll(files, { progress: n => { told = Math.max(told, n) } }))
check('progress', told >= 2_000_000)
const root = added.at(-1)
check('folder last', root.path === 'dir')
const store = new MemoryBlockstore()
const [expected] = (await all(importer(files.map(f => f), store, {
  cidVersion: 0, rawLeaves: false, reduceSingleLeafToSelf: true, wrapWithDirectory: false
}))).slice(-1)
check('same CID as js', expected.cid.toString() === root.cid.toString())
const wrapped = await all(client.addAll([{ path: 'x.txt', content: 'x' }], { wrapWithDirectory: true, cidVersion: 1 }))
check('wrap', wrapped.length === 2 && wrapped[1].path === '')

check('cat', (await bytes(client.cat(hello.cid))).toString() === 'hello world\n')
check('cat path', (await bytes(client.cat(`/ipfs/${root.cid}/dir/deep/é ü.txt`.replace('/dir/deep', '/deep')))).toString() === 'unicode')
const part = await bytes(client.cat(added[0].cid, { offset: 1_000_001, length: 77 }))
check('cat range', part.equals(Buffer.from(big.slice(1_000_001, 1_000_078))))
const tar = await bytes(client.get(root.cid))
check('get', tar.length > 3_000_000 && tar.subarray(257, 262).toString() === 'ustar')

const listed = await all(client.ls(root.cid))
check('ls', listed.map(e => `${e.name}:${e.type}:${e.size}`).join() === 'big.bin:file:3000000,deep:dir:0,empty:dir:0')
check('resolve', await client.resolve(`/ipfs/${root.cid}/big.bin`) === `/ipfs/${added[0].cid}`)
const refs = await all(client.refs(root.cid, { recursive: true, unique: true }))
check('refs', refs.length >= 14)

// pins
check('pinned by add', (await all(client.pin.ls({ paths: hello.cid }))).length === 1)
const loose = await client.add('loose', { pin: false, cidVersion: 1 })
await assert.rejects(all(client.pin.ls({ paths: loose.cid })), /not pinned/)
await client.pin.add(loose.cid, { name: 'mine' })
const named = await all(client.pin.ls({ name: 'mine' }))
check('named pin', named.length === 1 && named[0].cid.equals(loose.cid) && named[0].type === 'recursive')
await client.pin.rm(loose.cid)
await assert.rejects(client.pin.rm(loose.cid), /not pinned/)
const indirect = await all(client.pin.ls({ paths: added[0].cid }))
check('indirect', indirect[0].type.startsWith('indirect'))

// blocks
const block = await client.block.put(text.encode('a block'), { format: 'raw', version: 1 })
check('block', (await client.block.stat(block)).size === 7)
check('block get', Buffer.from(await client.block.get(block)).toString() === 'a block')
const gone = await all(client.block.rm(block))
check('block rm', gone.length === 1 && gone[0].error === undefined)
const refused = await all(client.block.rm(hello.cid))
check('pinned block stays', /pinned/.test(refused[0].error?.message))

// dag
const node = { name: 'node', link: hello.cid, list: [1, 2n, new Uint8Array([1, 2])].map(v => typeof v === 'bigint' ? Number(v) : v) }
const cbor = await client.dag.put(node)
check('dag codec', cbor.code === 0x71)
check('dag get', (await client.dag.get(cbor)).value.link.equals(hello.cid))
check('dag get path', (await client.dag.get(cbor, { path: 'list/1' })).value === 2)
const json = await client.dag.put(node, { storeCodec: 'dag-json' })
check('dag-json', json.code === 0x0129)
const resolved = await client.dag.resolve(cbor, { path: 'link' })
check('dag resolve', resolved.cid.equals(hello.cid))
const car = await bytes(client.dag.export(root.cid))
const imported = await all(client.dag.import([car]))
check('car', imported[0].root.cid.equals(root.cid) && !imported[0].root.pinErrorMsg)

// ourselves and others
const me = await client.id()
check('id', me.id.toString().startsWith('16Uiu2') && me.addresses.length > 0)
check('version', /^\d+\.\d+\.\d+$/.test((await client.version()).version))
check('online', await client.isOnline())
await client.swarm.connect(other)
const peers = await client.swarm.peers()
const peer = peers.find(p => other.endsWith(p.peer.toString()))
check('peers', peer !== undefined)
check('addrs', (await client.swarm.addrs()).length >= 1 && (await client.swarm.localAddrs()).length >= 1)
check('ping', (await all(client.ping(peer.peer, { count: 2 }))).filter(p => p.success && p.time > 0).length === 2)
await client.swarm.disconnect(other)

// stats
check('repo', (await client.repo.stat()).numObjects > 10n && (await client.stats.repo()).storageMax > 0n)
check('bitswap', (await client.stats.bitswap()).dataSent >= 0n)
check('bw', (await all(client.stats.bw())).length === 1)
check('findprovs', Array.isArray(await all(client.routing.findProvs(hello.cid))))
await all(client.repo.gc())
check('gc keeps pins', (await bytes(client.cat(hello.cid))).length === 12)

// what is wrong is said, and does not hang
await assert.rejects(bytes(client.cat('not-a-cid')), /cannot be/)
await assert.rejects(bytes(client.cat(`${root.cid}/no/such`)), /no|there/)
await assert.rejects(client.files.write('/x', text.encode('x'), { create: true }), /file system/)
const anonymous = create({ url: `${url}/api/v0` })
await assert.rejects(anonymous.id(), /token/)
console.log(`kubo-rpc-client: ${checks} checks`)
