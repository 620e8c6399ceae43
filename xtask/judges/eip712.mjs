// Judge: ethers recomputes the digests and signatures that our own program prints.
// usage: node eip712.mjs FOLDER_WITH_NODE_MODULES
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import path from "node:path";

const require = createRequire(path.resolve(process.argv[2], "package.json"));
const { TypedDataEncoder, verifyTypedData, getAddress } = require("ethers");
const cargo = ["run", "--quiet", "-p", "talkoo-base", "--example", "typed_data"];
const cases = JSON.parse(execFileSync("cargo", cargo, { encoding: "utf8" }));
let wrong = 0;
for (const { name, domain, types, message, digest, signature, signer } of cases) {
  const same = TypedDataEncoder.hash(domain, types, message) === digest;
  const who = verifyTypedData(domain, types, message, signature);
  if (!same || who !== getAddress(signer)) {
    console.log(`${name}: digest ${same ? "equal" : "differs"}, signer ${who}`);
    wrong += 1;
  }
}
console.log(`${cases.length - wrong} of ${cases.length} records agree`);
process.exit(wrong === 0 && cases.length > 0 ? 0 : 1);
