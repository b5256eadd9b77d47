/*
 * schema.h - the tables, and how an older file becomes a current one.
 *
 * People read this file's result with `sqlite3 -readonly`: docs/database.md
 * explains it, the DDL in schema.c comments every table and column.
 */
#ifndef FOREMAN_STORE_SCHEMA_H
#define FOREMAN_STORE_SCHEMA_H

#include "base/attr.h"
#include "base/err.h"
#include "store/db.h"

#define SCHEMA_VERSION 2                 /* PRAGMA user_version */
#define SCHEMA_APPLICATION_ID 0x464d414e /* PRAGMA application_id, "FMAN" */

/*
 * Whose file is it, and how old? ERR_OK: foreman's, *version is at most
 * SCHEMA_VERSION; 0 means that there is nothing in it yet.
 * ERR_INVAL: another program's. ERR_VERSION: a newer foreman's.
 */
enum err schema_check(struct db *db, int *version, struct errtext *why) MUST_CHECK;

/* Bring it from `version` to SCHEMA_VERSION, each step one transaction. The
 * caller holds the gate and no transaction. */
enum err schema_update(struct db *db, int version, struct errtext *why) MUST_CHECK;

#endif
