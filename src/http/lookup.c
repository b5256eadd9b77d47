/*
 * lookup.c - where a name leads, asked anew each time and waited for a moment.
 *
 * One question at a time; it may outlive the wait for its answer, for a resolver
 * cannot be interrupted. As long as one is stuck, the next is not even asked.
 */
#include <config.h>

#include "http/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/str.h"
#include "core/address.h"

struct lookup {
	pthread_mutex_t lock;
	struct gaicb request;
	struct addrinfo hints;
	char host[HOST_NAME_MAX_LEN + 1];
};

struct lookup *lookup_new(const char *host)
{
	struct lookup *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	if (!str_copy(k->host, sizeof(k->host), host) ||
	    pthread_mutex_init(&k->lock, NULL) != 0) {
		free(k);
		return NULL;
	}
	k->hints.ai_socktype = SOCK_STREAM;
	k->request.ar_name = k->host;
	k->request.ar_request = &k->hints;
	return k;
}

static void forget(struct lookup *k)
{
	if (k->request.ar_result)
		freeaddrinfo(k->request.ar_result);
	k->request.ar_result = NULL;
}

void lookup_free(struct lookup *k)
{
	if (!k)
		return;
	gai_cancel(&k->request);
	/* one in a stuck resolver is written to when it ends: left where it is */
	if (gai_error(&k->request) == EAI_INPROGRESS)
		return;
	forget(k);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static enum err ask(struct lookup *k)
{
	const struct timespec moment = { .tv_nsec = LOOKUP_MS * 1000000L };
	const struct gaicb *waiting[1] = { &k->request };
	struct gaicb *asked[1] = { &k->request };

	if (gai_error(&k->request) == EAI_INPROGRESS)
		return ERR_AGAIN;
	forget(k);
	if (getaddrinfo_a(GAI_NOWAIT, asked, 1, NULL) != 0)
		return ERR_AGAIN;
	while (gai_suspend(waiting, 1, &moment) == EAI_INTR)
		;
	return gai_error(&k->request) == 0 ? ERR_OK : ERR_AGAIN;
}

enum err lookup_any(struct lookup *k,
                    bool (*match)(void *arg, const struct sockaddr *found),
                    void *arg, bool *out)
{
	bool found = false;
	enum err e;

	pthread_mutex_lock(&k->lock);
	e = ask(k);
	for (const struct addrinfo *a = e ? NULL : k->request.ar_result; a && !found;
	     a = a->ai_next)
		found = match(arg, a->ai_addr);
	pthread_mutex_unlock(&k->lock);
	if (!e)
		*out = found;
	return e;
}
