/*
 * artifacts.c - the bytes a job left, whole or in part.
 *
 * An artifact never changes, and its entity tag is its SHA-256: who has it need
 * not fetch it again, and a part fits what was fetched before. Small answers go
 * out in one write, which never blocks; larger ones by the shelf (shelf.h), so
 * that no client, however slow, holds a thread.
 * Not here: reading the bytes in step with the client (shelf), Range (range.h).
 */
#include <config.h>

#include "responder/artifacts.h"

#include <stdio.h>
#include <string.h>

#include "base/sha.h"
#include "core/limits.h"
#include "core/range.h"
#include "responder/answer.h"
#include "responder/jobs.h"
#include "responder/lot.h"
#include "store/artifact.h"
#include "store/look.h"

#define TAG_SIZE (2 * SHA256_LEN + 3)

struct fetch {
	struct artifact artifact;
	int64_t handle;
	char tag[TAG_SIZE]; /* with its quotes */
	struct range range;
	int status; /* 200 or 206 */
	char headers[LOT_HEADERS_SIZE];
};

/* No artifact: say whether it is the job that is missing. */
static void answer_none(struct call *c, struct db *db, const char *name)
{
	struct job job;
	enum err e = look_job(db, c->job, -1, &job);

	if (e) {
		jobs_answer_error(c, e);
		return;
	}
	answer_fault(c, FAULT_NOT_FOUND,
	             job_state_terminal(job.state) ? "the job left no %s"
	                                           : "the job has no %s yet",
	             name);
	job_done(&job);
}

/* --- the head ------------------------------------------------------------- */

static int hex_value(char digit)
{
	return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

/* A digest field's value (RFC 9530) of the hex digest. */
static void digest_value(const char *hex, char *out, size_t size)
{
	unsigned char bytes[SHA256_LEN] = { 0 };
	char base64[4 * ((SHA256_LEN + 2) / 3) + 1];

	for (size_t i = 0; i < SHA256_LEN && hex[2 * i] && hex[2 * i + 1]; i++)
		bytes[i] =
		    (unsigned char)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
	str_base64(bytes, sizeof(bytes), base64);
	snprintf(out, size, "sha-256=:%s:", base64);
}

/* What a download would be called: "01K….json". */
static const char *extension(const struct artifact *a)
{
	static const struct {
		const char *type, *extension;
	} known[] = {
		{ "application/x-ndjson", "ndjson" },
		{ "application/json", "json" },
		{ "text/event-stream", "txt" },
		{ "text/plain", "txt" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strncmp(a->content_type, known[i].type, strlen(known[i].type)) == 0)
			return known[i].extension;
	return "bin";
}

/* What every answer about the artifact says, 304 and 416 too. */
static size_t put_lines(const struct call *c, struct fetch *f)
{
	char digest[80];
	int n;

	digest_value(f->artifact.sha256, digest, sizeof(digest));
	n = snprintf(f->headers, sizeof(f->headers),
	             "ETag: %s\n"
	             "Accept-Ranges: bytes\n"
	             "Repr-Digest: %s\n"
	             "X-Content-Type-Options: nosniff\n"
	             "Content-Disposition: attachment; filename=\"%s-%s.%s\"\n",
	             f->tag, digest, c->job, f->artifact.name, extension(&f->artifact));
	if (f->status == 200)
		n += snprintf(f->headers + n, sizeof(f->headers) - (size_t)n,
		              "Content-Digest: %s\n", digest);
	return (size_t)n;
}

/* ... and those of an answer with bytes. */
static void put_length(struct fetch *f, size_t n)
{
	const struct range *r = &f->range;

	if (f->status == 206)
		n += (size_t)snprintf(
		    f->headers + n, sizeof(f->headers) - n,
		    "Content-Range: bytes %lld-%lld/%lld\n", (long long)r->first,
		    (long long)(r->first + r->len - 1), (long long)f->artifact.bytes);
	snprintf(f->headers + n, sizeof(f->headers) - n,
	         "Content-Type: %s\nContent-Length: %lld\n",
	         f->artifact.content_type[0] ? f->artifact.content_type
	                                     : "application/octet-stream",
	         (long long)r->len);
}

/* May the Range header be heeded? A tag that is not this one's says that what
 * the client has is not of this artifact. */
static bool range_counts(const struct call *c, const struct fetch *f)
{
	struct span tag = call_header(c, "HTTP_IF_RANGE");

	return call_by(c, "GET") &&
	       (!tag.p || span_eq(tag, f->tag));
}

static void answer_unsatisfiable(struct call *c, struct fetch *f)
{
	char lines[64];

	snprintf(lines, sizeof(lines), "Content-Range: bytes */%lld\n",
	         (long long)f->artifact.bytes);
	answer_fault_with(c, FAULT_RANGE, lines, "no byte of that range is there");
}

/* --- the bytes ------------------------------------------------------------ */

/* All in one, so small that it never waits for the client; or the head alone. */
static void send_at_once(struct call *c, struct db *db, const struct fetch *f)
{
	bool head = call_by(c, "HEAD");
	struct buf bytes, piece;
	enum err e = ERR_OK;

	buf_init(&bytes, LIMIT_ARTIFACT_DIRECT);
	buf_init(&piece, LIMIT_ARTIFACT_DIRECT);
	while (!e && !head && (int64_t)bytes.len < f->range.len) {
		size_t left = (size_t)f->range.len - bytes.len;

		e = artifact_piece(db, f->handle, f->range.first + (int64_t)bytes.len, left,
		                   &piece);
		if (!e)
			e = buf_add(&bytes, piece.p, piece.len);
	}
	if (e == ERR_NOENT) {
		answer_none(c, db, f->artifact.name); /* removed meanwhile */
	} else if (e) {
		answer_store_error(c, e);
	} else {
		c->status = f->status;
		e = fcgx_head(c->req, f->status, NULL, span_of(f->headers));
		if (!e && bytes.len)
			e = fcgx_add(c->req, bytes.p, bytes.len);
		if (e)
			errtext_set(&c->why, "not sent: %s", err_name(e));
	}
	buf_done(&bytes);
	buf_done(&piece);
}

static void send_by_shelf(struct call *c, const struct fetch *f)
{
	struct lot_sending sending = {
		.status = f->status,
		.order = { .what = SHELF_BYTES,
		           .handle = f->handle,
		           .offset = f->range.first,
		           .left = f->range.len,
		           .trail = c->trail },
	};
	enum err e = fcgx_detach(c->req, &sending.fd, &sending.fcgi_id);

	if (e) {
		answer_fault(c, FAULT_INTERNAL, "cannot be sent: %s", err_name(e));
		return;
	}
	c->req = NULL;
	str_copy(sending.headers, sizeof(sending.headers), f->headers);
	str_copy(sending.order.id, sizeof(sending.order.id), c->job);
	lot_send(c->seat->service->lot, &sending);
}

static void send_bytes(struct call *c, struct db *db, struct fetch *f)
{
	put_length(f, put_lines(c, f));
	if (f->range.len <= LIMIT_ARTIFACT_DIRECT ||
	    call_by(c, "HEAD"))
		send_at_once(c, db, f);
	else
		send_by_shelf(c, f);
}

/* --- handlers ------------------------------------------------------------- */

static void answer_found(struct call *c, struct db *db, struct fetch *f)
{
	struct span range = call_header(c, "HTTP_RANGE");
	enum range_answer asked;

	snprintf(f->tag, sizeof(f->tag), "\"%s\"", f->artifact.sha256);
	if (!range_counts(c, f))
		range = (struct span){ 0 };
	asked = range_read(range, f->artifact.bytes, &f->range);
	f->status = asked == RANGE_PART ? 206 : 200;
	if (jobs_none_match(c, f->tag)) {
		f->status = 304;
		put_lines(c, f);
		answer_empty(c, 304, f->headers);
	} else if (asked == RANGE_UNSATISFIABLE) {
		answer_unsatisfiable(c, f);
	} else {
		send_bytes(c, db, f);
	}
}

static void answer_named(struct call *c, const char *name)
{
	struct fetch f = { 0 };
	struct db *db;
	enum err e;

	if (!jobs_id_ok(c) || call_db(c, &db))
		return;
	e = artifact_find(db, c->job, name, &f.artifact, &f.handle);
	if (e == ERR_NOENT)
		answer_none(c, db, name);
	else if (e)
		answer_store_error(c, e);
	else
		answer_found(c, db, &f);
}

void artifacts_response(struct call *c)
{
	answer_named(c, "response");
}

void artifacts_content(struct call *c)
{
	answer_named(c, "content");
}
