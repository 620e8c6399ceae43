// ethers plays: a token, a permit, every type of transaction, logs by filter and by WebSocket, the words of a revert.
import { ContractFactory, JsonRpcProvider, NonceManager, Signature, Wallet, WebSocketProvider } from "ethers";
import { CHAIN_ID, FOREVER, KEYS, PERMIT, SUPPLY, Story, TOKEN, artifact, fields } from "./common.mjs";

export async function play(url) {
  const story = new Story();
  const node = new JsonRpcProvider(url, CHAIN_ID, { staticNetwork: true, pollingInterval: 50, cacheTimeout: -1 });
  const live = new WebSocketProvider(url.replace("http", "ws"), CHAIN_ID, { staticNetwork: true });
  const [wallet, other] = [new Wallet(KEYS[1], node), new Wallet(KEYS[2], node)];
  const sender = new NonceManager(wallet);
  const { abi, bytecode } = artifact("TalkooToken");
  const token = await new ContractFactory(abi, bytecode, sender).deploy(...TOKEN, wallet.address, SUPPLY);
  const deployed = await token.deploymentTransaction().wait();
  story.note("deploy", deployed.contractAddress, deployed.gasUsed);

  const watched = token.connect(live);
  const heard = new Promise((resolve) => watched.on("Transfer", (from, to, value) => resolve([from, to, value])));
  // Answered after the subscription was.
  while ((await watched.listenerCount("Transfer")) === 0);
  await live.send("eth_chainId", []);
  const done = async (step, sent) => {
    const receipt = await (await sent).wait();
    story.note(step, [receipt.status, receipt.type, receipt.logs.map((log) => [log.topics, log.data])], receipt.gasUsed);
  };
  await done("transfer", token.transfer(other.address, 500n));
  story.note("log by subscription", await heard);
  const gasPrice = 3_000_000_000n;
  const plain = { to: other.address, value: 1n };
  await done("legacy transaction", sender.sendTransaction({ ...plain, type: 0, gasPrice }));
  const accessList = [{ address: await token.getAddress(), storageKeys: [`0x${"0".repeat(64)}`] }];
  await done("transaction with an access list", sender.sendTransaction({ ...plain, type: 1, gasPrice, accessList }));
  const fees = { maxFeePerGas: gasPrice, maxPriorityFeePerGas: 1n };
  await done("transaction with a tip", sender.sendTransaction({ ...plain, type: 2, ...fees }));

  const domain = { name: "Talkoo", version: "1", chainId: CHAIN_ID, verifyingContract: await token.getAddress() };
  const permit = { owner: wallet.address, spender: other.address, value: 42n, nonce: 0n, deadline: FOREVER };
  const signature = Signature.from(await wallet.signTypedData(domain, { Permit: fields(PERMIT) }, permit));
  const { r, s, v } = signature;
  await done("permit", token.permit(permit.owner, permit.spender, permit.value, permit.deadline, v, r, s));
  await done("transferFrom", token.connect(other).transferFrom(wallet.address, other.address, 42n));
  story.note("balance", await token.balanceOf(other.address));
  const logs = await token.queryFilter(token.filters.Transfer(null, other.address), 0);
  story.note("logs by range", logs.map((log) => [log.args.value, log.index]));

  const why = (promise) => promise.then(() => "it went through", (e) => [e.code, e.revert?.name, e.revert?.args?.length]);
  story.note("revert of a call", await why(token.transfer.staticCall(other.address, SUPPLY)));
  story.note("revert of an estimate", await why(token.transfer.estimateGas(other.address, SUPPLY)));
  const poor = new Wallet(`0x${"77".repeat(32)}`, node);
  story.note("no funds", await why(poor.sendTransaction({ ...plain, gasLimit: 21_000n, ...fees })));
  story.note("nonce used", await why(wallet.sendTransaction({ ...plain, nonce: 0, gasLimit: 21_000n, ...fees })));
  const block = await node.getBlock("latest", true);
  story.note("block", [block.prefetchedTransactions.length, block.gasUsed > 0n]);
  await live.destroy();
  node.destroy();
  return story.steps;
}
