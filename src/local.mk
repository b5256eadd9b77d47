## The layers, left to right: each may use what stands left of it.
##   base <- core <- store | http | fcgi <- responder | worker
## A unit test links its own layer and those left of it, so a call to the
## right does not link; tests/layers.sh checks the includes.
## (fcgi's is named apart: libtool would take our libfcgi.la for -lfcgi.)

noinst_LTLIBRARIES += libbase.la libcore.la libstore.la libhttp.la libfastcgi.la \
	libresponder.la libworker.la

libbase_la_SOURCES = \
	%D%/base/attr.h \
	%D%/base/buf.c %D%/base/buf.h \
	%D%/base/clock.c %D%/base/clock.h \
	%D%/base/err.c %D%/base/err.h \
	%D%/base/fd.c %D%/base/fd.h \
	%D%/base/jscan.c %D%/base/jscan.h \
	%D%/base/json.c %D%/base/json.h \
	%D%/base/log.c %D%/base/log.h \
	%D%/base/sha.c %D%/base/sha.h \
	%D%/base/sig.c %D%/base/sig.h \
	%D%/base/str.c %D%/base/str.h \
	%D%/base/ulid.c %D%/base/ulid.h
libbase_la_CFLAGS = $(AM_CFLAGS) $(CJSON_CFLAGS) $(CRYPTO_CFLAGS)
libbase_la_LIBADD = $(CJSON_LIBS) $(CRYPTO_LIBS)

libcore_la_SOURCES = \
	%D%/core/conf.c %D%/core/conf.h \
	%D%/core/frame.c %D%/core/frame.h \
	%D%/core/job.c %D%/core/job.h \
	%D%/core/limits.h \
	%D%/core/model.c %D%/core/model.h \
	%D%/core/order.c %D%/core/order.h \
	%D%/core/request.c %D%/core/request.h \
	%D%/core/retry.c %D%/core/retry.h
libcore_la_LIBADD = libbase.la

libstore_la_SOURCES = \
	%D%/store/artifact.c %D%/store/artifact.h \
	%D%/store/db.c %D%/store/db.h \
	%D%/store/gate.c %D%/store/gate.h \
	%D%/store/group.c %D%/store/group.h \
	%D%/store/look.c %D%/store/look.h \
	%D%/store/move.c %D%/store/move.h \
	%D%/store/outbox.c %D%/store/outbox.h \
	%D%/store/queue.c %D%/store/queue.h \
	%D%/store/row.c %D%/store/row.h \
	%D%/store/schema.c %D%/store/schema.h \
	%D%/store/sql.c %D%/store/sql.h \
	%D%/store/status.c %D%/store/status.h
libstore_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
libstore_la_LIBADD = libcore.la $(SQLITE_LIBS)

libhttp_la_SOURCES = \
	%D%/http/guard.c %D%/http/guard.h \
	%D%/http/loop.c %D%/http/loop.h \
	%D%/http/xfer.c %D%/http/xfer.h
libhttp_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
libhttp_la_LIBADD = libcore.la $(CURL_LIBS)

libfastcgi_la_SOURCES = \
	%D%/fcgi/fcgx.c %D%/fcgi/fcgx.h \
	%D%/fcgi/stream.c %D%/fcgi/stream.h
libfastcgi_la_CFLAGS = $(AM_CFLAGS) $(FCGI_CFLAGS)
libfastcgi_la_LIBADD = libcore.la $(FCGI_LIBS)

libresponder_la_SOURCES = \
	%D%/responder/answer.c %D%/responder/answer.h \
	%D%/responder/call.c %D%/responder/call.h \
	%D%/responder/chat.c %D%/responder/chat.h \
	%D%/responder/guest.c %D%/responder/guest.h \
	%D%/responder/health.c %D%/responder/health.h \
	%D%/responder/jobs.c %D%/responder/jobs.h \
	%D%/responder/lot.c %D%/responder/lot.h \
	%D%/responder/pass.c %D%/responder/pass.h \
	%D%/responder/pool.c %D%/responder/pool.h \
	%D%/responder/relay.c %D%/responder/relay.h \
	%D%/responder/route.c %D%/responder/route.h \
	%D%/responder/serve.c %D%/responder/serve.h \
	%D%/responder/submit.c %D%/responder/submit.h
libresponder_la_LIBADD = libstore.la libhttp.la libfastcgi.la

libworker_la_SOURCES = \
	%D%/worker/deliver.c %D%/worker/deliver.h \
	%D%/worker/drain.c %D%/worker/drain.h \
	%D%/worker/embed.c %D%/worker/embed.h \
	%D%/worker/header.c %D%/worker/header.h \
	%D%/worker/relay.c %D%/worker/relay.h \
	%D%/worker/reply.c %D%/worker/reply.h \
	%D%/worker/run.c %D%/worker/run.h \
	%D%/worker/target.c %D%/worker/target.h \
	%D%/worker/unload.c %D%/worker/unload.h \
	%D%/worker/upkeep.c %D%/worker/upkeep.h \
	%D%/worker/verdict.c %D%/worker/verdict.h
libworker_la_LIBADD = libstore.la libhttp.la

sbin_PROGRAMS += foreman-responder foreman-worker

foreman_responder_SOURCES = %D%/responder/main.c
foreman_responder_LDADD = libresponder.la

foreman_worker_SOURCES = %D%/worker/main.c
foreman_worker_LDADD = libworker.la
