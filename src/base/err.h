/*
 * err.h - the one error currency.
 *
 * The code tells the program what to do; the text tells the operator why.
 * Functions return `enum err`, ERR_OK being success and zero; whoever wants
 * to know more passes a `struct errtext *` (NULL is fine everywhere).
 * Out-parameters are untouched unless the answer is ERR_OK.
 */
#ifndef FOREMAN_BASE_ERR_H
#define FOREMAN_BASE_ERR_H

#include "base/attr.h"

enum err {
	ERR_OK = 0,
	ERR_STALE,    /* someone else was first; nothing was changed */
	ERR_NOENT,    /* no such thing */
	ERR_CONFLICT, /* exists already, and differs */
	ERR_INVAL,    /* the input is wrong; asking again will not help */
	ERR_TOOBIG,   /* over a named limit on size */
	ERR_LIMIT,    /* over a named limit on number; later may work */
	ERR_FULL,     /* the disk is; later may work */
	ERR_BUSY,     /* a lock or a peer did not yield in time */
	ERR_AGAIN,    /* would block; wait for the descriptor and call again */
	ERR_TIMEOUT,  /* the time given is over */
	ERR_CLOSED,   /* the peer has gone */
	ERR_DENIED,   /* not allowed */
	ERR_VERSION,  /* made by a newer foreman */
	ERR_IO,       /* the operating system or SQLite failed */
	ERR_NOMEM,
	ERR_COUNT
};

/* A static lower-case name such as "stale", for logs and tests. */
const char *err_name(enum err e);

/* What an errno tells the program to do. */
enum err err_of_errno(int number);

/* Why, for a person: one line, no newline, no secret. Starts empty. */
struct errtext {
	char s[256];
};

/* Set the text (cut to fit). Does nothing when `t` is NULL. */
void errtext_set(struct errtext *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Put "fmt: " in front of what is there, so callers can add what they tried. */
void errtext_wrap(struct errtext *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
