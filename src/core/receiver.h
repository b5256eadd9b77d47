/*
 * receiver.h - how webhook receivers are told apart: "host:port". Pure.
 *
 * The store keeps it beside each owed webhook, the worker bounds and wakes by
 * it; so both must come to the same name.
 */
#ifndef FOREMAN_CORE_RECEIVER_H
#define FOREMAN_CORE_RECEIVER_H

#include <stddef.h>

#define RECEIVER_SIZE 272 /* a DNS name or a bracketed address, and a port */

/*
 * The receiver of a URL that the guard has let pass: lower case, without a
 * name's final dot, with the scheme's port where none is written. What is no
 * such URL gets some name too, cut to fit.
 */
void receiver_of(const char *url, char out[RECEIVER_SIZE]);

#endif
