"""The OpenAI SDK for Python against the URL given, its results as one JSON object."""

import json
import sys

from openai import APIStatusError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="unused", max_retries=0)
MESSAGES = [{"role": "user", "content": "echo one two three"}]
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}}}}


def chat(model="a", **more):
    return client.chat.completions.create(model=model, messages=MESSAGES, **more)


def pieces(stream):
    return [c.choices[0].delta.content for c in stream
            if c.choices and c.choices[0].delta.content]


def refused(call):
    try:
        call()
    except APIStatusError as error:
        return [error.status_code, error.body]


def abort():
    stream = client.chat.completions.create(
        model="a", messages=[{"role": "user", "content": "go on"}], stream=True,
        extra_body={"options": {"fake_tokens": 100000, "fake_token_ms": 20}})
    read = [bool(next(stream).choices[0].delta.content) for _ in range(2)]
    stream.close()
    return read


print(json.dumps({
    "models": sorted(m.id for m in client.models.list()),
    "model": client.models.retrieve("a").object,
    "chat": chat().choices[0].message.content,
    "stream": pieces(chat(stream=True)),
    "usage": [c.usage.completion_tokens for c in
              chat(stream=True, stream_options={"include_usage": True}) if c.usage],
    "tools": chat("helper", tools=[WEATHER]).choices[0].message.content,
    "format": chat(response_format={"type": "json_object"}).choices[0].message.content,
    "embeddings": [len(d.embedding) > 0 for d in client.embeddings.create(
        model="embedder", input=["one", "two"], encoding_format="float").data],
    "abort": abort(),
    "unknown": refused(lambda: chat("nope")),
    "unknown, streamed": refused(lambda: chat("nope", stream=True)),
    "unknown, retrieved": refused(lambda: client.models.retrieve("nope")),
}))
