/*
 * test_lookup.c - where a name leads, in time or not.
 */
#include <config.h>

#include "http/lookup.h"

#include <string.h>

#include "base/attr.h"
#include "core/address.h"
#include "t.h"

static int shown; /* addresses */

static bool is_loopback(void *arg, const struct sockaddr *found)
{
	struct address a;
	uint16_t port;

	shown++;
	CHECK(arg == &shown);
	return address_of(found, &a, &port) && address_class(&a) == ADDRESS_LOOPBACK;
}

static bool is_none(void *arg, const struct sockaddr *found)
{
	(void)arg;
	(void)found;
	shown++;
	return false;
}

static void a_match_ends_the_search_and_no_match_sees_all(void)
{
	struct lookup *k = lookup_new("127.0.0.1"); /* a name that needs nobody */
	bool found = false;

	REQUIRE(k);
	for (int i = 0; i < 3; i++) { /* each time anew */
		shown = 0;
		CHECK_INT(lookup_any(k, is_loopback, &shown, &found), ERR_OK);
		CHECK(found);
		CHECK_INT(shown, 1);
	}
	CHECK_INT(lookup_any(k, is_none, NULL, &found), ERR_OK);
	CHECK(!found);
	lookup_free(k);
}

static void a_name_that_leads_nowhere_is_not_known(void)
{
	struct lookup *k = lookup_new("no such name");
	bool found = true;

	REQUIRE(k);
	shown = 0;
	CHECK_INT(lookup_any(k, is_none, NULL, &found), ERR_AGAIN);
	CHECK(found); /* as it was */
	CHECK_INT(shown, 0);
	lookup_free(k);
}

static void a_name_is_of_bounded_length(void)
{
	char name[HOST_NAME_MAX_LEN + 2];
	struct lookup *k;

	memset(name, 'a', sizeof(name));
	name[HOST_NAME_MAX_LEN + 1] = '\0';
	CHECK(!lookup_new(name));
	name[HOST_NAME_MAX_LEN] = '\0';
	k = lookup_new(name);
	CHECK(k);
	lookup_free(k);
	lookup_free(NULL);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_match_ends_the_search_and_no_match_sees_all),
		T(a_name_that_leads_nowhere_is_not_known),
		T(a_name_is_of_bounded_length),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
