/*
 * ask.c - one question to a model behind foreman, its answer as it is written.
 *
 *   cc ask.c $(pkg-config --cflags --libs foreman) -o ask
 *   ./ask qwen3:8b 'Why is the sky blue?'
 *
 * The service is FOREMAN_URL, or http://localhost:8080.
 */
#include <foreman.h>

#include <stdio.h>

static int show(void *arg, const char *text, size_t len)
{
	(void)arg;
	fwrite(text, 1, len, stdout);
	fflush(stdout);
	return 0; /* anything else would cancel the job */
}

int main(int argc, char **argv)
{
	foreman_error error;
	foreman_code code;
	foreman *service;

	if (argc != 3) {
		fprintf(stderr, "usage: %s MODEL QUESTION\n", argv[0]);
		return 64;
	}
	service = foreman_new(NULL, NULL);
	if (!service) {
		fprintf(stderr, "FOREMAN_URL or FOREMAN_API_TOKEN makes no sense\n");
		return 78;
	}
	code = foreman_chat(service, argv[1], argv[2], show, NULL, NULL, &error);
	putchar('\n');
	if (code)
		fprintf(stderr, "%s\n", error.text);
	foreman_free(service);
	return code ? 1 : 0;
}
