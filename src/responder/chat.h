/*
 * chat.h - requests that wait their turn on an open connection.
 */
#ifndef FOREMAN_RESPONDER_CHAT_H
#define FOREMAN_RESPONDER_CHAT_H

#include "responder/call.h"

/* POST /api/chat, /api/generate, and OpenAI's and Anthropic's of their kind
 * under /v1: a job with a waiting client, except for what the target answers
 * without a slot: a body it cannot parse, no valid model, an unload, a cloud
 * model. These are passed on at once. */
void chat_handle(struct call *c);

/* POST /api/embed, /api/embeddings, /v1/embeddings: past the queue when that is
 * safe, else a turn like any other work. */
void chat_embed(struct call *c);

#endif
