// viem plays: a token, a permit, a channel of x402 with vouchers, logs in three ways, the words of a revert.
import {
  createPublicClient, createWalletClient, defineChain, encodeAbiParameters, http, keccak256, parseSignature, webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { CHAIN_ID, FOREVER, KEYS, NOBODY, PERMIT, SUPPLY, Story, TOKEN, artifact, fields } from "./common.mjs";

const CONFIG = [
  "payer address", "payerAuthorizer address", "receiver address", "receiverAuthorizer address", "token address",
  "withdrawDelay uint40", "salt bytes32",
];
const RECEIVE = [
  "from address", "to address", "value uint256", "validAfter uint256", "validBefore uint256", "nonce bytes32",
];

export async function play(url) {
  const story = new Story();
  const currency = { name: "gas", symbol: "GAS", decimals: 18 };
  const chain = defineChain({
    id: CHAIN_ID, name: "judge", nativeCurrency: currency, rpcUrls: { default: { http: [url] } },
  });
  const node = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
  const [payer, receiver] = [privateKeyToAccount(KEYS[0]), privateKeyToAccount(KEYS[1])];
  const wallet = createWalletClient({ account: payer, chain, transport: http() });

  const receipt = async (step, hash, result) => {
    const done = await node.waitForTransactionReceipt({ hash });
    story.note(step, result ?? [done.status, done.logs.map((log) => [log.topics, log.data])], done.gasUsed);
    return done;
  };
  const deploy = async (name, args) => {
    const hash = await wallet.deployContract({ ...artifact(name), args });
    const { contractAddress: address } = await node.waitForTransactionReceipt({ hash });
    const done = await node.getTransactionReceipt({ hash });
    const code = await node.getCode({ address });
    story.note(`deploy ${name}`, [address, keccak256(code)], done.gasUsed);
    return { address, abi: artifact(name).abi };
  };
  const token = await deploy("TalkooToken", [...TOKEN, payer.address, SUPPLY]);
  const settlement = await deploy("X402BatchSettlement", [NOBODY]);
  const collector = await deploy("ERC3009DepositCollector", [settlement.address]);
  const read = (contract, functionName, ...args) => node.readContract({ ...contract, functionName, args });
  const write = async (contract, functionName, ...args) =>
    receipt(functionName, await wallet.writeContract({ ...contract, functionName, args }));

  // Logs in three ways: by subscription and by filter while they happen, by range afterwards.
  const live = createPublicClient({ chain, transport: webSocket(url.replace("http", "ws")) });
  const heard = [];
  const both = new Promise((resolve, reject) => {
    live.watchContractEvent({
      ...token,
      eventName: "Transfer",
      onError: reject,
      onLogs: (logs) => {
        heard.push(...logs.map((log) => [log.args.from, log.args.to, log.args.value]));
        if (heard.length === 2) resolve(heard);
      },
    });
  });
  const heads = new Promise((onBlock, onError) => live.watchBlocks({ onBlock, onError }));
  // What is subscribed to after the answer to this came is subscribed to before it.
  await live.getChainId();
  const filter = await node.createContractEventFilter({ ...token, eventName: "Transfer" });

  await write(token, "transfer", receiver.address, 1000n);
  await write(token, "transfer", receiver.address, 234n);
  story.note("balanceOf", await read(token, "balanceOf", receiver.address));
  story.note("logs by subscription", await both);
  story.note("heads by subscription", typeof (await heads).number);
  const events = (logs) => logs.map((log) => [log.eventName, log.args.value, log.logIndex, log.removed]);
  story.note("logs by filter", events(await node.getFilterChanges({ filter })));
  story.note("logs by filter, again", events(await node.getFilterChanges({ filter })));
  story.note("all logs of the filter", events(await node.getFilterLogs({ filter })).length > 0);
  const range = await node.getContractEvents({ ...token, eventName: "Transfer", fromBlock: 0n, args: { to: receiver.address } });
  story.note("logs by range", events(range));
  live.transport.getRpcClient().then((client) => client.close());

  const domain = { name: "Talkoo", version: "1", chainId: CHAIN_ID, verifyingContract: token.address };
  const sign = (signer, of, primaryType, words, message) =>
    signer.signTypedData({ domain: of, types: { [primaryType]: fields(words) }, primaryType, message });
  const permit = { owner: payer.address, spender: receiver.address, value: 77n, nonce: 0n, deadline: FOREVER };
  const { r, s, v } = parseSignature(await sign(payer, domain, "Permit", PERMIT, permit));
  await write(token, "permit", permit.owner, permit.spender, permit.value, permit.deadline, Number(v), r, s);
  story.note("allowance", await read(token, "allowance", payer.address, receiver.address));

  const config = {
    payer: payer.address, payerAuthorizer: payer.address, receiver: receiver.address, receiverAuthorizer: payer.address,
    token: token.address, withdrawDelay: 86_400, salt: `0x${"5a".repeat(32)}`,
  };
  const channel = await read(settlement, "getChannelId", config);
  const bytes = [{ type: "bytes32" }, { type: "uint256" }];
  const nonce = keccak256(encodeAbiParameters(bytes, [channel, 9n]));
  const authorization = { from: payer.address, to: collector.address, value: 5000n, validAfter: 0n, validBefore: FOREVER, nonce };
  const signature = await sign(payer, domain, "ReceiveWithAuthorization", RECEIVE, authorization);
  const words = ["uint256", "uint256", "uint256", "bytes"].map((type) => ({ type }));
  const data = encodeAbiParameters(words, [0n, FOREVER, 9n, signature]);
  await write(settlement, "deposit", config, 5000n, collector.address, data);
  const x402 = { name: "x402 Batch Settlement", version: "1", chainId: CHAIN_ID, verifyingContract: settlement.address };
  const voucher = { channelId: channel, maxClaimableAmount: 700n };
  const vouched = await sign(payer, x402, "Voucher", ["channelId bytes32", "maxClaimableAmount uint128"], voucher);
  const claim = (most, claimed) =>
    [{ voucher: { channel: config, maxClaimableAmount: most }, signature: vouched, totalClaimed: claimed }];
  await write(settlement, "claim", claim(700n, 650n));
  await write(settlement, "settle", receiver.address, token.address);
  story.note("channel", await read(settlement, "channels", channel));

  // Why not, in the contract's own words.
  const fails = async (step, contract, functionName, ...args) => {
    const error = await node.simulateContract({ ...contract, functionName, args, account: payer }).then(
      () => "it went through", (e) => e.walk((cause) => cause.data?.errorName)?.data ?? e.shortMessage,
    );
    story.note(step, [error.errorName ?? error, error.args]);
  };
  await fails("revert: more than there is", token, "transfer", receiver.address, SUPPLY);
  await fails("revert: more than vouched", settlement, "claim", claim(700n, 701n));
  await fails("revert: a voucher for another sum", settlement, "claim", claim(800n, 750n));
  await fails("revert: not the minter", token, "mint", payer.address, 1n);
  // One that fails in a block, too.
  const args = { ...token, functionName: "transfer", args: [receiver.address, SUPPLY], gas: 100_000n };
  await receipt("transfer that fails", await wallet.writeContract(args));
  story.note("nonce", await node.getTransactionCount({ address: payer.address }));
  return story.steps;
}
