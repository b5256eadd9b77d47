"""langchain-ollama against the URL given: what each call gives, as one JSON object."""

import json
import sys

from langchain_ollama import ChatOllama, OllamaEmbeddings
from ollama import ResponseError

URL = sys.argv[1]
chat = ChatOllama(model="a", base_url=URL, validate_model_on_init=True)
embeddings = OllamaEmbeddings(model="embedder", base_url=URL)


def unknown():
    try:
        ChatOllama(model="nope", base_url=URL).invoke("x")
    except ResponseError as error:
        return [error.status_code, error.error]


print(json.dumps({
    "chat": chat.invoke("echo one two three").content,
    "stream": [c.content for c in chat.stream("echo one two three") if c.content],
    "embed": len(embeddings.embed_query("one")),
    "embed many": [len(e) for e in embeddings.embed_documents(["one", "two"])],
    "unknown": unknown(),
}))
