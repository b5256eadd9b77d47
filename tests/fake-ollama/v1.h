/*
 * v1.h - what a model says, in the words of OpenAI's and Anthropic's APIs.
 */
#ifndef FAKE_OLLAMA_V1_H
#define FAKE_OLLAMA_V1_H

#include "ask.h"
#include "reply.h"

/* As put_part, put_last and put_whole of reply.h. */
void put_v1_part(struct buf *b, const struct ask *a, struct span text, bool first);
void put_v1_last(struct buf *b, const struct ask *a, struct span content,
                 const struct totals *t);
void put_v1_whole(struct buf *b, const struct ask *a, struct span content,
                  const struct totals *t);

/* What a stream makes of an error in the middle: an empty chunk, or nothing. */
void put_v1_nothing(struct buf *b, const struct ask *a);

#endif
