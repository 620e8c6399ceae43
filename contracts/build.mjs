// Compiles every contract of src/ and writes artifacts/<Name>.json: {abi, bytecode, deployedBytecode}.
// `node build.mjs DIR` writes to another folder, for a comparison.
import { createRequire } from 'node:module';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;
const to = process.argv[2] ?? join(here, 'artifacts');
const solc = createRequire(import.meta.url)('solc');
const read = (path) => readFileSync(join(here, path), 'utf8');
const files = readdirSync(join(here, 'src')).filter((name) => name.endsWith('.sol')).sort();

const input = {
  language: 'Solidity',
  sources: Object.fromEntries(files.map((name) => [`src/${name}`, { content: read(`src/${name}`) }])),
  settings: {
    evmVersion: 'cancun',
    viaIR: false,
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: 'none', appendCBOR: false },
    remappings: ['@openzeppelin/=node_modules/@openzeppelin/'],
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: (path) => ({ contents: read(path) }) }));
// Warnings count as errors, except about libraries.
const faults = (output.errors ?? []).filter((e) => e.severity === 'error' || e.sourceLocation?.file.startsWith('src/'));
for (const fault of faults) console.error(fault.formattedMessage);
if (faults.length) process.exit(1);

mkdirSync(to, { recursive: true });
for (const name of files) {
  for (const [contract, { abi, evm }] of Object.entries(output.contracts[`src/${name}`] ?? {})) {
    const bytes = evm.deployedBytecode.object.length / 2;
    if (bytes === 0) continue; // an interface or an abstract contract
    if (bytes > 24_576) throw new Error(`${contract} has ${bytes} bytes: at most 24,576, as EIP-170 has it`);
    const entries = abi.map((entry) => `    ${JSON.stringify(entry)}`).join(',\n');
    const code = (part) => `"0x${part.object}"`;
    const json = `{\n  "abi": [\n${entries}\n  ],\n  "bytecode": ${code(evm.bytecode)},\n  "deployedBytecode": ${code(evm.deployedBytecode)}\n}\n`;
    writeFileSync(join(to, `${contract}.json`), json);
    console.log(`${contract.padEnd(24)} ${bytes} bytes`);
  }
}
