/*
 * test_receiver.c - one name for every spelling of a receiver.
 */
#include <config.h>

#include "core/receiver.h"

#include "base/attr.h"
#include "t.h"

static void every_spelling_of_a_receiver_has_one_name(void)
{
	static const struct {
		const char *url, *receiver;
	} rows[] = {
		{ "http://a.example/hook", "a.example:80" },
		{ "http://a.example", "a.example:80" },
		{ "http://A.EXAMPLE?x", "a.example:80" },
		{ "HTTP://a.example.:80/", "a.example:80" },
		{ "https://a.example/", "a.example:443" },
		{ "HTTPS://a.example:443#x", "a.example:443" },
		{ "https://Ex.org:8443/a?b=http://c:9", "ex.org:8443" },
		{ "http://10.0.0.1:8080/x:1", "10.0.0.1:8080" },
		{ "http://[::1]?x", "[::1]:80" },
		{ "http://[FD00::A]:99/", "[fd00::a]:99" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[RECEIVER_SIZE];

		receiver_of(rows[i].url, name);
		CHECK_STR(name, rows[i].receiver);
	}
}

static void what_no_guard_lets_pass_fits_all_the_same(void)
{
	char url[2 * RECEIVER_SIZE] = "http://", name[RECEIVER_SIZE];

	memset(url + 7, 'a', sizeof(url) - 8);
	receiver_of(url, name);
	CHECK_INT(strlen(name), RECEIVER_SIZE - sizeof(":65535") + strlen(":80"));
	CHECK(strstr(name, "a:80") != NULL);
	memcpy(url + sizeof(url) - 12, ":1234567890", 11);
	receiver_of(url, name);
	CHECK_INT(strlen(name), RECEIVER_SIZE - 1);
	receiver_of("", name);
	CHECK_STR(name, ":80");
	receiver_of("nothing", name);
	CHECK_STR(name, "nothing:80");
}

static void the_longest_name_and_port_are_whole(void)
{
	char url[300] = "https://", name[RECEIVER_SIZE];

	memset(url + 8, 'b', 253);
	strcpy(url + 8 + 253, ":65535/");
	receiver_of(url, name);
	CHECK_INT(strlen(name), 253 + strlen(":65535"));
	CHECK_STR(name + 253, ":65535");
}

int main(void)
{
	static const struct t_case cases[] = {
		T(every_spelling_of_a_receiver_has_one_name),
		T(what_no_guard_lets_pass_fits_all_the_same),
		T(the_longest_name_and_port_are_whole),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
