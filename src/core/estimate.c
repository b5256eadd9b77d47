/*
 * estimate.c - when a waiting job's turn comes.
 *
 * The line is walked turn by turn, as core/order would let it run. What stays
 * true: every job is in exactly one turn, turns of attended jobs come before
 * all others, and after a time that is not known none is.
 * Not here: reading the line (store/look), measuring the pace (store/pace).
 */
#include <config.h>

#include "core/estimate.h"

#include <stdlib.h>
#include <string.h>

#define UNKNOWN (-1.0)

/* A row on its way through the walk. */
struct step {
	const struct estimate_row *row;
	size_t index;
	int64_t served;
};

struct walk {
	const struct estimate_now *now;
	struct step *steps; /* by class, then by head */
	size_t count;
	const char *loaded;
	double at_ms; /* the present turn begins, from now */
	int64_t place;
	struct estimate *out;
};

static int by_class_and_head(const void *pa, const void *pb)
{
	const struct estimate_row *a = ((const struct step *)pa)->row;
	const struct estimate_row *b = ((const struct step *)pb)->row;

	if (a->attended != b->attended)
		return a->attended ? -1 : 1;
	return (a->head_seq > b->head_seq) - (a->head_seq < b->head_seq);
}

/* How many of them run before the bound strikes: who is dispatched when the
 * turn has lasted max_wait or longer is not one of them. */
static int64_t turn_length(const struct walk *w, const struct step *s,
                           double load_ms)
{
	int64_t left = s->row->count - s->served;
	double room_ms = (double)w->now->max_wait_ms - load_ms;
	double jobs;

	if (w->now->max_wait_ms <= 0 || s->row->run_ms <= 0 || load_ms < 0)
		return left;
	jobs = room_ms / s->row->run_ms;
	if (jobs >= (double)left)
		return left;
	return jobs <= 1 ? 1 : (int64_t)jobs + ((double)(int64_t)jobs < jobs);
}

/* Contested: others of its class wait as well. */
static void take_turn(struct walk *w, struct step *s, bool contested)
{
	bool loaded = w->loaded && strcmp(w->loaded, s->row->load_key) == 0;
	struct estimate_turn *turn = &w->out->turns[w->out->count++];

	*turn = (struct estimate_turn){
		.row = s->index,
		.first = s->served,
		.place = w->place,
		.begins_ms = w->at_ms,
		.load_ms = loaded ? 0 : s->row->load_ms,
		.run_ms = s->row->run_ms,
	};
	turn->count =
	    contested ? turn_length(w, s, turn->load_ms) : s->row->count - s->served;
	s->served += turn->count;
	w->place += turn->count;
	w->loaded = s->row->load_key;
	if (w->at_ms >= 0 && turn->load_ms >= 0 && turn->run_ms >= 0)
		w->at_ms += turn->load_ms + (double)turn->count * turn->run_ms;
	else
		w->at_ms = UNKNOWN;
}

/* Where its next job stands: of a row that was cut, it can only be guessed. */
static int64_t head_of(const struct step *s)
{
	return s->row->head_seq + s->served;
}

static bool over(const struct step *s)
{
	return s->served == s->row->count;
}

/*
 * Who is next among steps[begin..end): not `last`, unless it is alone. What
 * follows a row that no turn has touched has later heads still.
 */
static struct step *next_step(struct walk *w, size_t begin, size_t end,
                              struct step *last)
{
	struct step *best = NULL;

	for (size_t i = begin; i < end; i++) {
		struct step *s = &w->steps[i];

		if (over(s) || s == last)
			continue;
		if (!best || head_of(s) < head_of(best))
			best = s;
		if (s->served == 0)
			break;
	}
	return best || !last || over(last) ? best : last;
}

static struct step *loaded_step(struct walk *w, size_t begin, size_t end)
{
	for (size_t i = begin; i < end && w->loaded; i++)
		if (strcmp(w->steps[i].row->load_key, w->loaded) == 0)
			return &w->steps[i];
	return NULL;
}

/* All of one class. False: there are too many turns. */
static bool walk_class(struct walk *w, size_t begin, size_t end)
{
	struct step *s = loaded_step(w, begin, end);

	if (!s)
		s = next_step(w, begin, end, NULL);
	for (; s; s = next_step(w, begin, end, s)) {
		if (w->out->count == ESTIMATE_TURNS_MAX)
			return false;
		take_turn(w, s, next_step(w, begin, end, s) != s);
		while (begin < end && over(&w->steps[begin]))
			begin++;
	}
	return true;
}

enum err estimate_make(const struct estimate_now *now,
                       const struct estimate_row *rows, size_t count,
                       struct estimate *out)
{
	struct walk w = { .now = now, .loaded = now->loaded_key, .out = out };
	size_t attended = 0;

	*out = (struct estimate){ .empty_ms = UNKNOWN };
	w.steps = calloc(count + 1, sizeof(*w.steps));
	out->turns = calloc(ESTIMATE_TURNS_MAX, sizeof(*out->turns));
	if (!w.steps || !out->turns) {
		free(w.steps);
		estimate_done(out);
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		if (rows[i].count <= 0)
			continue;
		w.steps[w.count++] = (struct step){ &rows[i], i, 0 };
		attended += rows[i].attended;
	}
	qsort(w.steps, w.count, sizeof(*w.steps), by_class_and_head);
	w.at_ms = now->busy_ms;
	if (walk_class(&w, 0, attended) && walk_class(&w, attended, w.count))
		out->empty_ms = w.at_ms;
	free(w.steps);
	return ERR_OK;
}

void estimate_done(struct estimate *e)
{
	free(e->turns);
	*e = (struct estimate){ .empty_ms = UNKNOWN };
}

bool estimate_job(const struct estimate *e, size_t row, int64_t ahead,
                  struct estimate_answer *out)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct estimate_turn *t = &e->turns[i];
		int64_t before = ahead - t->first;

		if (t->row != row || before < 0 || before >= t->count)
			continue;
		*out = (struct estimate_answer){ t->place + before + 1, UNKNOWN, UNKNOWN };
		if (t->begins_ms < 0 || t->load_ms < 0 || t->run_ms < 0)
			return true;
		out->ends_ms = t->begins_ms + t->load_ms + (double)(before + 1) * t->run_ms;
		out->starts_ms = before ? out->ends_ms - t->run_ms : t->begins_ms;
		return true;
	}
	return false;
}

bool estimate_all(const struct estimate *e, size_t row, int64_t count,
                  struct estimate_answer *out)
{
	struct estimate_answer last;

	if (!estimate_job(e, row, 0, out) || !estimate_job(e, row, count - 1, &last))
		return false;
	out->ends_ms = last.ends_ms;
	return true;
}

double estimate_rest(double load_ms, double run_ms, double loading_ms,
                     double working_ms)
{
	double rest_ms;

	if (run_ms < 0)
		return UNKNOWN;
	if (working_ms >= 0)
		rest_ms = run_ms - working_ms;
	else if (loading_ms > run_ms && load_ms > 0)
		rest_ms = load_ms + run_ms - loading_ms; /* so long: it is loading */
	else
		rest_ms = run_ms - loading_ms;
	return rest_ms > 0 ? rest_ms : 0;
}
