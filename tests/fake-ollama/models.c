/*
 * models.c - the catalogue: a list, newest entry first in /api/tags.
 *
 * Entries are never moved or freed before models_done, so that a runner may
 * point at its model for as long as it likes. Digests are made from the name,
 * so that every start of the double tells the same ones.
 */
#include <config.h>

#include "models.h"

#include "text.h"

#include "base/sha.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BORN_NS INT64_C(1764000000123456789) /* of the first entry */
#define MINUTE_NS (INT64_C(60) * 1000000000)

static struct model **models;
static size_t count;

static const struct {
	const char *name;
	unsigned can;
	const char *family, *params, *quant;
	int64_t size, context, width;
} catalogue[] = {
	{ "llama3.2:latest", CAN_COMPLETE | CAN_TOOLS, "llama", "3.2B", "Q4_K_M",
	  2019393189, 131072, 3072 },
	{ "qwen3:8b", CAN_COMPLETE | CAN_TOOLS, "qwen3", "8.2B", "Q4_K_M", 5225388164,
	  40960, 4096 },
	{ "mistral:7b", CAN_COMPLETE | CAN_TOOLS, "llama", "7.2B", "Q4_K_M", 4372824384,
	  32768, 4096 },
	{ "gemma3:4b", CAN_COMPLETE | CAN_SEE, "gemma3", "4.3B", "Q4_K_M", 3338801804,
	  131072, 2560 },
	{ "phi4:14b", CAN_COMPLETE, "phi3", "14.7B", "Q4_K_M", 9053116391, 16384,
	  5120 },
	{ "deepseek-r1:8b", CAN_COMPLETE | CAN_THINK, "qwen3", "8.2B", "Q4_K_M",
	  5225376047, 131072, 4096 },
	{ "tiny:latest", CAN_COMPLETE, "llama", "15.2M", "Q8_0", 16384512, 2048, 288 },
	{ "nomic-embed-text:latest", CAN_EMBED, "nomic-bert", "137M", "F16", 274302450,
	  2048, 768 },
	{ "all-minilm:latest", CAN_EMBED, "bert", "23M", "F16", 45960996, 256, 384 },
};

static void digests(struct model *m)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "weights of %s", m->display);

	sha256_hex(text, (size_t)n, m->blob);
	n = snprintf(text, sizeof(text), "manifest of %s", m->display);
	sha256_hex(text, (size_t)n, m->digest);
}

static void set_name(struct model *m, const struct name *n)
{
	struct buf b;

	buf_init(&b, TEXT_MAX);
	put_name_short(&b, n);
	free(m->display);
	m->display = text_dup((struct span){ b.p, b.len });
	buf_done(&b);
	m->name = *n;
}

/* A new entry, or the known one of that name as if new. */
static struct model *entry(const struct name *n)
{
	struct model *m = models_known(n);

	if (!m) {
		models = realloc(models, (count + 1) * sizeof(struct model *));
		if (!models)
			abort();
		m = models[count++] = text_alloc(sizeof(*m));
	}
	set_name(m, n);
	digests(m);
	m->present = true;
	m->load_ms = -1;
	m->modified_ns = BORN_NS + (int64_t)count * MINUTE_NS;
	return m;
}

void models_init(void)
{
	for (size_t i = 0; i < ARRAY_LEN(catalogue); i++) {
		struct name n;
		struct model *m;

		if (name_parse(span_of(catalogue[i].name), &n))
			abort();
		m = entry(&n);
		m->can = catalogue[i].can;
		m->family = catalogue[i].family;
		m->params = catalogue[i].params;
		m->quant = catalogue[i].quant;
		m->size = catalogue[i].size;
		m->context = catalogue[i].context;
		m->width = catalogue[i].width;
	}
}

void models_done(void)
{
	while (count) {
		free(models[--count]->display);
		free(models[count]);
	}
	free(models);
	models = NULL;
}

static bool set_trait(struct model *m, struct span s)
{
	uint64_t ms;

	if (span_eq(s, "embed")) {
		m->can = CAN_EMBED;
		m->width = 768;
	} else if (span_eq(s, "tools")) {
		m->can |= CAN_TOOLS;
	} else if (span_eq(s, "think")) {
		m->can |= CAN_THINK;
	} else if (s.len > 8 && !strncmp(s.p, "load-ms=", 8)) {
		if (str_u64((struct span){ s.p + 8, s.len - 8 }, &ms) || ms > INT32_MAX)
			return false;
		m->load_ms = (int64_t)ms;
	} else {
		return false;
	}
	return true;
}

bool models_add(const char *spec)
{
	struct span rest = span_of(spec), piece;
	struct model *m;
	struct name n;

	if (!span_cut(&rest, ',', &piece) || name_parse(piece, &n) || n.cloud)
		return false;
	m = entry(&n);
	m->can = CAN_COMPLETE;
	m->family = "llama";
	m->params = "1.0B";
	m->quant = "Q4_K_M";
	m->size = 1000000000;
	m->context = 32768;
	m->width = 2048;
	while (span_cut(&rest, ',', &piece))
		if (!set_trait(m, piece))
			return false;
	return true;
}

struct model *models_known(const struct name *n)
{
	for (size_t i = 0; i < count; i++)
		if (name_same(&models[i]->name, n))
			return models[i];
	return NULL;
}

struct model *models_find(const struct name *n, bool exact)
{
	struct model *m = models_known(n);

	return m && m->present && (!exact || name_equal(&m->name, n)) ? m : NULL;
}

void models_copy(const struct model *from, const struct name *to)
{
	struct model *m = entry(to), kept = *m;

	*m = *from;
	m->name = kept.name;
	m->display = kept.display;
	m->modified_ns = text_wall_ns();
}

void put_details(struct buf *b, const struct model *m)
{
	put_f(
	    b,
	    "{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"%s\",\"families\":"
	    "[\"%s\"],\"parameter_size\":\"%s\",\"quantization_level\":\"%s\"}",
	    m->family, m->family, m->params, m->quant);
}

/* The present ones, the latest modified first, as `ollama list` shows them. */
static const struct model **in_order(size_t *n)
{
	const struct model **list = text_alloc((count + 1) * sizeof(*list));

	*n = 0;
	for (size_t i = 0; i < count; i++) {
		size_t at = *n;

		if (!models[i]->present)
			continue;
		for (; at && list[at - 1]->modified_ns < models[i]->modified_ns; at--)
			list[at] = list[at - 1];
		list[at] = models[i];
		(*n)++;
	}
	return list;
}

void put_tags(struct buf *b)
{
	size_t n;
	const struct model **list = in_order(&n);

	put_s(b, "{\"models\":[");
	for (size_t i = 0; i < n; i++) {
		const struct model *m = list[i];

		put_f(b, "%s{\"name\":\"%s\",\"model\":\"%s\",\"modified_at\":\"",
		      i ? "," : "", m->display, m->display);
		put_local(b, m->modified_ns);
		put_f(b,
		      "\",\"size\":%lld,\"digest\":\"%s\",\"details\":", (long long)m->size,
		      m->digest);
		put_details(b, m);
		put_s(b, "}");
	}
	put_s(b, "]}");
	free(list);
}

static void put_capabilities(struct buf *b, const struct model *m)
{
	static const struct {
		unsigned can;
		const char *name;
	} all[] = {
		{ CAN_COMPLETE, "completion" }, { CAN_EMBED, "embedding" },
		{ CAN_SEE, "vision" },          { CAN_TOOLS, "tools" },
		{ CAN_INSERT, "insert" },       { CAN_THINK, "thinking" },
	};
	const char *sep = "";

	put_s(b, "[");
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (!(m->can & all[i].can))
			continue;
		put_f(b, "%s\"%s\"", sep, all[i].name);
		sep = ",";
	}
	put_s(b, "]");
}

void put_show(struct buf *b, const struct model *m, const char *basename)
{
	put_s(b, "{\"license\":\"");
	put_f(b,
	      "no rights to nothing\",\"modelfile\":\"# Modelfile generated by "
	      "\\\"ollama "
	      "show\\\"\\nFROM /models/blobs/sha256-%s\\nTEMPLATE {{ .Prompt }}\\n\","
	      "\"template\":\"{{ .Prompt }}\",\"details\":",
	      m->blob);
	put_details(b, m);
	put_s(b, ",\"model_info\":{");
	put_f(b,
	      "\"%s.context_length\":%lld,\"%s.embedding_length\":%lld,"
	      "\"general.architecture\":\"%s\",\"general.basename\":",
	      m->family, (long long)m->context, m->family, (long long)m->width,
	      m->family);
	put_json(b, span_of(basename ? basename : m->name.model));
	put_s(b, ",\"general.file_type\":15},\"capabilities\":");
	put_capabilities(b, m);
	put_s(b, ",\"modified_at\":\"");
	put_local(b, m->modified_ns);
	put_s(b, "\"}");
}

void put_v1_model(struct buf *b, const struct model *m)
{
	put_f(
	    b,
	    "{\"id\":\"%s\",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"%s\"}",
	    m->display, (long long)(m->modified_ns / 1000000000), m->name.ns);
}

void put_v1_models(struct buf *b)
{
	size_t n;
	const struct model **list = in_order(&n);

	put_s(b, "{\"object\":\"list\",\"data\":");
	for (size_t i = 0; i < n; i++) {
		put_s(b, i ? "," : "[");
		put_v1_model(b, list[i]);
	}
	put_s(b, n ? "]}\n" : "null}\n");
	free(list);
}
