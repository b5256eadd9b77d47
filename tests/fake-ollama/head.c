/*
 * head.c - request line, fields, and what they say about the body.
 *
 * Refuses what Go refuses: no Host on 1.1, spaces in names, conflicting
 * lengths, codings other than chunked, a percent sign without two digits.
 */
#include <config.h>

#include "head.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_token(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || (s.p[i] & 0x80) ||
		    strchr("()<>@,;:\\\"/[]?={}\x7f", s.p[i]))
			return false;
	return s.len > 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL: a broken escape. */
static char *percent_decode(struct span s)
{
	char *path = text_alloc(s.len + 1), *o = path;

	for (size_t i = 0; i < s.len; i++) {
		int high, low;

		if (s.p[i] != '%') {
			*o++ = s.p[i];
			continue;
		}
		high = i + 2 < s.len ? hex_value(s.p[i + 1]) : -1;
		low = i + 2 < s.len ? hex_value(s.p[i + 2]) : -1;
		if (high < 0 || low < 0) {
			free(path);
			return NULL;
		}
		/* A NUL would end the path early; nothing matches a '?' either. */
		*o++ = (char)(high || low ? high << 4 | low : '?');
		i += 2;
	}
	return path;
}

/* origin-form, or the path of an absolute-form. */
static bool read_target(struct span target, struct head *h)
{
	const char *at;

	if (target.len > 7 && !strncasecmp(target.p, "http://", 7)) {
		at = memchr(target.p + 7, '/', target.len - 7);
		target = at ? (struct span){ at, target.len - (size_t)(at - target.p) }
		            : SPAN_LIT("/");
	}
	if (!target.len || target.p[0] != '/')
		return false;
	at = memchr(target.p, '?', target.len);
	h->raw_path = target;
	if (at) {
		h->raw_path.len = (size_t)(at - target.p);
		h->query = (struct span){ at + 1, target.len - h->raw_path.len - 1 };
	}
	h->path = percent_decode(h->raw_path);
	return h->path != NULL;
}

static int read_request_line(struct span line, struct head *h)
{
	struct span target, version = line;

	if (!span_cut(&version, ' ', &h->method) || !span_cut(&version, ' ', &target) ||
	    !is_token(h->method) || version.len != 8 ||
	    strncmp(version.p, "HTTP/", 5) || version.p[6] != '.')
		return 400;
	if (version.p[5] != '1' || version.p[7] < '0' || version.p[7] > '9')
		return 505;
	h->minor = version.p[7] - '0';
	return read_target(target, h) ? 0 : 400;
}

static bool read_field(struct span line, struct head *h)
{
	struct head_field *f = &h->fields[h->field_count];
	const char *colon = memchr(line.p, ':', line.len);

	if (!colon || h->field_count == HEAD_FIELDS_MAX)
		return false;
	f->name = (struct span){ line.p, (size_t)(colon - line.p) };
	f->value = span_trim((struct span){ colon + 1, line.len - f->name.len - 1 });
	h->field_count++;
	return is_token(f->name);
}

struct span head_get(const struct head *h, const char *name)
{
	for (size_t i = 0; i < h->field_count; i++)
		if (span_eq_nocase(h->fields[i].name, name))
			return h->fields[i].value;
	return (struct span){ NULL, 0 };
}

bool head_has_token(struct span list, const char *word)
{
	struct span piece;

	while (list.p && span_cut(&list, ',', &piece))
		if (span_eq_nocase(span_trim(piece), word))
			return true;
	return false;
}

/* How the body is framed. With both, chunked wins, as in Go. */
static int read_framing(struct head *h, const char **why)
{
	struct span coding = head_get(h, "Transfer-Encoding");

	if (coding.p && h->minor) {
		if (!span_eq_nocase(coding, "chunked")) {
			*why = "Unsupported transfer encoding";
			return 501;
		}
		h->chunked = true;
		return 0;
	}
	for (size_t i = 0; i < h->field_count; i++) {
		uint64_t n;

		if (!span_eq_nocase(h->fields[i].name, "Content-Length"))
			continue;
		if (str_u64(h->fields[i].value, &n) || (h->has_length && n != h->length))
			return 400;
		h->has_length = true;
		h->length = n;
	}
	return 0;
}

static int read_fields(struct head *h, const char **why)
{
	struct span connection = head_get(h, "Connection");
	struct span expect = head_get(h, "Expect");
	int status = read_framing(h, why);

	if (status)
		return status;
	if (h->minor && !head_get(h, "Host").p) {
		*why = "missing required Host header";
		return 400;
	}
	h->keep_alive = h->minor ? !head_has_token(connection, "close")
	                         : head_has_token(connection, "keep-alive");
	h->wants_continue = expect.p && span_eq_nocase(expect, "100-continue");
	return expect.len && !h->wants_continue ? 417 : 0;
}

int head_parse(struct span text, struct head *out, const char **why)
{
	struct span line;
	int status;

	*out = (struct head){ .minor = 1 };
	*why = "";
	for (bool first = true; span_cut(&text, '\n', &line); first = false) {
		if (line.len && line.p[line.len - 1] == '\r')
			line.len--;
		if (!line.len && !first)
			break;
		status = first                   ? read_request_line(line, out)
		         : read_field(line, out) ? 0
		                                 : 400;
		if (status)
			return status;
	}
	return read_fields(out, why);
}

void head_done(struct head *h)
{
	free(h->path);
	h->path = NULL;
}
