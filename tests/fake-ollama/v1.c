/*
 * v1.c - four APIs of other companies, as Ollama speaks them.
 *
 * chat/completions and completions are chunks without a name, [DONE] at their
 * end. responses and messages are named events that open and close what they
 * stream. A body that is not streamed ends in a newline.
 */
#include <config.h>

#include "v1.h"

#include "text.h"

#include <inttypes.h>
#include <time.h>

/* --- chat/completions ------------------------------------------------------ */

static void put_chat_open(struct buf *b, const char *object, const char *model)
{
	put_f(b,
	      "{\"id\":\"chatcmpl-123\",\"object\":\"%s\",\"created\":%lld,\"model\":",
	      object, (long long)time(NULL));
	put_json(b, span_of(model));
	put_s(b, ",\"system_fingerprint\":\"fp_ollama\",\"choices\":[");
}

static void put_reason(struct buf *b, const char *reason)
{
	if (reason)
		put_json(b, span_of(reason));
	else
		put_s(b, "null");
}

static void put_chat_delta(struct buf *b, const char *model, struct span text,
                           const char *reason)
{
	put_s(b, "data: ");
	put_chat_open(b, "chat.completion.chunk", model);
	put_s(b, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":");
	put_json(b, text);
	put_s(b, "},\"finish_reason\":");
	put_reason(b, reason);
	put_s(b, "}]}\n\n");
}

static void put_usage(struct buf *b, const struct totals *t)
{
	put_f(b, "\"usage\":{\"prompt_tokens\":%" PRId64, t->prompt_count);
	if (t->reason)
		put_f(b, ",\"completion_tokens\":%" PRId64, t->eval_count);
	put_f(b, ",\"total_tokens\":%" PRId64 "}", t->prompt_count + t->eval_count);
}

static void put_chat_usage(struct buf *b, const struct ask *a,
                           const struct totals *t)
{
	put_s(b, "data: ");
	put_chat_open(b, "chat.completion.chunk", a->model);
	put_s(b, "],");
	put_usage(b, t);
	put_s(b, "}\n\n");
}

static void put_chat_whole(struct buf *b, const struct ask *a, struct span content,
                           const struct totals *t)
{
	put_chat_open(b, "chat.completion", a->model);
	put_s(b, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
	put_json(b, content);
	put_s(b, "},\"finish_reason\":");
	put_reason(b, t->reason);
	put_s(b, "}],");
	put_usage(b, t);
	put_s(b, "}\n");
}

/* --- completions ------------------------------------------------------------ */

static void put_text(struct buf *b, const char *model, struct span text,
                     const char *reason, const struct totals *usage)
{
	put_f(b, "{\"id\":\"cmpl-123\",\"object\":\"text_completion\",\"created\":%lld",
	      (long long)time(NULL));
	put_s(b, ",\"choices\":[{\"text\":");
	put_json(b, text);
	put_s(b, ",\"index\":0,\"finish_reason\":");
	put_reason(b, reason);
	put_s(b, "}],\"model\":");
	put_json(b, span_of(model));
	put_s(b, ",\"system_fingerprint\":\"fp_ollama\"");
	if (usage) {
		put_s(b, ",");
		put_usage(b, usage);
	}
	put_s(b, "}");
}

static void put_text_delta(struct buf *b, const char *model, struct span text,
                           const char *reason, const struct totals *usage)
{
	put_s(b, "data: ");
	put_text(b, model, text, reason, usage);
	put_s(b, "\n\n");
}

/* --- responses --------------------------------------------------------------- */

static void put_tokens(struct buf *b, const struct totals *t)
{
	put_f(b, "{\"input_tokens\":%" PRId64 ",\"output_tokens\":%" PRId64,
	      t->prompt_count, t->eval_count);
}

static void put_response(struct buf *b, const struct ask *a, const char *status,
                         struct span content, const struct totals *t)
{
	put_f(b, "{\"id\":\"resp_123\",\"object\":\"response\",\"created_at\":%lld",
	      (long long)time(NULL));
	put_f(b, ",\"status\":\"%s\",\"model\":", status);
	put_json(b, span_of(a->model));
	put_s(b, ",\"output\":[");
	if (t) {
		put_s(b,
		      "{\"id\":\"msg_123\",\"type\":\"message\",\"status\":\"completed\","
		      "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
		      "\"text\":");
		put_json(b, content);
		put_s(b, ",\"annotations\":[]}]}");
	}
	put_s(b, "],\"error\":null,\"usage\":");
	if (t) {
		put_tokens(b, t);
		put_f(b, ",\"total_tokens\":%" PRId64 "}", t->prompt_count + t->eval_count);
	} else {
		put_s(b, "null");
	}
	put_s(b, "}");
}

static void put_response_open(struct buf *b, const struct ask *a)
{
	put_s(b, "event: response.created\n"
	         "data: {\"type\":\"response.created\",\"response\":");
	put_response(b, a, "in_progress", SPAN_LIT(""), NULL);
	put_s(b, "}\n\n"
	         "event: response.output_item.added\n"
	         "data: {\"type\":\"response.output_item.added\",\"output_index\":0,"
	         "\"item\":{\"id\":\"msg_123\",\"type\":\"message\",\"status\":"
	         "\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n");
}

static void put_response_delta(struct buf *b, struct span text)
{
	put_s(b,
	      "event: response.output_text.delta\n"
	      "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_123\","
	      "\"output_index\":0,\"content_index\":0,\"delta\":");
	put_json(b, text);
	put_s(b, "}\n\n");
}

static void put_response_last(struct buf *b, const struct ask *a,
                              struct span content, const struct totals *t)
{
	put_s(b,
	      "event: response.output_text.done\n"
	      "data: {\"type\":\"response.output_text.done\",\"item_id\":\"msg_123\","
	      "\"output_index\":0,\"content_index\":0,\"text\":");
	put_json(b, content);
	put_s(b, "}\n\n"
	         "event: response.completed\n"
	         "data: {\"type\":\"response.completed\",\"response\":");
	put_response(b, a, "completed", content, t);
	put_s(b, "}\n\n");
}

/* --- messages ---------------------------------------------------------------- */

static const char *stop_reason(const struct totals *t)
{
	return t->reason && *t->reason == 'l' ? "max_tokens" : "end_turn";
}

static void put_message_open(struct buf *b, const struct ask *a)
{
	put_s(b, "event: message_start\n"
	         "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_123\","
	         "\"type\":\"message\",\"role\":\"assistant\",\"model\":");
	put_json(b, span_of(a->model));
	put_s(b,
	      ",\"content\":[],\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}\n\n"
	      "event: content_block_start\n"
	      "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
	      "{\"type\":\"text\",\"text\":\"\"}}\n\n");
}

static void put_message_delta(struct buf *b, struct span text)
{
	put_s(b, "event: content_block_delta\n"
	         "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
	         "{\"type\":\"text_delta\",\"text\":");
	put_json(b, text);
	put_s(b, "}}\n\n");
}

static void put_message_last(struct buf *b, const struct totals *t)
{
	put_f(b,
	      "event: content_block_stop\n"
	      "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
	      "event: message_delta\n"
	      "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\"},"
	      "\"usage\":",
	      stop_reason(t));
	put_tokens(b, t);
	put_s(b, "}}\n\n"
	         "event: message_stop\n"
	         "data: {\"type\":\"message_stop\"}\n\n");
}

static void put_message_whole(struct buf *b, const struct ask *a,
                              struct span content, const struct totals *t)
{
	put_s(b, "{\"id\":\"msg_123\",\"type\":\"message\",\"role\":\"assistant\","
	         "\"model\":");
	put_json(b, span_of(a->model));
	put_s(b, ",\"content\":[{\"type\":\"text\",\"text\":");
	put_json(b, content);
	put_f(b, "}],\"stop_reason\":\"%s\",\"usage\":", stop_reason(t));
	put_tokens(b, t);
	put_s(b, "}}\n");
}

/* --- any of them -------------------------------------------------------------- */

void put_v1_part(struct buf *b, const struct ask *a, struct span text, bool first)
{
	switch (a->kind) {
	case ASK_V1_RESPONSE:
		if (first)
			put_response_open(b, a);
		put_response_delta(b, text);
		break;
	case ASK_V1_MESSAGE:
		if (first)
			put_message_open(b, a);
		put_message_delta(b, text);
		break;
	case ASK_V1_TEXT:
		put_text_delta(b, a->model, text, NULL, NULL);
		break;
	default:
		put_chat_delta(b, a->model, text, NULL);
		break;
	}
}

void put_v1_last(struct buf *b, const struct ask *a, struct span content,
                 const struct totals *t)
{
	switch (a->kind) {
	case ASK_V1_RESPONSE:
		put_response_last(b, a, content, t);
		break;
	case ASK_V1_MESSAGE:
		put_message_last(b, t);
		break;
	case ASK_V1_TEXT:
		put_text_delta(b, a->model, SPAN_LIT(""), t->reason, a->usage ? t : NULL);
		put_s(b, "data: [DONE]\n\n");
		break;
	default:
		put_chat_delta(b, a->model, SPAN_LIT(""), t->reason);
		if (a->usage)
			put_chat_usage(b, a, t);
		put_s(b, "data: [DONE]\n\n");
		break;
	}
}

void put_v1_whole(struct buf *b, const struct ask *a, struct span content,
                  const struct totals *t)
{
	switch (a->kind) {
	case ASK_V1_RESPONSE:
		put_response(b, a, t->reason ? "completed" : "incomplete", content, t);
		put_s(b, "\n");
		break;
	case ASK_V1_MESSAGE:
		put_message_whole(b, a, content, t);
		break;
	case ASK_V1_TEXT:
		put_text(b, a->model, content, t->reason, t);
		put_s(b, "\n");
		break;
	default:
		put_chat_whole(b, a, content, t);
		break;
	}
}

void put_v1_nothing(struct buf *b, const struct ask *a)
{
	if (a->kind == ASK_V1_CHAT)
		put_chat_delta(b, "", SPAN_LIT(""), NULL);
	else if (a->kind == ASK_V1_TEXT)
		put_text_delta(b, "", SPAN_LIT(""), NULL, NULL);
}
