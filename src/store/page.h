/*
 * page.h - which jobs stand on one page of a list (store only).
 */
#ifndef FOREMAN_STORE_PAGE_H
#define FOREMAN_STORE_PAGE_H

#include "core/model.h"
#include "store/look.h"

/*
 * The rows of look_jobs, without what stands outside them; `model` is the
 * filter's, NULL for none. At most f->limit into `jobs`, which has room for them
 * and is the caller's to job_done whatever the answer; *count says how many
 * there are.
 */
enum err page_read(struct db *db, const struct look_filter *f,
                   const struct model_name *model, struct job *jobs, size_t *count,
                   char next[ULID_SIZE]) MUST_CHECK;

#endif
