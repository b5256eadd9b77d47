// ollama-js against the URL given: what each call gives, as one JSON object.

import { Ollama } from "ollama";

const client = new Ollama({ host: process.argv[2] });
const messages = [{ role: "user", content: "echo one two three" }];
const weather = { type: "function", function: {
	name: "weather", description: "of a city", parameters: {
		type: "object", required: ["city"],
		properties: { city: { type: "string" } } } } };
const schema = { type: "object", properties: { age: { type: "integer" } } };

async function contents(stream) {
	const parts = [];
	for await (const part of stream) parts.push(part.message.content);
	return parts;
}

async function refused(call) {
	try {
		await call();
	} catch (error) {
		return [error.status_code ?? -1, error.message];
	}
}

async function abort() {
	const stream = await client.chat({ model: "a", messages: [
		{ role: "user", content: "go on" }], stream: true,
		options: { fake_tokens: 100000, fake_token_ms: 20 } });
	const read = [];
	try {
		for await (const part of stream) {
			read.push(part.done);
			if (read.length === 2) stream.abort();
		}
	} catch (error) {
		if (error.name !== "AbortError") throw error;
	}
	return read.slice(0, 2);
}

const chat = async (more) =>
	(await client.chat({ model: "a", messages, ...more })).message.content;
const stream = (more) => client.chat({ model: "a", messages, stream: true, ...more });

console.log(JSON.stringify({
	"list": (await client.list()).models.map((m) => m.model).sort(),
	"show": (await client.show({ model: "a" })).details.format,
	"chat": await chat(),
	"stream": await contents(await stream()),
	"generate": (await client.generate({ model: "a", prompt: "echo one" })).response,
	"ps": (await client.ps()).models.map((m) => m.model)
		.filter((name) => name === "a:latest"),
	"tools": await chat({ model: "helper", tools: [weather] }),
	"format": await chat({ format: schema }),
	"images": await chat({ model: "gemma3:4b", messages: [
		{ ...messages[0], images: [new TextEncoder().encode("PNG".repeat(100))] }] }),
	"embed": (await client.embed({ model: "embedder", input: ["one", "two"] }))
		.embeddings.map((e) => e.length),
	"embeddings": (await client.embeddings({ model: "embedder", prompt: "one" }))
		.embedding.length,
	"abort": await abort(),
	"unknown": await refused(() => chat({ model: "nope" })),
	"unknown, streamed": await refused(() => stream({ model: "nope" })),
	"unknown, shown": await refused(() => client.show({ model: "nope" })),
	"error line": await refused(async () =>
		contents(await stream({ options: { fake_error_at: 1 } }))),
}));
