// The OpenAI SDK for JS against the URL given, its results as one JSON object.

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "unused",
	maxRetries: 0 });
const messages = [{ role: "user", content: "echo one two three" }];
const weather = { type: "function", function: {
	name: "weather", description: "of a city", parameters: {
		type: "object", properties: { city: { type: "string" } } } } };

const create = (more) =>
	client.chat.completions.create({ model: "a", messages, ...more });
const chat = async (more) => (await create(more)).choices[0].message.content;

async function pieces(stream) {
	const parts = [];
	for await (const part of stream) {
		const content = part.choices[0]?.delta?.content;
		if (content) parts.push(content);
	}
	return parts;
}

async function usage() {
	const tokens = [];
	for await (const part of await create({ stream: true,
		stream_options: { include_usage: true } }))
		if (part.usage) tokens.push(part.usage.completion_tokens);
	return tokens;
}

async function refused(call) {
	try {
		await call();
	} catch (error) {
		return [error.status, error.error];
	}
}

async function abort() {
	const stream = await create({ messages: [{ role: "user", content: "go on" }],
		stream: true, options: { fake_tokens: 100000, fake_token_ms: 20 } });
	const read = [];
	for await (const part of stream) {
		read.push(Boolean(part.choices[0].delta.content));
		if (read.length === 2) stream.controller.abort();
	}
	return read.slice(0, 2);
}

const ids = [];
for await (const model of client.models.list()) ids.push(model.id);

console.log(JSON.stringify({
	"models": ids.sort(),
	"model": (await client.models.retrieve("a")).object,
	"chat": await chat(),
	"stream": await pieces(await create({ stream: true })),
	"usage": await usage(),
	"tools": await chat({ model: "helper", tools: [weather] }),
	"format": await chat({ response_format: { type: "json_object" } }),
	"embeddings": (await client.embeddings.create({ model: "embedder",
		input: ["one", "two"], encoding_format: "float" }))
		.data.map((d) => d.embedding.length > 0),
	"abort": await abort(),
	"unknown": await refused(() => chat({ model: "nope" })),
	"unknown, streamed": await refused(() => create({ model: "nope", stream: true })),
	"unknown, retrieved": await refused(() => client.models.retrieve("nope")),
}));
