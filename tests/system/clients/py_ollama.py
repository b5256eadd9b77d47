"""ollama-python against the URL given: what each call gives, as one JSON object."""

import json
import sys

from ollama import Client, ResponseError

client = Client(host=sys.argv[1])
ECHO = [{"role": "user", "content": "echo one two three"}]
SLOW = {"fake_tokens": 100000, "fake_token_ms": 20}
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "of a city", "parameters": {
        "type": "object", "required": ["city"],
        "properties": {"city": {"type": "string"}}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}


def refused(call):
    try:
        call()
    except ResponseError as error:
        return [error.status_code, error.error]


def abort():
    stream = client.chat("a", [{"role": "user", "content": "go on"}],
                         stream=True, options=SLOW)
    read = [next(stream).done for _ in range(2)]
    stream.close()
    return read


def broken():
    list(client.chat("a", ECHO, stream=True, options={"fake_error_at": 1}))


print(json.dumps({
    "list": sorted(m.model for m in client.list().models),
    "show": client.show("a").details.format,
    "chat": client.chat("a", ECHO).message.content,
    "stream": [c.message.content for c in client.chat("a", ECHO, stream=True)],
    "generate": client.generate("a", "echo one").response,
    "ps": [m.model for m in client.ps().models if m.model == "a:latest"],
    "tools": client.chat("helper", ECHO, tools=[WEATHER]).message.content,
    "format": client.chat("a", ECHO, format=SCHEMA).message.content,
    "images": client.chat("gemma3:4b", [{**ECHO[0], "images": [b"\x89PNG\r\n" * 100]}])
                    .message.content,
    "embed": [len(e) for e in client.embed("embedder", ["one", "two"]).embeddings],
    "embeddings": len(client.embeddings("embedder", "one").embedding),
    "abort": abort(),
    "unknown": refused(lambda: client.chat("nope", ECHO)),
    "unknown, streamed": refused(lambda: list(client.chat("nope", ECHO, stream=True))),
    "unknown, shown": refused(lambda: client.show("nope")),
    "error line": refused(broken),
}))
