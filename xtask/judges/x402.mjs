// Judge: the client and the facilitator of @x402/evm pay a worker through our contracts, on anvil.
// usage: node x402.mjs FOLDER_WITH_NODE_MODULES
import { createRequire } from "node:module";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import path from "node:path";

const folder = path.resolve(process.argv[2]);
const require = createRequire(path.join(folder, "package.json"));
const { createPublicClient, createWalletClient, defineChain, http } = require("viem");
const { generatePrivateKey, privateKeyToAccount } = require("viem/accounts");
const { BatchSettlementEvmScheme: Client } = require("@x402/evm/batch-settlement/client");
const { BatchSettlementEvmScheme: Facilitator } = require("@x402/evm/batch-settlement/facilitator");
const { toClientEvmSigner, toFacilitatorEvmSigner } = require("@x402/evm");

const NOBODY = "0x0000000000000000000000000000000000000000";
const SETTLEMENT = "0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003";
const COLLECTOR = "0x4020806089470a89826cB9fB1f4059150b550004";
const MULTICALL = "0xcA11bde05977b3631167028862bE2a173976CA11";
const VAULT = "0x7A1C000000000000000000000000000000000002";
const DAY_S = 86_400;

// Port 0: the system picks one, and anvil says which.
const anvil = spawn(path.join(folder, "node_modules/.bin/anvil"), ["--port", "0", "--chain-id", "825566"]);
let said = "";
while (!/Listening on (\S+)/.test(said)) said += (await once(anvil.stdout, "data"))[0];
const url = `http://${said.match(/Listening on (\S+)/)[1]}`;
const currency = { name: "gas", symbol: "GAS", decimals: 18 };
const chain = defineChain({ id: 825_566, name: "judge", nativeCurrency: currency, rpcUrls: { default: { http: [url] } } });
const node = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
const rpc = (method, ...params) => node.request({ method, params });

async function person() {
  const account = privateKeyToAccount(generatePrivateKey());
  await rpc("anvil_setBalance", account.address, "0xde0b6b3a7640000000");
  return { ...account, wallet: createWalletClient({ account, chain, transport: http() }) };
}
const artifact = (name) => JSON.parse(readFileSync(`contracts/artifacts/${name}.json`, "utf8"));

try {
  const [relay, payer, client, operator] = [await person(), await person(), await person(), await person()];

  /** Deploys a contract and, if it has a fixed address, puts its code there. */
  async function put(name, args, address) {
    const hash = await relay.wallet.deployContract({ ...artifact(name), args });
    const { contractAddress } = await node.waitForTransactionReceipt({ hash });
    if (address) await rpc("anvil_setCode", address, await node.getCode({ address: contractAddress }));
    return address ?? contractAddress;
  }
  await put("Multicall3", [], MULTICALL);
  await put("X402BatchSettlement", [NOBODY], SETTLEMENT);
  await put("ERC3009DepositCollector", [SETTLEMENT], COLLECTOR);
  const token = await put("TalkooToken", ["Talkoo", "TALKOO", NOBODY, payer.address, 10n ** 12n]);
  const common = { token, gate: NOBODY, admin: relay.address, slashers: [] };
  const bonds = { treasury: relay.address, unbondS: 45 * DAY_S, jailS: DAY_S, validatorBondMin: 1n, epochS: 600, initial: [] };
  const staking = await put("Staking", [{ ...common, ...bonds }]);
  const delegations = await put("Delegations", []);
  await put("WorkerVault", [{ ...common, settlement: SETTLEMENT, staking, delegations, windowS: DAY_S }], VAULT);

  const payerSide = new Client(toClientEvmSigner(payer, node), {
    payerAuthorizer: client.address,
    voucherSigner: toClientEvmSigner(client, node),
  });
  const calls = ["readContract", "verifyTypedData", "waitForTransactionReceipt", "getCode"];
  const signer = Object.fromEntries(calls.map((name) => [name, (args) => node[name](args)]));
  signer.writeContract = (args) => relay.wallet.writeContract(args);
  signer.sendTransaction = (args) => relay.wallet.sendTransaction(args);
  const facilitator = new Facilitator(toFacilitatorEvmSigner({ address: relay.address, ...signer }), operator);

  const extra = { receiverAuthorizer: operator.address, withdrawDelay: DAY_S, name: "Talkoo", version: "1" };
  const accepted = {
    scheme: "batch-settlement", network: "eip155:825566", amount: "1000", asset: token, payTo: VAULT,
    maxTimeoutSeconds: 3600, extra,
  };
  const settle = async (payload) => {
    const answer = await facilitator.settle({ x402Version: 2, accepted, payload }, accepted);
    assert.ok(answer.success, `${payload.type}: ${answer.errorReason} ${answer.errorMessage ?? ""}`);
    return answer;
  };
  const { payload } = await payerSide.createPaymentPayload(2, accepted);
  assert.equal((await facilitator.verify({ x402Version: 2, accepted, payload }, accepted)).isValid, true);
  const { channelState } = (await settle(payload)).extra;
  assert.deepEqual([channelState.channelId, channelState.balance], [payload.voucher.channelId, payload.deposit.amount]);
  const { channelConfig: channel, voucher: { maxClaimableAmount, signature } } = payload;
  await settle({ type: "claim", claims: [{ voucher: { channel, maxClaimableAmount }, signature, totalClaimed: "700" }] });
  assert.equal((await settle({ type: "settle", receiver: VAULT, token })).amount, "700");
  const back = { type: "refund", channelConfig: channel, voucher: payload.voucher, refundNonce: "0", claims: [] };
  assert.equal((await settle({ ...back, amount: "500" })).amount, "500");

  const vault = { address: VAULT, abi: artifact("WorkerVault").abi };
  const send = async (functionName, args) => {
    const hash = await relay.wallet.writeContract({ ...vault, functionName, args });
    assert.equal((await node.waitForTransactionReceipt({ hash })).status, "success");
  };
  await send("book", [[channel]]);
  await rpc("anvil_increaseTime", `0x${DAY_S.toString(16)}`);
  await send("release", [operator.address, 1n]);
  await send("withdraw", [operator.address]);
  const erc20 = { address: token, abi: artifact("TalkooToken").abi, functionName: "balanceOf" };
  assert.equal(await node.readContract({ ...erc20, args: [operator.address] }), 700n);
  console.log("deposit, claim, settlement and refund of x402 agree; the worker's operator has 700");
} finally {
  anvil.kill();
}
