/*
 * stream.c - FastCGI records made by hand, handed over as the kernel takes
 * them.
 *
 * `out` holds whole encoded records; its first bytes may be the rest of one
 * the kernel took a part of. It is bounded by the caller's max, plus room for
 * one head and the end, so that a request can always be ended.
 * Refused: bytes before the head, anything after the end (caller's bugs), and
 * header lines that are none.
 */
#include <config.h>

#include "fcgi/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/fd.h"

/* FastCGI 1.0, section 8 */
#define RECORD_VERSION 1
#define RECORD_END_REQUEST 3
#define RECORD_STDOUT 6
#define RECORD_HEADER 8
#define RECORD_CONTENT_MAX 65535
#define END_BODY 8 /* application status 0, protocol status "complete" */

#define END_BYTES (RECORD_HEADER + RECORD_HEADER + END_BODY)
#define HEAD_BYTES (RECORD_HEADER + STREAM_HEAD_MAX)
#define ROOM (HEAD_BYTES + END_BYTES)

/* --- the CGI head ---------------------------------------------------------- */

static bool token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool header_line_ok(struct span line)
{
	size_t name = 0;

	while (name < line.len && token_char(line.p[name]))
		name++;
	if (name == 0 || name == line.len || line.p[name] != ':')
		return false;
	for (size_t i = name + 1; i < line.len; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool is_status_line(struct span line)
{
	struct span name;

	return span_cut(&line, ':', &name) && span_eq_nocase(name, "status");
}

static enum err add_line(struct buf *b, struct span line)
{
	enum err e;

	if (!header_line_ok(line))
		return ERR_INVAL;
	if (is_status_line(line))
		return ERR_OK;
	e = buf_add(b, line.p, line.len);
	return e ? e : buf_add_str(b, "\r\n");
}

enum err stream_head_text(struct buf *b, int status, const char *content_type,
                          struct span headers)
{
	enum err e = buf_addf(b, "Status: %d\r\n", status);

	if (!e && content_type) {
		char line[256];
		int n = snprintf(line, sizeof(line), "Content-Type: %s", content_type);

		if (n < 0 || (size_t)n >= sizeof(line))
			return ERR_INVAL;
		e = add_line(b, (struct span){ line, (size_t)n });
	}
	for (struct span line; !e && headers.len;) {
		if (!span_cut(&headers, '\n', &line))
			break;
		e = add_line(b, line);
	}
	return e ? e : buf_add_str(b, "\r\n");
}

/* --- records --------------------------------------------------------------- */

void stream_init(struct stream *s, int fd, int id, size_t max)
{
	*s = (struct stream){ .fd = fd, .id = id };
	buf_init(&s->out, max + ROOM);
}

void stream_done(struct stream *s)
{
	buf_done(&s->out);
	fd_close(&s->fd);
}

/* Never refused: callers have checked that there is room; what may lack is
 * memory. */
static enum err add_record(struct stream *s, int type, const void *p, size_t len)
{
	char *to = buf_reserve(&s->out, RECORD_HEADER + len);

	if (!to)
		return ERR_NOMEM;
	to[0] = RECORD_VERSION;
	to[1] = (char)type;
	to[2] = (char)(s->id >> 8);
	to[3] = (char)s->id;
	to[4] = (char)(len >> 8);
	to[5] = (char)len;
	to[6] = 0; /* no padding */
	to[7] = 0;
	if (len)
		memcpy(to + RECORD_HEADER, p, len);
	buf_commit(&s->out, RECORD_HEADER + len);
	return ERR_OK;
}

enum err stream_head(struct stream *s, int status, struct span headers)
{
	struct buf text;
	enum err e;

	assert(!s->head_sent && !s->ended);
	buf_init(&text, STREAM_HEAD_MAX);
	e = stream_head_text(&text, status, NULL, headers);
	if (!e)
		e = add_record(s, RECORD_STDOUT, text.p, text.len);
	if (!e)
		s->head_sent = true;
	buf_done(&text);
	return e;
}

enum err stream_write(struct stream *s, const void *p, size_t len)
{
	size_t max = s->out.max - ROOM;
	size_t records = (len + RECORD_CONTENT_MAX - 1) / RECORD_CONTENT_MAX;
	size_t need = len + records * RECORD_HEADER;
	size_t before = s->out.len;

	assert(s->head_sent && !s->ended);
	if (len > max || need > max || before > max - need)
		return ERR_TOOBIG;
	while (len) {
		size_t n = len < RECORD_CONTENT_MAX ? len : RECORD_CONTENT_MAX;
		enum err e = add_record(s, RECORD_STDOUT, p, n);

		if (e) {
			s->out.len = before; /* all of it or none */
			return e;
		}
		p = (const char *)p + n;
		len -= n;
	}
	return ERR_OK;
}

enum err stream_end(struct stream *s)
{
	static const char complete[END_BODY];
	size_t before = s->out.len;
	enum err e;

	assert(!s->ended);
	e = add_record(s, RECORD_STDOUT, NULL, 0);
	if (!e)
		e = add_record(s, RECORD_END_REQUEST, complete, sizeof(complete));
	if (e)
		s->out.len = before;
	else
		s->ended = true;
	return e;
}

enum err stream_flush(struct stream *s)
{
	while (s->out.len) {
		ssize_t n = send(s->fd, s->out.p, s->out.len,
		                 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			buf_consume(&s->out, (size_t)n);
		else if (n < 0 && errno == EAGAIN)
			return ERR_AGAIN;
		else if (n == 0 || errno != EINTR)
			return ERR_CLOSED;
	}
	return ERR_OK;
}

size_t stream_pending(const struct stream *s)
{
	return s->out.len;
}
