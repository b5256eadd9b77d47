/* Model names and load keys: Ollama's own table, row by row. */
#include <config.h>

#include "core/model.h"

#include "base/attr.h"
#include "t.h"

static const struct {
	const char *name;
	const char *key; /* NULL: refused */
	enum model_source source;
} rows[] = {
	/* one model, many spellings */
	{ "llama3", "llama3:latest", MODEL_ANY },
	{ " llama3 ", "llama3:latest", MODEL_ANY },
	{ "\t\r\nllama3\v\f", "llama3:latest", MODEL_ANY },
	{ "\xc2\xa0\xe3\x80\x80llama3\xe2\x80\x8a\xc2\x85", "llama3:latest",
	  MODEL_ANY },
	{ "LLaMA3", "llama3:latest", MODEL_ANY },
	{ "llama3:LATEST", "llama3:latest", MODEL_ANY },
	{ "library/llama3", "llama3:latest", MODEL_ANY },
	{ "Library/llama3", "llama3:latest", MODEL_ANY },
	{ "registry.ollama.ai/library/llama3:latest", "llama3:latest", MODEL_ANY },
	{ "https://registry.ollama.ai/library/llama3", "llama3:latest", MODEL_ANY },
	{ "x:///library/llama3", "llama3:latest", MODEL_ANY },
	/* others */
	{ "me/llama3", "me/llama3:latest", MODEL_ANY },
	{ "registry.ollama.ai/me/llama3", "me/llama3:latest", MODEL_ANY },
	{ "ollama.com/library/llama3", "ollama.com/library/llama3:latest", MODEL_ANY },
	{ "hf.co/u/Repo-GGUF:Q4_K_M", "hf.co/u/repo-gguf:q4_k_m", MODEL_ANY },
	{ "huggingface.co/u/Repo-GGUF:Q4_K_M", "huggingface.co/u/repo-gguf:q4_k_m",
	  MODEL_ANY },
	{ "localhost:5000/ns/m", "localhost:5000/ns/m:latest", MODEL_ANY },
	{ "localhost:5000/ns/m:t", "localhost:5000/ns/m:t", MODEL_ANY },
	{ "http://localhost:5000/ns/m:t", "localhost:5000/ns/m:t", MODEL_ANY },
	{ "_m", "_m:latest", MODEL_ANY },
	{ "m.n:1.5b", "m.n:1.5b", MODEL_ANY },
	{ "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	  "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	  MODEL_ANY },
	/* where it runs */
	{ "gpt-oss:20b-cloud", "gpt-oss:20b", MODEL_CLOUD },
	{ "gpt-oss:20b:cloud", "gpt-oss:20b", MODEL_CLOUD },
	{ "gpt-oss:cloud", "gpt-oss:latest", MODEL_CLOUD },
	{ "gpt-oss:120B-CLOUD", "gpt-oss:120b", MODEL_CLOUD },
	{ "me/gpt-oss:Cloud ", "me/gpt-oss:latest", MODEL_CLOUD },
	{ "qwen3:8b:local", "qwen3:8b", MODEL_LOCAL },
	{ "llama3:local", "llama3:latest", MODEL_LOCAL },
	{ "foo-cloud", "foo-cloud:latest", MODEL_ANY },
	{ "cloud", "cloud:latest", MODEL_ANY },
	{ "localhost:5/ns/m-cloud", "localhost:5/ns/m-cloud:latest", MODEL_ANY },
	/* not names */
	{ "host:5000/m", NULL, MODEL_ANY },
	{ "a/b/c/d", NULL, MODEL_ANY },
	{ "llama3:", NULL, MODEL_ANY },
	{ "/llama3", NULL, MODEL_ANY },
	{ "llama3/", NULL, MODEL_ANY },
	{ "/ns/m", NULL, MODEL_ANY },
	{ "h//m", NULL, MODEL_ANY },
	{ ":latest", NULL, MODEL_ANY },
	{ ":", NULL, MODEL_ANY },
	{ "/", NULL, MODEL_ANY },
	{ ":cloud", NULL, MODEL_ANY },
	{ "-m", NULL, MODEL_ANY },
	{ ".m", NULL, MODEL_ANY },
	{ "my.ns/m", NULL, MODEL_ANY },
	{ "llama 3", NULL, MODEL_ANY },
	{ "llama3 :cloud", NULL, MODEL_ANY },
	{ "mod\xc3\xa8le", NULL, MODEL_ANY },
	{ "llama3@sha256:ab", NULL, MODEL_ANY },
	{ "llama3:-cloud", NULL, MODEL_ANY },
	{ "../x", NULL, MODEL_ANY },
	{ "m\nn", NULL, MODEL_ANY },
	{ "https://llama3", NULL, MODEL_ANY },
	{ "foo:cloud:local", NULL, MODEL_ANY },
	{ "foo:20b-cloud:cloud", NULL, MODEL_ANY },
	{ "foo:local:local", NULL, MODEL_ANY },
	{ "", NULL, MODEL_ANY },
	{ " \xe2\x80\xa8 ", NULL, MODEL_ANY },
};

static void names_mean_what_ollama_takes_them_for(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct model_name name = { .key = "" };
		struct errtext why = { "" };
		enum err e = model_parse(span_of(rows[i].name), &name, &why);

		CHECK_INT(e, rows[i].key ? ERR_OK : ERR_INVAL);
		CHECK_STR(name.key, rows[i].key ? rows[i].key : "");
		CHECK_INT(name.source, rows[i].source);
		CHECK((why.s[0] == '\0') == (e == ERR_OK));
		if (t_failed) {
			printf("#   for '%s'\n", rows[i].name);
			return;
		}
	}
}

static void the_refusals_have_ollamas_words(void)
{
	struct model_name name;
	struct errtext why;

	CHECK_INT(model_parse(span_of("  "), &name, &why), ERR_INVAL);
	CHECK_STR(why.s, "model is required");
	CHECK_INT(model_parse((struct span){ NULL, 0 }, &name, &why), ERR_INVAL);
	CHECK_STR(why.s, "model is required");
	CHECK_INT(model_parse(span_of("llama 3"), &name, &why), ERR_INVAL);
	CHECK_STR(why.s, "invalid model name");
	CHECK_INT(model_parse(span_of(" x:cloud:local"), &name, &why), ERR_INVAL);
	CHECK_STR(why.s, "use either :local or :cloud, not both: \"x:cloud:local\"");
}

static void a_name_with_a_nul_is_no_name(void)
{
	struct model_name name;

	CHECK_INT(model_parse((struct span){ "a\0b", 3 }, &name, NULL), ERR_INVAL);
	CHECK_INT(model_parse((struct span){ "a\0", 2 }, &name, NULL), ERR_INVAL);
}

/* "hhh/nnn/mmm:ttt" with parts of these sizes. */
static enum err parse_sized(int host, int ns, int model, int tag, size_t *key_len)
{
	char text[1024], part[512];
	struct model_name name = { .key = "" };
	enum err e;

	memset(part, 'x', sizeof(part));
	snprintf(text, sizeof(text), "%.*s/%.*s/%.*s:%.*s", host, part, ns, part, model,
	         part, tag, part);
	e = model_parse(span_of(text), &name, NULL);
	*key_len = strlen(name.key);
	return e;
}

static void each_part_is_bounded(void)
{
	size_t len;

	CHECK_INT(parse_sized(350, 80, 80, 80, &len), ERR_OK);
	CHECK_INT(len, 350 + 3 * 80 + 3);
	CHECK(len <= LIMIT_MODEL_NAME);
	CHECK_INT(parse_sized(351, 80, 80, 80, &len), ERR_INVAL);
	CHECK_INT(parse_sized(350, 81, 80, 80, &len), ERR_INVAL);
	CHECK_INT(parse_sized(350, 80, 81, 80, &len), ERR_INVAL);
	CHECK_INT(parse_sized(350, 80, 80, 81, &len), ERR_INVAL);
	CHECK_INT(parse_sized(1, 1, 1, 1, &len), ERR_OK);
	CHECK_INT(parse_sized(0, 1, 1, 1, &len), ERR_INVAL);
	CHECK_INT(parse_sized(1, 0, 1, 1, &len), ERR_INVAL);
	CHECK_INT(parse_sized(1, 1, 0, 1, &len), ERR_INVAL);
	CHECK_INT(parse_sized(1, 1, 1, 0, &len), ERR_INVAL);
}

static bool same(const char *a, const char *b)
{
	return model_same(span_of(a), span_of(b));
}

static void two_spellings_are_one_model(void)
{
	CHECK(same("nomic-embed-text", "Nomic-Embed-Text:latest"));
	CHECK(same("m", "m:local"));
	CHECK(same("gpt-oss:20b-cloud", "gpt-oss:20b:cloud"));
	CHECK(!same("gpt-oss:20b-cloud", "gpt-oss:20b"));
	CHECK(!same("hf.co/u/r", "huggingface.co/u/r"));
	CHECK(!same("m:1", "m:2"));
	CHECK(!same("", ""));
	CHECK(!same("a b", "a b"));
	CHECK(!same(NULL, "m"));
}

static const struct {
	const char *name, *options, *shift;
	const char *key; /* NULL: refused */
} keys[] = {
	{ "Qwen3:8B", NULL, NULL, "qwen3:8b" },
	{ "qwen3:8b", "{}", NULL, "qwen3:8b" },
	{ "qwen3:8b", "null", NULL, "qwen3:8b" },
	{ "qwen3:8b", "{\"num_ctx\":8192,\"temperature\":0.1}", NULL,
	  "qwen3:8b num_ctx=8192" },
	{ "qwen3:8b", "{\"num_gpu\":10,\"num_ctx\":8192}", NULL,
	  "qwen3:8b num_ctx=8192 num_gpu=10" },
	{ "m",
	  "{\"draft_num_predict\":4,\"num_thread\":8,\"use_mmap\":false,\"main_gpu\":1,"
	  "\"num_gpu\":99,\"num_batch\":512,\"num_ctx\":4096}",
	  NULL,
	  "m:latest num_ctx=4096 num_batch=512 num_gpu=99 main_gpu=1 use_mmap=false "
	  "num_thread=8 draft_num_predict=4" },
	{ "m", "{\"use_mmap\":true}", NULL, "m:latest use_mmap=true" },
	/* what Ollama takes as not given */
	{ "m", "{\"num_ctx\":null,\"num_gpu\":-1,\"use_mmap\":null}", NULL,
	  "m:latest" },
	{ "m", "{\"num_ctx\":8192,\"num_ctx\":null}", NULL, "m:latest" },
	{ "m", "{\"num_gpu\":0}", NULL, "m:latest num_gpu=0" },
	{ "m", NULL, "true", "m:latest" },
	{ "m", NULL, "null", "m:latest" },
	{ "m", NULL, "false", "m:latest shift=false" },
	{ "m", "{\"num_ctx\":1}", " false ", "m:latest num_ctx=1 shift=false" },
	/* one number, many spellings; the last one counts; keys are exact here */
	{ "m", "{\"num_ctx\":8192.0}", NULL, "m:latest num_ctx=8192" },
	{ "m", "{\"num_ctx\":8.192e3}", NULL, "m:latest num_ctx=8192" },
	{ "m", "{\"num_ctx\":8192.9}", NULL, "m:latest num_ctx=8192" },
	{ "m", "{\"num_ctx\":1,\"num_ctx\":2}", NULL, "m:latest num_ctx=2" },
	{ "m", "{\"num_c\\u0074x\":2}", NULL, "m:latest num_ctx=2" },
	{ "m", "{\"NUM_CTX\":2,\"num_ctx\\u0000\":3}", NULL, "m:latest" },
	{ "m", "{\"num_ctx\":1e300,\"main_gpu\":-1e300}", NULL,
	  "m:latest num_ctx=9223372036854775807 main_gpu=-9223372036854775808" },
	/* another machine's */
	{ "gpt-oss:20b-cloud", "{\"num_ctx\":1}", NULL, "gpt-oss:20b cloud num_ctx=1" },
	{ "gpt-oss:20b:local", NULL, NULL, "gpt-oss:20b" },
	/* what the target would not take */
	{ "m", "{\"num_ctx\":\"8192\"}", NULL, NULL },
	{ "m", "{\"num_ctx\":true}", NULL, NULL },
	{ "m", "{\"num_ctx\":[]}", NULL, NULL },
	{ "m", "{\"num_ctx\":1e999}", NULL, NULL },
	{ "m", "{\"use_mmap\":1}", NULL, NULL },
	{ "m", "{\"use_mmap\":\"yes\"}", NULL, NULL },
	{ "m", "[]", NULL, NULL },
	{ "m", "1", NULL, NULL },
	{ "m", "{\"num_ctx\":1", NULL, NULL },
	{ "m", NULL, "1", NULL },
	{ "m", NULL, "\"no\"", NULL },
};

static void load_keys_tell_when_ollama_would_reload(void)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		char key[LIMIT_LOAD_KEY + 1] = "";
		struct errtext why = { "" };
		struct model_name name;
		enum err e;

		REQUIRE(model_parse(span_of(keys[i].name), &name, NULL) == ERR_OK);
		e = model_load_key(&name, span_of(keys[i].options), span_of(keys[i].shift),
		                   key, &why);
		CHECK_INT(e, keys[i].key ? ERR_OK : ERR_INVAL);
		if (keys[i].key)
			CHECK_STR(key, keys[i].key);
		CHECK((why.s[0] == '\0') == (e == ERR_OK));
		if (t_failed) {
			printf("#   row %zu, options %s\n", i, keys[i].options);
			return;
		}
	}
}

static void the_refusals_of_options_name_the_option(void)
{
	char key[LIMIT_LOAD_KEY + 1];
	struct model_name name;
	struct errtext why;

	REQUIRE(model_parse(span_of("m"), &name, NULL) == ERR_OK);
	CHECK_INT(model_load_key(&name, span_of("{\"num_ctx\":\"x\"}"), span_of(NULL),
	                         key, &why),
	          ERR_INVAL);
	CHECK_STR(why.s, "option \"num_ctx\" must be of type integer");
	CHECK_INT(model_load_key(&name, span_of("{\"use_mmap\":0}"), span_of(NULL), key,
	                         &why),
	          ERR_INVAL);
	CHECK_STR(why.s, "option \"use_mmap\" must be of type boolean");
}

static void the_longest_load_key_fits(void)
{
	static const char options[] =
	    "{\"num_ctx\":-1e30,\"num_batch\":-1e30,\"num_gpu\":1e30,\"main_gpu\":-"
	    "1e30,"
	    "\"use_mmap\":false,\"num_thread\":-1e30,\"draft_num_predict\":-1e30}";
	char text[1024], part[512], key[LIMIT_LOAD_KEY + 1];
	struct model_name name;

	memset(part, 'x', sizeof(part));
	snprintf(text, sizeof(text), "%.350s/%.80s/%.80s:%.80s:cloud", part, part, part,
	         part);
	REQUIRE(model_parse(span_of(text), &name, NULL) == ERR_OK);
	REQUIRE(model_load_key(&name, span_of(options), span_of("false"), key, NULL) ==
	        ERR_OK);
	CHECK(strlen(key) < LIMIT_LOAD_KEY);
	CHECK_STR(key + strlen(key) - 12, " shift=false");
}

int main(void)
{
	static const struct t_case cases[] = {
		T(names_mean_what_ollama_takes_them_for),
		T(the_refusals_have_ollamas_words),
		T(a_name_with_a_nul_is_no_name),
		T(each_part_is_bounded),
		T(two_spellings_are_one_model),
		T(load_keys_tell_when_ollama_would_reload),
		T(the_refusals_of_options_name_the_option),
		T(the_longest_load_key_fits),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
