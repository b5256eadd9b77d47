## The layers, left to right: each may use what stands left of it.
##   base <- core <- store | http | fcgi <- responder | worker
##   base <- core <- http <- client <- cli
## A unit test links its own layer and those left of it, so a call to the
## right does not link; tests/layers.sh checks the includes.
## (fcgi's is named apart: libtool would take our libfcgi.la for -lfcgi.)

noinst_LTLIBRARIES += libbase.la libcore.la libstore.la libhttp.la libfastcgi.la \
	libresponder.la libworker.la libclient.la

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
if COVERAGE
libbase_la_SOURCES += tests/unit/counts.c
endif
libbase_la_CFLAGS = $(LIB_CFLAGS) $(CJSON_CFLAGS) $(CRYPTO_CFLAGS)
libbase_la_LIBADD = $(CJSON_LIBS) $(CRYPTO_LIBS)

libcore_la_SOURCES = \
	%D%/core/address.c %D%/core/address.h \
	%D%/core/conf.c %D%/core/conf.h \
	%D%/core/content.c %D%/core/content.h \
	%D%/core/estimate.c %D%/core/estimate.h \
	%D%/core/frame.c %D%/core/frame.h \
	%D%/core/header.c %D%/core/header.h \
	%D%/core/job.c %D%/core/job.h \
	%D%/core/limits.h \
	%D%/core/model.c %D%/core/model.h \
	%D%/core/order.c %D%/core/order.h \
	%D%/core/range.c %D%/core/range.h \
	%D%/core/receiver.c %D%/core/receiver.h \
	%D%/core/request.c %D%/core/request.h \
	%D%/core/retry.c %D%/core/retry.h \
	%D%/core/setting.c %D%/core/setting.h \
	%D%/core/signature.c %D%/core/signature.h \
	%D%/core/value.c %D%/core/value.h
libcore_la_CFLAGS = $(LIB_CFLAGS)
libcore_la_LIBADD = libbase.la

libstore_la_SOURCES = \
	%D%/store/artifact.c %D%/store/artifact.h \
	%D%/store/backup.c %D%/store/backup.h \
	%D%/store/db.c %D%/store/db.h \
	%D%/store/gate.c %D%/store/gate.h \
	%D%/store/gauge.c %D%/store/gauge.h \
	%D%/store/group.c %D%/store/group.h \
	%D%/store/ledger.c %D%/store/ledger.h \
	%D%/store/look.c %D%/store/look.h \
	%D%/store/line.c %D%/store/line.h \
	%D%/store/move.c %D%/store/move.h \
	%D%/store/outbox.c %D%/store/outbox.h \
	%D%/store/pace.c %D%/store/pace.h \
	%D%/store/page.c %D%/store/page.h \
	%D%/store/queue.c %D%/store/queue.h \
	%D%/store/remove.c %D%/store/remove.h \
	%D%/store/result.h \
	%D%/store/row.c %D%/store/row.h \
	%D%/store/schema.c %D%/store/schema.h \
	%D%/store/sql.c %D%/store/sql.h \
	%D%/store/status.c %D%/store/status.h
libstore_la_CFLAGS = $(LIB_CFLAGS) $(SQLITE_CFLAGS)
libstore_la_LIBADD = libcore.la $(SQLITE_LIBS)

libhttp_la_SOURCES = \
	%D%/http/exchange.c %D%/http/exchange.h \
	%D%/http/guard.c %D%/http/guard.h \
	%D%/http/hub.c %D%/http/hub.h \
	%D%/http/lookup.c %D%/http/lookup.h \
	%D%/http/loop.c %D%/http/loop.h \
	%D%/http/xfer.c %D%/http/xfer.h
libhttp_la_CFLAGS = $(LIB_CFLAGS) $(CURL_CFLAGS)
libhttp_la_LIBADD = libcore.la $(CURL_LIBS)

libfastcgi_la_SOURCES = \
	%D%/fcgi/fcgx.c %D%/fcgi/fcgx.h \
	%D%/fcgi/stream.c %D%/fcgi/stream.h
libfastcgi_la_CFLAGS = $(LIB_CFLAGS) $(FCGI_CFLAGS)
libfastcgi_la_LIBADD = libcore.la $(FCGI_LIBS)

libresponder_la_SOURCES = \
	%D%/responder/answer.c %D%/responder/answer.h \
	%D%/responder/batch.c %D%/responder/batch.h \
	%D%/responder/artifacts.c %D%/responder/artifacts.h \
	%D%/responder/call.c %D%/responder/call.h \
	%D%/responder/chat.c %D%/responder/chat.h \
	%D%/responder/coda.c %D%/responder/coda.h \
	%D%/responder/envelope.c %D%/responder/envelope.h \
	%D%/responder/follow.c %D%/responder/follow.h \
	%D%/responder/guest.c %D%/responder/guest.h \
	%D%/responder/health.c %D%/responder/health.h \
	%D%/responder/jobs.c %D%/responder/jobs.h \
	%D%/responder/keeper.c %D%/responder/keeper.h \
	%D%/responder/lot.c %D%/responder/lot.h \
	%D%/responder/metrics.c %D%/responder/metrics.h \
	%D%/responder/outlet.c %D%/responder/outlet.h \
	%D%/responder/pass.c %D%/responder/pass.h \
	%D%/responder/pool.c %D%/responder/pool.h \
	%D%/responder/prefer.c %D%/responder/prefer.h \
	%D%/responder/query.c %D%/responder/query.h \
	%D%/responder/relay.c %D%/responder/relay.h \
	%D%/responder/roll.c %D%/responder/roll.h \
	%D%/responder/route.c %D%/responder/route.h \
	%D%/responder/serve.c %D%/responder/serve.h \
	%D%/responder/shelf.c %D%/responder/shelf.h \
	%D%/responder/show.c %D%/responder/show.h \
	%D%/responder/submit.c %D%/responder/submit.h \
	%D%/responder/tally.c %D%/responder/tally.h \
	%D%/responder/terms.c %D%/responder/terms.h \
	%D%/responder/trail.c %D%/responder/trail.h \
	%D%/responder/watch.c %D%/responder/watch.h \
	%D%/responder/watcher.c %D%/responder/watcher.h \
	%D%/responder/webhooks.c %D%/responder/webhooks.h
libresponder_la_CFLAGS = $(LIB_CFLAGS)
libresponder_la_LIBADD = libstore.la libhttp.la libfastcgi.la

libworker_la_SOURCES = \
	%D%/worker/deliver.c %D%/worker/deliver.h \
	%D%/worker/drain.c %D%/worker/drain.h \
	%D%/worker/embed.c %D%/worker/embed.h \
	%D%/worker/relay.c %D%/worker/relay.h \
	%D%/worker/reply.c %D%/worker/reply.h \
	%D%/worker/run.c %D%/worker/run.h \
	%D%/worker/standby.c %D%/worker/standby.h \
	%D%/worker/target.c %D%/worker/target.h \
	%D%/worker/unload.c %D%/worker/unload.h \
	%D%/worker/upkeep.c %D%/worker/upkeep.h \
	%D%/worker/verdict.c %D%/worker/verdict.h
libworker_la_CFLAGS = $(LIB_CFLAGS)
libworker_la_LIBADD = libstore.la libhttp.la

sbin_PROGRAMS += foreman-responder foreman-worker

foreman_responder_SOURCES = %D%/responder/main.c
foreman_responder_LDADD = libresponder.la

foreman_worker_SOURCES = %D%/worker/main.c
foreman_worker_LDADD = libworker.la

## The client library twice: for our own programs, and as libforeman, which
## shows foreman_* and brings what it needs of the layers below with it.
client_sources = \
	%D%/client/call.c %D%/client/call.h \
	%D%/client/chat.c \
	%D%/client/fetch.c \
	%D%/client/follow.c \
	%D%/client/job.c %D%/client/job.h \
	%D%/client/submission.c

libclient_la_SOURCES = $(client_sources)
libclient_la_CFLAGS = $(LIB_CFLAGS)
libclient_la_LIBADD = libhttp.la

lib_LTLIBRARIES += libforeman.la
include_HEADERS += %D%/client/foreman.h
nodist_pkgconfig_DATA += %D%/client/foreman.pc
libforeman_la_SOURCES = $(client_sources) \
	%D%/base/buf.c %D%/base/clock.c %D%/base/err.c %D%/base/fd.c \
	%D%/base/jscan.c %D%/base/json.c %D%/base/log.c %D%/base/str.c \
	%D%/base/sha.c %D%/base/ulid.c \
	%D%/core/address.c %D%/core/content.c %D%/core/header.c \
	%D%/http/exchange.c %D%/http/guard.c %D%/http/lookup.c %D%/http/xfer.c
libforeman_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(CJSON_CFLAGS) $(CRYPTO_CFLAGS)
libforeman_la_LDFLAGS = $(SHARED_LDFLAGS) -no-undefined \
	-version-info 0:0:0 -export-symbols-regex '^foreman_'
libforeman_la_LIBADD = $(CURL_LIBS) $(CJSON_LIBS) $(CRYPTO_LIBS)

## The archive is to show foreman_* alone too: one object, the rest made local.
## (Without objcopy it shows all, and a program's own str_copy may clash.)
if HAVE_OBJCOPY
install-exec-hook:
	@cd $(DESTDIR)$(libdir) && test ! -f libforeman.a || { \
		$(LD) -r -o libforeman.o --whole-archive libforeman.a && \
		$(OBJCOPY) -w --keep-global-symbol='foreman_*' libforeman.o && \
		rm -f libforeman.a && $(AR) cr libforeman.a libforeman.o && \
		$(RANLIB) libforeman.a && rm -f libforeman.o; }
endif

## The command line, all but its main, so that its parts can be tested.
noinst_LTLIBRARIES += libcli.la
libcli_la_SOURCES = \
	%D%/cli/arguments.c %D%/cli/arguments.h \
	%D%/cli/cli.c %D%/cli/cli.h \
	%D%/cli/commands.c %D%/cli/commands.h \
	%D%/cli/completion.c \
	%D%/cli/database.c \
	%D%/cli/doctor.c \
	%D%/cli/follow.c %D%/cli/follow.h \
	%D%/cli/inbox.c %D%/cli/inbox.h \
	%D%/cli/jobs.c \
	%D%/cli/page.c %D%/cli/page.h \
	%D%/cli/screen.c %D%/cli/screen.h \
	%D%/cli/status.c \
	%D%/cli/submit.c \
	%D%/cli/webhooks.c
libcli_la_CFLAGS = $(LIB_CFLAGS)
libcli_la_LIBADD = libclient.la libstore.la

bin_PROGRAMS += foreman
foreman_SOURCES = %D%/cli/main.c
foreman_LDADD = libcli.la

## The Go module, as it is: go builds it (tests/run.sh).
EXTRA_DIST += %D%/go/go.mod %D%/go/go.sum \
	%D%/go/artifact.go \
	%D%/go/call.go \
	%D%/go/chat.go \
	%D%/go/errors.go \
	%D%/go/foreman.go \
	%D%/go/job.go \
	%D%/go/stream.go \
	%D%/go/webhook.go \
	%D%/go/example_test.go \
	%D%/go/live_test.go \
	%D%/go/service_test.go \
	%D%/go/unit_test.go
