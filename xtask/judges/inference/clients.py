"""Python programs that people use, against a node's API. Usage: clients.py BASE KEY NAME…"""
import json
import os
import sys
import time

base, key, names = sys.argv[1], sys.argv[2], sys.argv[3:]
MODEL = "smollm2-135m-instruct"
ASK = [{"role": "user", "content": "What is the capital of Finland?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 20}}, "required": ["place"]},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def same(have, want, what):
    if have != want:
        raise AssertionError(f"{what}: {have!r}, not {want!r}")


def holds(what, text):
    if not what:
        raise AssertionError(text)


def openai_client():
    import openai
    from pydantic import BaseModel, Field

    client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, timeout=120)
    holds(any(model.id == MODEL for model in client.models.list()), "the model is not listed")
    same(client.models.retrieve(MODEL).id, MODEL, "a model by its name")
    chat = client.chat.completions.create
    whole = chat(model=MODEL, messages=ASK, max_tokens=20)
    holds("Helsinki" in whole.choices[0].message.content, whole)
    same(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens, "usage")
    holds(whole.model_extra["talkoo"]["nodes"], "an answer names its nodes")
    text, usage = "", None
    for chunk in chat(model=MODEL, messages=ASK, max_tokens=20, stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    same(text, whole.choices[0].message.content, "a stream's text")
    same(usage.completion_tokens, whole.usage.completion_tokens, "a stream's usage")
    both = chat(model=MODEL, messages=ASK, max_tokens=8, n=2, seed=3, temperature=1.0, logprobs=True, top_logprobs=2)
    again = chat(model=MODEL, messages=ASK, max_tokens=8, n=2, seed=3, temperature=1.0)
    same([c.message.content for c in both.choices], [c.message.content for c in again.choices], "the same seed")
    same(len(both.choices[0].logprobs.content[0].top_logprobs), 2, "log probabilities")
    call = chat(model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required", max_tokens=60).choices[0]
    same((call.finish_reason, call.message.tool_calls[0].function.name), ("tool_calls", "get_weather"), "a demanded call")
    holds("place" in json.loads(call.message.tool_calls[0].function.arguments), call)
    told = ASK + [call.message, {"role": "tool", "tool_call_id": call.message.tool_calls[0].id, "content": "rain"}]
    chat(model=MODEL, messages=told, tools=[WEATHER], max_tokens=20)

    class Person(BaseModel):
        name: str = Field(max_length=20)
        age: int = Field(ge=0, le=120)

    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    parsed = parse(model=MODEL, messages=ASK, response_format=Person, max_tokens=80).choices[0].message.parsed
    holds(isinstance(parsed, Person), parsed)
    pieces = client.completions.create(model=MODEL, prompt=["The capital of", "One, two,"], max_tokens=5, logprobs=1)
    same(len(pieces.choices), 2, "two prompts")
    vectors = client.embeddings.create(model="all-minilm-l6-v2", input=["one", "two"])
    same((len(vectors.data), len(vectors.data[0].embedding)), (2, 384), "vectors")
    numbers = client.embeddings.create(model="all-minilm-l6-v2", input="one", encoding_format="float")
    holds(max(abs(a - b) for a, b in zip(vectors.data[0].embedding, numbers.data[0].embedding)) < 1e-6, "the same vector")
    errors = [
        (openai.NotFoundError, lambda: chat(model="none", messages=ASK), "model_not_found"),
        (openai.BadRequestError, lambda: chat(model=MODEL, messages=ASK, temperature=9), "invalid_value"),
        (openai.BadRequestError, lambda: chat(model=MODEL, messages=ASK, extra_body={"mirostat": 1}), "unsupported_parameter"),
        (openai.AuthenticationError, lambda: client.with_options(api_key="sk-talkoo-no").models.list(), "invalid_api_key"),
    ]
    for kind, ask, code in errors:
        try:
            ask()
            raise AssertionError(f"{code} was not raised")
        except kind as why:
            same(why.code, code, "the code of an error")
    response = client.responses.create(model=MODEL, input="What is the capital of Finland?", max_output_tokens=20)
    holds("Helsinki" in response.output_text, response)
    more = client.responses.create(model=MODEL, input="And of Sweden?", previous_response_id=response.id, max_output_tokens=20)
    same(more.previous_response_id, response.id, "a conversation")
    same(client.responses.retrieve(response.id).output_text, response.output_text, "a response found again")
    holds(len(client.responses.input_items.list(more.id).data) == 3, "its input has the turns before")
    kinds = [event.type for event in client.responses.create(model=MODEL, input="Say hi", stream=True, max_output_tokens=50)]
    same((kinds[0], kinds[-1] in ("response.completed", "response.incomplete")), ("response.created", True), "events")
    slow = client.responses.create(model=MODEL, input="Count to a thousand", background=True, max_output_tokens=2000)
    holds(client.responses.cancel(slow.id).status in ("cancelled", "completed", "incomplete"), "a cancelled response")
    client.responses.delete(response.id)
    lines = [{"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": {"model": MODEL, "messages": ASK, "max_tokens": 20}} for n in range(20)]
    file = client.files.create(file=("lines.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    end = time.time() + 120
    while batch.status not in ("completed", "failed", "expired", "cancelled") and time.time() < end:
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    same((batch.status, batch.request_counts.completed), ("completed", 20), "a batch")
    out = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    holds(all("Helsinki" in line["response"]["body"]["choices"][0]["message"]["content"] for line in out), out)
    same(sorted(int(line["custom_id"]) for line in out), list(range(20)), "its lines")
    holds(any(one.id == batch.id for one in client.batches.list()), "it is listed")
    client.files.delete(file.id)


def webhooks_client():
    import http.server
    import queue
    import threading
    import urllib.request

    import openai

    heard = queue.Queue()

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.put((self.rfile.read(int(self.headers["content-length"])), dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    ear = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    threading.Thread(target=ear.serve_forever, daemon=True).start()

    def native(method, path, body=None):
        headers = {"Authorization": f"Bearer {os.environ['TALKOO_TOKEN']}", "Content-Type": "application/json"}
        ask = urllib.request.Request(f"{base}/api/v1{path}", json.dumps(body).encode() if body else None, headers, method=method)
        return json.load(urllib.request.urlopen(ask, timeout=10))

    hook = native("POST", "/webhooks", {"url": f"http://127.0.0.1:{ear.server_port}/hook"})
    client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, webhook_secret=hook["secret"], max_retries=0, timeout=120)
    begun = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=8, background=True)
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": {"model": MODEL, "messages": ASK, "max_tokens": 4}}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    told = {}
    while set(told) != {begun.id, batch.id}:
        body, headers = heard.get(timeout=120)
        event = client.webhooks.unwrap(body, headers)
        told[event.data.id] = event.type
        try:
            client.webhooks.unwrap(body.replace(b"response.", b"batch.").replace(b"_", b"-"), headers)
            raise SystemExit("a forged event was taken")
        except openai.InvalidWebhookSignatureError:
            pass
    same(told[batch.id], "batch.completed", "what is told of a batch")
    holds(told[begun.id] in ("response.completed", "response.incomplete"), told)
    same(native("DELETE", f"/webhooks/{hook['id']}"), {"removed": True}, "a webhook that is removed")


def anthropic_client():
    import anthropic

    client = anthropic.Anthropic(base_url=base, api_key=key, max_retries=0)
    message = client.messages.create(model=MODEL, max_tokens=20, system="Be brief.", messages=ASK)
    same((message.type, message.content[0].type), ("message", "text"), "a message")
    with client.messages.stream(model=MODEL, max_tokens=20, system="Be brief.", messages=ASK) as stream:
        text = "".join(stream.text_stream)
        same(text, message.content[0].text, "a stream's text")
        same(stream.get_final_message().usage.output_tokens, message.usage.output_tokens, "a stream's usage")
    count = client.messages.count_tokens(model=MODEL, system="Be brief.", messages=ASK)
    same(count.input_tokens, message.usage.input_tokens, "tokens counted before")
    tool = {"name": "get_weather", "input_schema": WEATHER["function"]["parameters"]}
    call = client.messages.create(model=MODEL, max_tokens=60, messages=ASK, tools=[tool], tool_choice={"type": "any"})
    same((call.stop_reason, call.content[-1].name), ("tool_use", "get_weather"), "a call")
    told = ASK + [
        {"role": "assistant", "content": call.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.content[-1].id, "content": "rain"}]},
    ]
    client.messages.create(model=MODEL, max_tokens=20, messages=told, tools=[tool])
    try:
        client.messages.create(model="none", max_tokens=5, messages=ASK)
        raise AssertionError("an unknown model answered")
    except anthropic.NotFoundError:
        pass


def ollama_client():
    import ollama

    client = ollama.Client(host=base, headers={"Authorization": f"Bearer {key}"})
    holds(any(model.model == MODEL for model in client.list().models), "the model is not listed")
    client.show(MODEL)
    whole = client.chat(model=MODEL, messages=ASK, options={"num_predict": 20, "temperature": 0})
    holds("Helsinki" in whole.message.content, whole)
    text = "".join(part.message.content for part in client.chat(model=MODEL, messages=ASK, stream=True, options={"num_predict": 20}))
    same(text, whole.message.content, "a stream's text")
    client.generate(model=MODEL, prompt="Hello", options={"num_predict": 5})
    person = client.chat(model=MODEL, messages=ASK, format=SCHEMA, options={"num_predict": 80})
    holds("name" in json.loads(person.message.content), person)
    same(len(client.embed(model="all-minilm-l6-v2", input=["one", "two"]).embeddings), 2, "vectors")
    try:
        client.chat(model="none", messages=ASK)
        raise AssertionError("an unknown model answered")
    except ollama.ResponseError as why:
        same(why.status_code, 404, "its status")


def litellm_client():
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    options = {"model": f"openai/{MODEL}", "api_base": f"{base}/v1", "api_key": key, "messages": ASK, "max_tokens": 20}
    holds("Helsinki" in litellm.completion(**options).choices[0].message.content, "a completion")
    text = "".join(c.choices[0].delta.content or "" for c in litellm.completion(stream=True, **options))
    holds("Helsinki" in text, text)


def instructor_client():
    import instructor
    import openai
    from pydantic import BaseModel, Field

    class Person(BaseModel):
        name: str = Field(max_length=20)
        age: int = Field(ge=0, le=120)

    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(openai.OpenAI(base_url=f"{base}/v1", api_key=key), mode=mode)
        person = client.chat.completions.create(model=MODEL, messages=ASK, response_model=Person, max_tokens=100, max_retries=0)
        holds(isinstance(person, Person), person)


def langchain_client():
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    chat = ChatOpenAI(model=MODEL, base_url=f"{base}/v1", api_key=key, max_tokens=20, temperature=0)
    holds("Helsinki" in chat.invoke("What is the capital of Finland?").content, "an answer")
    holds("".join(part.content for part in chat.stream("Say hi")), "a stream")
    make = {"model": "all-minilm-l6-v2", "base_url": f"{base}/v1", "api_key": key}
    same(len(OpenAIEmbeddings(check_embedding_ctx_length=False, **make).embed_query("one")), 384, "a vector")


def llamaindex_client():
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(model=MODEL, api_base=f"{base}/v1", api_key=key, is_chat_model=True, max_tokens=20, temperature=0)
    holds("Helsinki" in llm.chat([ChatMessage(role="user", content=ASK[0]["content"])]).message.content, "an answer")


def agents_client():
    import asyncio

    import agents
    import openai

    client = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key)
    agents.set_tracing_disabled(True)
    settings = agents.ModelSettings(max_tokens=20)

    async def run():
        for kind in (agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel):
            model = kind(model=MODEL, openai_client=client)
            agent = agents.Agent(name="a", instructions="Be brief.", model=model, model_settings=settings)
            holds((await agents.Runner.run(agent, "What is the capital of Finland?")).final_output, "an answer")
        await client.close()

    asyncio.run(run())


for name in names:
    globals()[f"{name}_client"]()
    print(f"{name}: ok", flush=True)
