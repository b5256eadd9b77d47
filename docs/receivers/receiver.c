/*
 * receiver.c - a webhook receiver that believes only what is signed.
 *
 *     cc -o receiver receiver.c -lcrypto
 *     WEBHOOK_SECRET=whsec_… ./receiver 8088
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define TOLERANCE_S 300   /* how old, or early, an attempt may be */
#define MAX_BODY 1048576u /* bytes; more if jobs ask for "artifact": "inline" */
#define MAX_HEADER 1024u
#define MAX_SEEN 10000u

struct delivery {
	char id[MAX_HEADER], timestamp[MAX_HEADER], signatures[MAX_HEADER];
	size_t length;
	char text[2 * MAX_HEADER + MAX_BODY]; /* what is signed: id.timestamp.body */
	char *body;
};

static unsigned char key[64];
static int key_len;

static int set_key(const char *secret)
{
	unsigned char out[EVP_DECODE_LENGTH(88) + 1];
	size_t len;

	if (!secret || strncmp(secret, "whsec_", 6) != 0)
		return -1;
	len = strlen(secret += 6);
	if (len < 32 || len > 88 || len % 4)
		return -1;
	key_len = EVP_DecodeBlock(out, (const unsigned char *)secret, (int)len);
	key_len -= (secret[len - 1] == '=') + (secret[len - 2] == '=');
	if (key_len < 0 || key_len > (int)sizeof(key))
		return -1;
	memcpy(key, out, (size_t)key_len);
	return 0;
}

/* 204 if these bytes come from who knows the key, and lately; else why not. */
static int verify(struct delivery *d)
{
	unsigned char mac[EVP_MAX_MD_SIZE], want[64] = "v1,";
	unsigned int mac_len = 0;
	char *end, *state, *entry = d->signatures;
	long long timestamp = strtoll(d->timestamp, &end, 10);
	long long age = time(NULL) - timestamp;
	size_t len;

	if (!d->id[0] || !d->timestamp[0] || *end)
		return 400;
	if (timestamp < 0 || age > TOLERANCE_S || age < -TOLERANCE_S)
		return 401;
	HMAC(EVP_sha256(), key, key_len, (unsigned char *)d->text,
	     (size_t)(d->body - d->text) + d->length, mac, &mac_len);
	len = 3 + (size_t)EVP_EncodeBlock(want + 3, mac, (int)mac_len);
	/* several while secrets are exchanged; one that fits is enough */
	while ((entry = strtok_r(entry, " ", &state))) {
		if (strlen(entry) == len && CRYPTO_memcmp(entry, want, len) == 0)
			return 204;
		entry = NULL;
	}
	return 401;
}

/* Was it here before? Yours belong into your database, written with the work. */
static int seen(const char *id)
{
	static char *ids[MAX_SEEN];
	static size_t next;

	for (size_t i = 0; i < MAX_SEEN && ids[i]; i++)
		if (strcmp(ids[i], id) == 0)
			return 1;
	free(ids[next]);
	ids[next] = strdup(id);
	next = (next + 1) % MAX_SEEN;
	return 0;
}

static void take_header(struct delivery *d, char *line)
{
	char *value = strchr(line, ':');

	line[strcspn(line, "\r\n")] = '\0';
	if (!value)
		return;
	*value++ = '\0';
	value += strspn(value, " ");
	if (strcasecmp(line, "webhook-id") == 0)
		snprintf(d->id, sizeof(d->id), "%s", value);
	else if (strcasecmp(line, "webhook-timestamp") == 0)
		snprintf(d->timestamp, sizeof(d->timestamp), "%s", value);
	else if (strcasecmp(line, "webhook-signature") == 0)
		snprintf(d->signatures, sizeof(d->signatures), "%s", value);
	else if (strcasecmp(line, "content-length") == 0)
		d->length = strtoul(value, NULL, 10);
}

static int take(FILE *in)
{
	static struct delivery d;
	char line[MAX_HEADER];
	int status;

	d.id[0] = d.timestamp[0] = d.signatures[0] = '\0';
	d.length = 0;
	while (fgets(line, sizeof(line), in) && line[0] != '\r' && line[0] != '\n')
		take_header(&d, line);
	if (d.length < 1 || d.length > MAX_BODY)
		return 400;
	d.body = d.text + sprintf(d.text, "%s.%s.", d.id, d.timestamp);
	if (fread(d.body, 1, d.length, in) != d.length)
		return 400;
	status = verify(&d);
	if (status == 204 && !seen(d.id)) /* the work: */
		printf("%.*s\n", (int)d.length, d.body);
	fflush(stdout);
	return status;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	struct timeval patience = { .tv_sec = 10 };
	int one = 1, fd, listener = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 2 || set_key(getenv("WEBHOOK_SECRET"))) {
		fprintf(stderr, "usage: WEBHOOK_SECRET=whsec_... receiver PORT\n");
		return 64;
	}
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons((unsigned short)atoi(argv[1]));
	signal(SIGPIPE, SIG_IGN);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) ||
	    listen(listener, 64)) {
		perror("cannot listen");
		return 1;
	}
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		FILE *in = fdopen(fd, "r");
		int status;

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		status = take(in);
		dprintf(fd, "HTTP/1.1 %d %s\r\nConnection: close\r\n%s\r\n", status,
		        status == 204 ? "OK" : "Refused",
		        status == 204 ? "" : "Content-Length: 0\r\n");
		fclose(in);
	}
	perror("cannot accept");
	return 1;
}
