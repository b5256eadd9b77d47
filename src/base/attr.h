/*
 * attr.h - the compiler attributes the tree uses, under short names.
 */
#ifndef FOREMAN_BASE_ATTR_H
#define FOREMAN_BASE_ATTR_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define UNUSED __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
