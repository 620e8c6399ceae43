// The client and the facilitator of @x402/evm pay through the contracts of our genesis, where their SDK looks for them.
// (`xtask/judges/x402.mjs` plays them on anvil, with the vault and its time.)
import { BatchSettlementEvmScheme as Client } from "@x402/evm/batch-settlement/client";
import { BatchSettlementEvmScheme as Facilitator } from "@x402/evm/batch-settlement/facilitator";
import { toClientEvmSigner, toFacilitatorEvmSigner } from "@x402/evm";
import assert from "node:assert/strict";
import { createPublicClient, createWalletClient, defineChain, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { CHAIN_ID, KEYS, artifact } from "./common.mjs";

/** What is staked, all of it the founder's: contracts/README.md. */
const TOKEN_AT = "0x7a1c00000000000000000000000000000000000F";

export async function play(url) {
  const currency = { name: "gas", symbol: "GAS", decimals: 18 };
  const chain = defineChain({
    id: CHAIN_ID, name: "judge", nativeCurrency: currency, rpcUrls: { default: { http: [url] } },
  });
  const node = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
  const [payer, relay, receiver, operator] = KEYS.map((key) => privateKeyToAccount(key));
  const wallet = createWalletClient({ account: relay, chain, transport: http() });
  const payerSide = new Client(toClientEvmSigner(payer, node), { voucherSigner: toClientEvmSigner(payer, node) });
  const calls = ["readContract", "verifyTypedData", "waitForTransactionReceipt", "getCode"];
  const signer = Object.fromEntries(calls.map((name) => [name, (args) => node[name](args)]));
  signer.writeContract = (args) => wallet.writeContract(args);
  signer.sendTransaction = (args) => wallet.sendTransaction(args);
  const facilitator = new Facilitator(toFacilitatorEvmSigner({ address: relay.address, ...signer }), operator);
  const extra = { receiverAuthorizer: operator.address, withdrawDelay: 86_400, name: "Talkoo", version: "1" };
  const accepted = {
    scheme: "batch-settlement", network: `eip155:${CHAIN_ID}`, amount: "1000", asset: TOKEN_AT, payTo: receiver.address,
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
  assert.equal((await settle({ type: "settle", receiver: receiver.address, token: TOKEN_AT })).amount, "700");
  const back = { type: "refund", channelConfig: channel, voucher: payload.voucher, refundNonce: "0", claims: [] };
  assert.equal((await settle({ ...back, amount: "200" })).amount, "200");
  const token = { address: TOKEN_AT, abi: artifact("TalkooToken").abi, functionName: "balanceOf" };
  assert.equal(await node.readContract({ ...token, args: [receiver.address] }), 700n);
  console.log("\n@x402/evm: verified, deposited, claimed, settled and refunded on our chain");
}
