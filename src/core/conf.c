/*
 * conf.c - the environment, read into one struct.
 *
 * Nothing here knows a single key by name: what there is, the table says
 * (setting.c), and what it may be, its type (value.c). What stays true: a conf
 * that was loaded is complete and within its ranges, and no message or dump
 * holds a secret.
 *
 * An empty value (FOREMAN_X=) counts as not set, as compose files and unit
 * files write it; an empty secret file does not, because that is a mistake
 * that would open a door.
 * Refused: unknown names, a name given twice, a secret given both ways.
 */
#include <config.h>

#include "core/conf.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "core/setting.h"

#define FILE_SUFFIX "_FILE"
#define SECRET_FILE_MAX 8192
#define REASON_SIZE 160

/* --- saying no ----------------------------------------------------------- */

/* `name=value: ` and why; one line however strange the value is. */
static enum err refuse(struct errtext *why, struct span name, const char *value,
                       const char *reason)
{
	char shown_name[64], shown[72];

	str_escape(name, shown_name, sizeof(shown_name));
	str_escape(span_of(value), shown, sizeof(shown));
	errtext_set(why, "%s=%s: %s", shown_name, shown, reason);
	return ERR_INVAL;
}

static enum err refuse_value(const struct setting *s, const char *value,
                             struct errtext *why)
{
	char reason[VALUE_ACCEPTS_SIZE];

	value_accepts(s->type, s->range, reason);
	return refuse(why, span_of(s->name), s->secret ? "***" : value, reason);
}

/* The value stays hidden: a mistyped name may well hold a secret. */
static enum err refuse_unknown(struct span name, struct errtext *why)
{
	const char *nearest = setting_nearest(name);
	char reason[REASON_SIZE];

	snprintf(reason, sizeof(reason), "unknown setting; %s %s accepted",
	         nearest ? nearest : "only documented FOREMAN_ names",
	         nearest ? "is" : "are");
	return refuse(why, name, "***", reason);
}

/* --- reading the environment --------------------------------------------- */

/* A setting's name, or that of a secret's file. */
static bool is_known(struct span name)
{
	for (size_t i = 0; i < setting_count; i++) {
		size_t len = strlen(settings[i].name);

		if (span_eq(name, settings[i].name))
			return true;
		if (settings[i].secret && name.len > len &&
		    memcmp(name.p, settings[i].name, len) == 0 &&
		    span_eq((struct span){ name.p + len, name.len - len }, FILE_SUFFIX))
			return true;
	}
	return false;
}

static bool is_given(char *const *env, char *const *end, struct span name)
{
	for (; env < end; env++) {
		struct span rest = span_of(*env), other;

		span_cut(&rest, '=', &other);
		if (other.len == name.len && memcmp(other.p, name.p, name.len) == 0)
			return true;
	}
	return false;
}

static enum err check_names(char *const *env, struct errtext *why)
{
	for (char *const *at = env; *at; at++) {
		struct span rest = span_of(*at), name;

		if (strncmp(*at, SETTING_PREFIX, sizeof(SETTING_PREFIX) - 1) != 0)
			continue;
		span_cut(&rest, '=', &name);
		if (!is_known(name))
			return refuse_unknown(name, why);
		if (is_given(env, at, name))
			return refuse(why, name, "***", "given twice; one of each is accepted");
	}
	return ERR_OK;
}

/* The value of `name``suffix`; NULL: not set, or to nothing. */
static const char *value_of(char *const *env, const char *name, const char *suffix)
{
	size_t len = strlen(name), more = strlen(suffix);

	for (; *env; env++)
		if (strncmp(*env, name, len) == 0 &&
		    strncmp(*env + len, suffix, more) == 0 && (*env)[len + more] == '=')
			return (*env)[len + more + 1] ? *env + len + more + 1 : NULL;
	return NULL;
}

/* Set the field of `s` from FOREMAN_X_FILE. */
static enum err load_file(const struct setting *s, const char *path, void *field,
                          struct errtext *why)
{
	char name[64], reason[REASON_SIZE];
	struct errtext cause = { "" };
	struct span text;
	char *bytes = NULL;
	enum err e;

	snprintf(name, sizeof(name), "%s" FILE_SUFFIX, s->name);
	e = fd_read_file(path, SECRET_FILE_MAX, &bytes, &text.len, &cause);
	if (e) {
		snprintf(reason, sizeof(reason), "%.80s; a readable file is accepted",
		         cause.s[0] ? cause.s : err_name(e));
		return refuse(why, span_of(name), path, reason);
	}
	text.p = bytes;
	while (text.len > 0 &&
	       (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r'))
		text.len--;
	e = text.len > 0 ? value_read(s->type, s->range, text, field) : ERR_INVAL;
	free(bytes);
	if (e != ERR_INVAL)
		return e;
	snprintf(reason, sizeof(reason), "holds something else; %s is accepted",
	         s->type->accepts);
	return refuse(why, span_of(name), path, reason);
}

static enum err load_setting(const struct setting *s, char *const *env,
                             struct conf *c, struct errtext *why)
{
	const char *value = value_of(env, s->name, "");
	const char *file = s->secret ? value_of(env, s->name, FILE_SUFFIX) : NULL;
	void *field = (char *)c + s->field;
	enum err e;

	if (value && file)
		return refuse(why, span_of(s->name), "***",
		              "given beside its _FILE; one of the two is accepted");
	if (file)
		return load_file(s, file, field, why);
	if (!value)
		value = s->fallback;
	if (!*value)
		return ERR_OK;
	e = value_read(s->type, s->range, span_of(value), field);
	return e == ERR_INVAL ? refuse_value(s, value, why) : e;
}

enum err conf_load(char *const *env, struct conf *out, struct errtext *why)
{
	struct conf c = { 0 };
	enum err e;

	e = check_names(env, why);
	for (size_t i = 0; !e && i < setting_count; i++)
		e = load_setting(&settings[i], env, &c, why);
	if (e) {
		if (e == ERR_NOMEM)
			errtext_set(why, "out of memory");
		conf_done(&c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

void conf_done(struct conf *c)
{
	for (size_t i = 0; i < setting_count; i++)
		value_done(settings[i].type, (char *)c + settings[i].field);
}

/* --- showing it ---------------------------------------------------------- */

void conf_dump(const struct conf *c, FILE *to)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &settings[i];
		const void *field = (const char *)c + s->field;

		fprintf(to, "%s=", s->name);
		if (s->secret)
			fputs(*(char *const *)field ? "***" : "", to);
		else
			value_show(s->type, field, to);
		putc('\n', to);
	}
}
