"""The official Python client at a node's tools: lists them, calls each, cancels, is refused, pays, in both ways of the protocol and over standard input.

Usage: client.py TALKOO FOLDER URL OWNER FULL POOR PLAIN: the node's program and folder, the owner's token, a key that may pay, one whose budget is spent, one
without scopes.
"""
import asyncio
import json
import subprocess
import sys

import mcp
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

talkoo, folder, url, owner, full, poor, plain = sys.argv[1:8]
MODEL = "smollm2-135m-instruct"
FRIEND, STRANGER = "0x" + "11" * 20, "0x" + "22" * 20


def holds(what, why):
    if not what:
        raise SystemExit(f"client: {why}")


def http(key, mode):
    client = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"})
    return mcp.Client(streamable_http_client(url, http_client=client), mode=mode)


async def call(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    return bool(result.is_error), result.structured_content


async def good(client, tool, **arguments):
    is_error, said = await call(client, tool, **arguments)
    holds(not is_error, f"{tool} {arguments}: {said}")
    return said


async def refused(client, tool, code, **arguments):
    is_error, said = await call(client, tool, **arguments)
    holds(is_error and said["code"] == code and said["message"], f"{tool} {arguments} should be {code}: {said}")
    return said


def command(*words):
    done = subprocess.run([talkoo, "--data-dir", folder, "-o", "json", *words], capture_output=True, text=True, timeout=120)
    holds(done.returncode == 0, f"{words}: {done.stderr}")
    return json.loads(done.stdout)


async def every_tool(client, has_policy=False):
    """Each tool once, with what its schema promises: the client checks the answer against it. The owner's token spends nothing by tools."""
    tools = {tool.name for tool in (await client.list_tools()).tools}
    found = await good(client, "search", words="smollm2", kind="models")
    holds(found["models"][0]["model"] == MODEL, f"search: {found}")
    progress = []

    async def hear(done, total, message):
        progress.append(message)

    asked = {"model": MODEL, "prompt": "Name three colours.", "max_tokens": 24, "seed": 7}
    result = await client.call_tool("run", asked, progress_callback=hear)
    first = result.structured_content
    holds(not result.is_error and first["text"] and progress, f"run: {result}")
    again = await good(client, "run", **asked)
    holds((again["text"], again["trace_root"]) == (first["text"], first["trace_root"]), "the same question has another answer")
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"], "additionalProperties": False}
    formed = await good(client, "run", model=MODEL, prompt="A colour as JSON.", schema=schema, max_tokens=40)
    holds(formed["json"]["colour"] in ("red", "blue"), f"schema: {formed}")
    await refused(client, "run", "model_not_found", model="nobody", prompt="x")
    batch = await good(client, "batch_submit", model=MODEL, prompts=["Say one.", "Say two.", "Say three."], max_tokens=8)
    for _ in range(600):
        stands = await good(client, "batch_status", id=batch["id"])
        if stands["status"] in ("completed", "failed"):
            break
        await asyncio.sleep(0.1)
    page = await good(client, "batch_results", id=batch["id"], limit=2)
    rest = await good(client, "batch_results", id=batch["id"], after=page["next"])
    names = sorted(row["custom_id"] for row in page["results"] + rest["results"])
    holds(names == ["0", "1", "2"] and rest["next"] is None, f"batch: {page} {rest}")
    await refused(client, "batch_cancel", "in_use", id=batch["id"])
    await good(client, "data_search")
    for tool in ("data_show", "data_read"):
        await refused(client, tool, "unknown_id", id="77" * 32)
    await refused(client, "data_buy", "unknown_id" if has_policy else "denied", id="77" * 32, why="to read it")
    holds((await good(client, "wallet_show"))["available"].isdigit(), "wallet_show")
    holds((await good(client, "wallet_history", limit=1))["history"], "wallet_history")
    await good(client, "policy_show")
    await refused(client, "receipt_verify", "unknown_id", receipt="ab/00000-cd")
    await refused(client, "wallet_pay", "malformed" if has_policy else "denied", to=FRIEND, amount="-1", why="no")
    models = await client.read_resource("talkoo://models")
    holds(MODEL in models.contents[0].text, "talkoo://models")
    called = {"search", "run", "batch_submit", "batch_status", "batch_results", "batch_cancel", "data_search", "data_show", "data_read", "data_buy",
              "wallet_show", "wallet_history", "wallet_pay", "policy_show", "receipt_verify"}
    holds(tools == called, f"other tools than were called: {tools ^ called}")


async def policy():
    """A payment that is allowed, those that no rule allows, one that waits; all of it in the audit."""
    async with http(full, "auto") as client:
        mine = lambda: [one["why"] for one in command("key", "show", "full")["approvals"]]
        paid = await good(client, "wallet_pay", to=FRIEND, amount="0.5", why="tea", asset="gas")
        holds(paid["status"] == "sent" and paid["transaction"].startswith("0x"), f"pay: {paid}")
        await refused(client, "wallet_pay", "denied", to=STRANGER, amount="0.1", why="tea", asset="gas")
        await refused(client, "wallet_pay", "denied", to=FRIEND, amount="2.5", why="tea", asset="gas")
        await refused(client, "wallet_pay", "denied", to=FRIEND, amount="1", why="tea", asset="stake")
        waits = await good(client, "wallet_pay", to=FRIEND, amount="1.5", why="a cake", asset="gas")
        holds(waits["status"] == "waits", f"it should wait: {waits}")
        other = await good(client, "wallet_pay", to=FRIEND, amount="1.2", why="a pie", asset="gas")
        holds(mine() == ["a cake", "a pie"], "the owner is shown what waits")
        sent = command("key", "approve", waits["approval"])
        holds(sent["status"] == "sent", f"approve: {sent}")
        command("key", "refuse", other["approval"])
        # 0.5 and 1.5 of 3 within a day.
        many = await asyncio.gather(*[call(client, "wallet_pay", to=FRIEND, amount="0.3", why="crumbs", asset="gas") for _ in range(8)])
        holds(sum(not is_error for is_error, _ in many) == 3, f"side by side: {many}")
        shown = await good(client, "policy_show")
        holds(shown["paid"] == "2.900000000000000000" and not shown["approvals"], f"policy: {shown}")
    decisions = [line["decision"] for line in command("key", "audit", "full")["decisions"]]
    holds({"allowed", "sent", "refused", "waits", "approved", "declined"} <= set(decisions), f"audit: {decisions}")


async def refusals():
    async with http(poor, "auto") as client:
        said = await refused(client, "run", "insufficient_funds", model=MODEL, prompt="x", where="cheapest")
        holds("budget" in said["message"], f"spent: {said}")
        said = await refused(client, "wallet_show", "denied")
        holds("talkoo key set" in said["hint"] and "wallet" in said["hint"], f"no scope: {said}")
    for key in (plain, "sk-talkoo-wrong"):
        try:
            async with http(key, "auto") as client:
                await client.list_tools()
        except BaseException:  # noqa: BLE001: the client wraps what went wrong in groups
            continue
        raise SystemExit("client: a key that may not was let in")


async def cancelled(mode):
    """A call that is not waited for any more ends its work: the next ones are not slower for it, and the session goes on."""
    async with http(owner, mode) as client:
        begun = asyncio.Event()

        async def hear(done, total, message):
            begun.set()

        long = {"model": MODEL, "prompt": "Count from one to one thousand in words.", "max_tokens": 2000}
        task = asyncio.create_task(client.call_tool("run", long, progress_callback=hear))
        await asyncio.wait_for(begun.wait(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await good(client, "policy_show")


async def main():
    for mode in ("auto", "legacy"):
        async with http(owner, mode) as client:
            version = client.protocol_version
            holds(version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode], f"{mode} is {version}")
            await every_tool(client)
        await cancelled(mode)
        print(f"every tool, {version}: held", flush=True)
    await policy()
    await refusals()
    print("policy and refusals: held", flush=True)
    # As the owner, and with a key.
    for mode, env in (("auto", None), ("legacy", {"TALKOO_KEY": full})):
        server = mcp.StdioServerParameters(command=talkoo, args=["--data-dir", folder, "mcp"], env=env)
        async with mcp.Client(stdio_client(server), mode=mode) as client:
            await every_tool(client, has_policy=env is not None)
        print(f"standard input and output, {mode}: held", flush=True)


asyncio.run(asyncio.wait_for(main(), 500))
