/*
 * model.h - model names as Ollama understands them, and load keys.
 *
 * `llama3`, `LLaMA3:latest` and `registry.ollama.ai/library/llama3` are one
 * model; the same model with another num_ctx is another load. The load key
 * says exactly when Ollama would reload. Used to group and compare only: the
 * request's own spelling is what goes to the target.
 */
#ifndef FOREMAN_CORE_MODEL_H
#define FOREMAN_CORE_MODEL_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "core/limits.h"

#include <stdbool.h>

enum model_source { MODEL_ANY, MODEL_LOCAL, MODEL_CLOUD };

struct model_name {
	char key[LIMIT_MODEL_NAME + 1]; /* lower case; default host and namespace
	                                   left out, the tag always there:
	                                   "llama3:latest", "hf.co/u/r:q4" */
	enum model_source source;
};

/* ERR_INVAL: not a name Ollama would accept (the text says which way). */
enum err model_parse(struct span name, struct model_name *out,
                     struct errtext *why) MUST_CHECK;

/* Do both texts name the same model? False if either is not a name. */
bool model_same(struct span a, struct span b);

/*
 * The load key: the model's key and, in a fixed order, those of `options`
 * (the raw JSON object, absent is fine) that shape the runner: num_ctx,
 * num_batch, num_gpu, main_gpu, use_mmap, num_thread, draft_num_predict; and
 * `shift` when false. "qwen3:8b" or "qwen3:8b num_ctx=8192 num_gpu=10"; a
 * cloud model's says so: "gpt-oss:20b cloud".
 * Values Ollama treats as absent (null, num_gpu below 0) leave no trace.
 * ERR_INVAL: an option or `shift` of the wrong type, or `options` no object.
 * `out` needs LIMIT_LOAD_KEY + 1 bytes.
 */
enum err model_load_key(const struct model_name *name, struct span options,
                        struct span shift, char *out, struct errtext *why) MUST_CHECK;

#endif
