/*
 * replay.c - a fuzz target's corpus as a TAP test, for builds without libFuzzer.
 *
 * The program's name says whose corpus: fuzz_NAME reads
 * $srcdir/tests/fuzz/corpus/NAME, every file of it. A property that does not
 * hold ends the process, which the plan then shows.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>

#include "base/fd.h"
#include "fuzz.h"

#define INPUT_MAX (1 << 20)

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool replay(const char *path)
{
	struct span input;
	char *bytes, *exact;

	if (fd_read_file(path, INPUT_MAX, &bytes, &input.len, NULL))
		return false;
	input.p = bytes;
	exact = fuzz_exact(input);
	free(bytes);
	LLVMFuzzerTestOneInput((const uint8_t *)exact, input.len);
	free(exact);
	return true;
}

int main(void)
{
	const char *top = getenv("srcdir");
	const char *name = program_invocation_short_name;
	struct dirent **files;
	char dir[4096];
	int count, failed = 0;

	HOLDS(strncmp(name, "fuzz_", strlen("fuzz_")) == 0);
	snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", top ? top : ".",
	         name + strlen("fuzz_"));
	count = scandir(dir, &files, visible, alphasort);
	if (count <= 0) {
		printf("Bail out! no corpus in %s\n", dir);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", count);
	for (int i = 0; i < count; i++) {
		char path[sizeof(dir) + sizeof(files[i]->d_name) + 1];
		bool ok;

		snprintf(path, sizeof(path), "%s/%s", dir, files[i]->d_name);
		printf("# %s\n", path);
		ok = replay(path);
		printf("%sok %d - %s\n", ok ? "" : "not ", i + 1, files[i]->d_name);
		failed += !ok;
		free(files[i]);
	}
	free(files);
	return failed ? 1 : 0;
}
