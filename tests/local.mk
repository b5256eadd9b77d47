## The tests: unit programs, the fake Ollama they and the demo talk to, the
## system tests (tests/run.sh runs those), and the benchmark.

TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
AM_TESTS_ENVIRONMENT = srcdir='$(srcdir)' builddir='$(builddir)'; \
	export srcdir builddir;

AM_CPPFLAGS += -I$(top_srcdir)/%D%/unit

## --- unit tests ---------------------------------------------------------------
## tests/unit/LAYER/test_NOUN.c mirrors src/LAYER/NOUN.c. Each program is made
## of the one file its name gives and links its layer, which brings what is left
## of it and nothing else: a call to the right does not link.

unit_base = \
	%D%/unit/base/test_buf \
	%D%/unit/base/test_clock \
	%D%/unit/base/test_err \
	%D%/unit/base/test_fd \
	%D%/unit/base/test_jscan \
	%D%/unit/base/test_json \
	%D%/unit/base/test_log \
	%D%/unit/base/test_memory \
	%D%/unit/base/test_sha \
	%D%/unit/base/test_sig \
	%D%/unit/base/test_str \
	%D%/unit/base/test_ulid

unit_core = \
	%D%/unit/core/test_address \
	%D%/unit/core/test_conf \
	%D%/unit/core/test_estimate \
	%D%/unit/core/test_content \
	%D%/unit/core/test_frame \
	%D%/unit/core/test_header \
	%D%/unit/core/test_job \
	%D%/unit/core/test_memory \
	%D%/unit/core/test_model \
	%D%/unit/core/test_order \
	%D%/unit/core/test_range \
	%D%/unit/core/test_receiver \
	%D%/unit/core/test_request \
	%D%/unit/core/test_retry \
	%D%/unit/core/test_setting \
	%D%/unit/core/test_signature \
	%D%/unit/core/test_value

unit_store = \
	%D%/unit/store/test_artifact \
	%D%/unit/store/test_backup \
	%D%/unit/store/test_db \
	%D%/unit/store/test_faults \
	%D%/unit/store/test_gate \
	%D%/unit/store/test_gauge \
	%D%/unit/store/test_group \
	%D%/unit/store/test_ledger \
	%D%/unit/store/test_line \
	%D%/unit/store/test_look \
	%D%/unit/store/test_migration \
	%D%/unit/store/test_outbox \
	%D%/unit/store/test_pace \
	%D%/unit/store/test_page \
	%D%/unit/store/test_queue \
	%D%/unit/store/test_remove \
	%D%/unit/store/test_row \
	%D%/unit/store/test_schema \
	%D%/unit/store/test_status

unit_http = \
	%D%/unit/http/test_exchange \
	%D%/unit/http/test_guard \
	%D%/unit/http/test_hub \
	%D%/unit/http/test_lookup \
	%D%/unit/http/test_loop \
	%D%/unit/http/test_memory \
	%D%/unit/http/test_xfer

unit_fcgi = \
	%D%/unit/fcgi/test_fcgx \
	%D%/unit/fcgi/test_memory \
	%D%/unit/fcgi/test_stream

unit_responder = \
	%D%/unit/responder/test_answer \
	%D%/unit/responder/test_artifacts \
	%D%/unit/responder/test_batch \
	%D%/unit/responder/test_call \
	%D%/unit/responder/test_chat \
	%D%/unit/responder/test_coda \
	%D%/unit/responder/test_follow \
	%D%/unit/responder/test_envelope \
	%D%/unit/responder/test_guest \
	%D%/unit/responder/test_health \
	%D%/unit/responder/test_jobs \
	%D%/unit/responder/test_keeper \
	%D%/unit/responder/test_lot \
	%D%/unit/responder/test_memory \
	%D%/unit/responder/test_metrics \
	%D%/unit/responder/test_outlet \
	%D%/unit/responder/test_pass \
	%D%/unit/responder/test_pool \
	%D%/unit/responder/test_prefer \
	%D%/unit/responder/test_query \
	%D%/unit/responder/test_relay \
	%D%/unit/responder/test_roll \
	%D%/unit/responder/test_route \
	%D%/unit/responder/test_serve \
	%D%/unit/responder/test_shelf \
	%D%/unit/responder/test_show \
	%D%/unit/responder/test_submit \
	%D%/unit/responder/test_tally \
	%D%/unit/responder/test_terms \
	%D%/unit/responder/test_trail \
	%D%/unit/responder/test_watch \
	%D%/unit/responder/test_watcher \
	%D%/unit/responder/test_webhooks

unit_worker = \
	%D%/unit/worker/test_deliver \
	%D%/unit/worker/test_drain \
	%D%/unit/worker/test_embed \
	%D%/unit/worker/test_relay \
	%D%/unit/worker/test_reply \
	%D%/unit/worker/test_run \
	%D%/unit/worker/test_standby \
	%D%/unit/worker/test_target \
	%D%/unit/worker/test_unload \
	%D%/unit/worker/test_upkeep \
	%D%/unit/worker/test_verdict

unit_client = \
	%D%/unit/client/test_call \
	%D%/unit/client/test_chat \
	%D%/unit/client/test_fetch \
	%D%/unit/client/test_follow \
	%D%/unit/client/test_memory \
	%D%/unit/client/test_submission

unit_cli = \
	%D%/unit/cli/test_arguments \
	%D%/unit/cli/test_completion \
	%D%/unit/cli/test_follow \
	%D%/unit/cli/test_inbox \
	%D%/unit/cli/test_jobs \
	%D%/unit/cli/test_screen \
	%D%/unit/cli/test_service

unit_tests = $(unit_base) $(unit_core) $(unit_store) $(unit_http) \
	$(unit_fcgi) $(unit_responder) $(unit_worker) $(unit_client) $(unit_cli)
## what runs in threads, for TSan (tests/run.sh)
threaded_tests = $(unit_base) $(unit_store) $(unit_fcgi) $(unit_responder) \
	$(unit_client)
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)

## of programs with unit/starve.h: where their allocations may fail
starve_ldflags = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc \
	-Wl,--wrap=realloc,--wrap=strdup,--wrap=strndup,--wrap=asprintf
%C%_unit_base_test_memory_LDFLAGS = $(starve_ldflags)
%C%_unit_client_test_memory_LDFLAGS = $(starve_ldflags)
%C%_unit_http_test_memory_LDFLAGS = $(starve_ldflags)
%C%_unit_fcgi_test_memory_LDFLAGS = $(starve_ldflags)
%C%_unit_responder_test_memory_LDFLAGS = $(starve_ldflags)
%C%_unit_core_test_memory_LDFLAGS = $(starve_ldflags)
%C%_unit_store_test_faults_LDFLAGS = $(starve_ldflags)

## base is the default; every other layer's programs name it.
LDADD = libbase.la

%C%_unit_core_test_address_LDADD = libcore.la
%C%_unit_core_test_conf_LDADD = libcore.la
%C%_unit_core_test_estimate_LDADD = libcore.la
%C%_unit_core_test_content_LDADD = libcore.la
%C%_unit_core_test_frame_LDADD = libcore.la
%C%_unit_core_test_header_LDADD = libcore.la
%C%_unit_core_test_job_LDADD = libcore.la
%C%_unit_core_test_memory_LDADD = libcore.la
%C%_unit_core_test_model_LDADD = libcore.la
%C%_unit_core_test_order_LDADD = libcore.la
%C%_unit_core_test_receiver_LDADD = libcore.la
%C%_unit_core_test_range_LDADD = libcore.la
%C%_unit_core_test_request_LDADD = libcore.la
%C%_unit_core_test_retry_LDADD = libcore.la
%C%_unit_core_test_setting_LDADD = libcore.la
%C%_unit_core_test_signature_LDADD = libcore.la
%C%_unit_core_test_value_LDADD = libcore.la

%C%_unit_store_test_artifact_LDADD = libstore.la
%C%_unit_store_test_backup_LDADD = libstore.la
%C%_unit_store_test_db_LDADD = libstore.la
%C%_unit_store_test_faults_LDADD = libstore.la
%C%_unit_store_test_gate_LDADD = libstore.la
%C%_unit_store_test_gauge_LDADD = libstore.la
%C%_unit_store_test_group_LDADD = libstore.la
%C%_unit_store_test_ledger_LDADD = libstore.la
%C%_unit_store_test_line_LDADD = libstore.la
%C%_unit_store_test_look_LDADD = libstore.la
%C%_unit_store_test_migration_LDADD = libstore.la
%C%_unit_store_test_outbox_LDADD = libstore.la
%C%_unit_store_test_pace_LDADD = libstore.la
%C%_unit_store_test_page_LDADD = libstore.la
%C%_unit_store_test_queue_LDADD = libstore.la
%C%_unit_store_test_remove_LDADD = libstore.la
%C%_unit_store_test_row_LDADD = libstore.la
%C%_unit_store_test_schema_LDADD = libstore.la
%C%_unit_store_test_status_LDADD = libstore.la

%C%_unit_http_test_exchange_LDADD = libhttp.la
%C%_unit_http_test_guard_LDADD = libhttp.la
%C%_unit_http_test_hub_LDADD = libhttp.la
%C%_unit_http_test_lookup_LDADD = libhttp.la
%C%_unit_http_test_loop_LDADD = libhttp.la
%C%_unit_http_test_memory_LDADD = libhttp.la
%C%_unit_http_test_xfer_LDADD = libhttp.la

%C%_unit_fcgi_test_fcgx_LDADD = libfastcgi.la
%C%_unit_fcgi_test_memory_LDADD = libfastcgi.la
%C%_unit_fcgi_test_stream_LDADD = libfastcgi.la

%C%_unit_responder_test_answer_LDADD = libresponder.la
%C%_unit_responder_test_artifacts_LDADD = libresponder.la
%C%_unit_responder_test_batch_LDADD = libresponder.la
%C%_unit_responder_test_call_LDADD = libresponder.la
%C%_unit_responder_test_chat_LDADD = libresponder.la
%C%_unit_responder_test_coda_LDADD = libresponder.la
%C%_unit_responder_test_follow_LDADD = libresponder.la
%C%_unit_responder_test_envelope_LDADD = libresponder.la
%C%_unit_responder_test_guest_LDADD = libresponder.la
%C%_unit_responder_test_health_LDADD = libresponder.la
%C%_unit_responder_test_jobs_LDADD = libresponder.la
%C%_unit_responder_test_keeper_LDADD = libresponder.la
%C%_unit_responder_test_lot_LDADD = libresponder.la
%C%_unit_responder_test_memory_LDADD = libresponder.la
%C%_unit_responder_test_metrics_LDADD = libresponder.la
%C%_unit_responder_test_outlet_LDADD = libresponder.la
%C%_unit_responder_test_pass_LDADD = libresponder.la
%C%_unit_responder_test_pool_LDADD = libresponder.la
%C%_unit_responder_test_prefer_LDADD = libresponder.la
%C%_unit_responder_test_query_LDADD = libresponder.la
%C%_unit_responder_test_relay_LDADD = libresponder.la
%C%_unit_responder_test_roll_LDADD = libresponder.la
%C%_unit_responder_test_route_LDADD = libresponder.la
%C%_unit_responder_test_serve_LDADD = libresponder.la
%C%_unit_responder_test_shelf_LDADD = libresponder.la
%C%_unit_responder_test_show_LDADD = libresponder.la
%C%_unit_responder_test_submit_LDADD = libresponder.la
%C%_unit_responder_test_tally_LDADD = libresponder.la
%C%_unit_responder_test_terms_LDADD = libresponder.la
%C%_unit_responder_test_trail_LDADD = libresponder.la
%C%_unit_responder_test_watch_LDADD = libresponder.la
%C%_unit_responder_test_watcher_LDADD = libresponder.la
%C%_unit_responder_test_webhooks_LDADD = libresponder.la

%C%_unit_worker_test_deliver_LDADD = libworker.la
%C%_unit_worker_test_drain_LDADD = libworker.la
%C%_unit_worker_test_embed_LDADD = libworker.la
%C%_unit_worker_test_relay_LDADD = libworker.la
%C%_unit_worker_test_reply_LDADD = libworker.la
%C%_unit_worker_test_run_LDADD = libworker.la
%C%_unit_worker_test_standby_LDADD = libworker.la
%C%_unit_worker_test_target_LDADD = libworker.la
%C%_unit_worker_test_unload_LDADD = libworker.la
%C%_unit_worker_test_upkeep_LDADD = libworker.la
%C%_unit_worker_test_verdict_LDADD = libworker.la

%C%_unit_client_test_call_LDADD = libclient.la
%C%_unit_client_test_chat_LDADD = libclient.la
%C%_unit_client_test_fetch_LDADD = libclient.la
%C%_unit_client_test_follow_LDADD = libclient.la
%C%_unit_client_test_memory_LDADD = libclient.la
%C%_unit_client_test_submission_LDADD = libclient.la

%C%_unit_cli_test_arguments_LDADD = libcli.la
%C%_unit_cli_test_completion_LDADD = libcli.la
%C%_unit_cli_test_follow_LDADD = libcli.la
%C%_unit_cli_test_inbox_LDADD = libcli.la
%C%_unit_cli_test_jobs_LDADD = libcli.la
%C%_unit_cli_test_screen_LDADD = libcli.la
%C%_unit_cli_test_service_LDADD = libcli.la

EXTRA_DIST += %D%/unit/t.h %D%/unit/counts.c %D%/unit/starve.h %D%/unit/cli/captured.h %D%/unit/cli/run.h %D%/unit/client/served.h %D%/unit/store/store.h \
	%D%/unit/store/version1.sql \
	%D%/unit/http/peers.h %D%/unit/responder/stage.h %D%/unit/worker/disk.h \
	%D%/unit/worker/slot.h %D%/unit/worker/world.h

## --- what a linker cannot see: which way the includes point -------------------
dist_check_SCRIPTS += %D%/layers.sh
TESTS += %D%/layers.sh

## --- the fake Ollama ----------------------------------------------------------
noinst_PROGRAMS += %D%/fake-ollama/fake-ollama
%C%_fake_ollama_fake_ollama_SOURCES = \
	%D%/fake-ollama/api.c %D%/fake-ollama/api.h \
	%D%/fake-ollama/ask.c %D%/fake-ollama/ask.h \
	%D%/fake-ollama/faults.c %D%/fake-ollama/faults.h \
	%D%/fake-ollama/gate.c %D%/fake-ollama/gate.h \
	%D%/fake-ollama/gojson.c %D%/fake-ollama/gojson.h \
	%D%/fake-ollama/head.c %D%/fake-ollama/head.h \
	%D%/fake-ollama/http.c %D%/fake-ollama/http.h \
	%D%/fake-ollama/journal.c %D%/fake-ollama/journal.h \
	%D%/fake-ollama/loop.c %D%/fake-ollama/loop.h \
	%D%/fake-ollama/main.c \
	%D%/fake-ollama/models.c %D%/fake-ollama/models.h \
	%D%/fake-ollama/names.c %D%/fake-ollama/names.h \
	%D%/fake-ollama/reply.c %D%/fake-ollama/reply.h \
	%D%/fake-ollama/sched.c %D%/fake-ollama/sched.h \
	%D%/fake-ollama/task.c %D%/fake-ollama/task.h \
	%D%/fake-ollama/text.c %D%/fake-ollama/text.h \
	%D%/fake-ollama/v1.c %D%/fake-ollama/v1.h
%C%_fake_ollama_fake_ollama_LDADD = libcore.la -lm
EXTRA_DIST += %D%/fake-ollama/README.md %D%/fake-ollama/test_fake.py

## --- the system tests: real processes, run by tests/run.sh --------------------
EXTRA_DIST += %D%/run.sh %D%/nightly.sh %D%/steps.sh %D%/branches.py \
	%D%/system/pytest.ini %D%/system/conftest.py %D%/system/harness.py \
	%D%/system/test_artifacts.py %D%/system/test_stream.py \
	%D%/system/test_chat.py %D%/system/test_embed.py %D%/system/test_jobs.py \
	%D%/system/test_operations.py %D%/system/test_recovery.py \
	%D%/system/test_webhooks.py %D%/system/netns.py %D%/system/test_sleep.py \
	%D%/system/test_stalled.py %D%/system/test_storm.py \
	%D%/system/test_submit.py %D%/system/test_wedge.py
EXTRA_DIST += %D%/system/wire.py %D%/system/test_differential.py \
	%D%/system/test_clients.py %D%/system/clients/requirements.txt \
	%D%/system/clients/package.json %D%/system/clients/package-lock.json \
	%D%/system/clients/py_ollama.py %D%/system/clients/py_openai.py \
	%D%/system/clients/py_langchain.py %D%/system/clients/js_ollama.mjs \
	%D%/system/clients/js_openai.mjs
EXTRA_DIST += %D%/system/nasty.py %D%/system/clients/webhooks.txt \
	%D%/system/clients/webhooks.json \
	%D%/system/clients/py_standardwebhooks.py \
	%D%/system/clients/js_standardwebhooks.mjs
EXTRA_DIST += %D%/system/test_units.py %D%/system/test_smoke.py \
	%D%/system/test_pull_models.py %D%/system/test_scaling.py
EXTRA_DIST += %D%/system/test_docs.py %D%/system/test_receivers.py \
	%D%/system/test_openapi.py %D%/system/openapi/check.py \
	%D%/system/openapi/requirements.txt

EXTRA_DIST += %D%/system/test_backup.py %D%/compose.sh \
	%D%/compose.fake.yaml

EXTRA_DIST += %D%/system/test_go_llm.py \
	%D%/system/go-llm-model/go.mod \
	%D%/system/go-llm-model/llm/llm.go \
	%D%/system/go-llm-model/llm/ollama.go

EXTRA_DIST += %D%/system/test_metrics.py %D%/system/test_logs.py
EXTRA_DIST += %D%/system/test_cli.py %D%/system/test_library.py
EXTRA_DIST += %D%/system/test_estimates.py %D%/system/test_fulldisk.py \
	%D%/system/test_killloop.py %D%/system/test_routes.py \
	%D%/system/test_watch.py

## --- for LD_PRELOAD: a slow disk, and the Nth call that fails ------------------
preloads = %D%/bench/slowsync.so %D%/faults/faults.so
check_DATA = %D%/faults/faults.so
EXTRA_DIST += %D%/faults/faults.c %D%/faults/lsan.supp \
	%D%/system/test_faults.py
CLEANFILES += $(preloads)

$(preloads): %.so: %.c
	$(AM_V_CC)$(MKDIR_P) $(@D) && $(CC) $(DEFS) $(DEFAULT_INCLUDES) \
		$(WARN_CFLAGS) -std=gnu11 -O2 -shared -fPIC -o $@ $<

## --- the benchmark: make bench prints the table of docs/performance.md --------
EXTRA_PROGRAMS += %D%/bench/load %D%/bench/syncloop %D%/bench/trivial \
	%D%/bench/store %D%/bench/scale
%C%_bench_load_SOURCES = %D%/bench/load.c \
	%D%/bench/figures.c %D%/bench/figures.h
%C%_bench_load_LDADD =
%C%_bench_syncloop_SOURCES = %D%/bench/syncloop.c \
	%D%/bench/figures.c %D%/bench/figures.h
%C%_bench_syncloop_LDADD =
%C%_bench_trivial_SOURCES = %D%/bench/trivial.c
%C%_bench_trivial_LDADD = libfastcgi.la
%C%_bench_store_SOURCES = %D%/bench/store.c \
	%D%/bench/figures.c %D%/bench/figures.h
%C%_bench_store_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_bench_store_LDADD = libstore.la $(SQLITE_LIBS)
%C%_bench_scale_SOURCES = %D%/bench/scale.c \
	%D%/bench/figures.c %D%/bench/figures.h
%C%_bench_scale_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_bench_scale_LDADD = libstore.la $(SQLITE_LIBS)
EXTRA_DIST += %D%/bench/run.py %D%/bench/slowsync.c
CLEANFILES += $(EXTRA_PROGRAMS)

bench: all $(EXTRA_PROGRAMS) %D%/bench/slowsync.so
	python3 $(top_srcdir)/%D%/bench/run.py --build $(abs_builddir)
.PHONY: bench

## --- fuzzing: a target per parser ---------------------------------------------
## With --enable-fuzzing libFuzzer drives them (tests/fuzz/run.sh does all of
## it); otherwise replay.c does, and their corpora are unit tests.
fuzz_targets = \
	%D%/fuzz/fuzz_batch \
	%D%/fuzz/fuzz_clock \
	%D%/fuzz/fuzz_conf \
	%D%/fuzz/fuzz_content \
	%D%/fuzz/fuzz_frame \
	%D%/fuzz/fuzz_guard \
	%D%/fuzz/fuzz_jscan \
	%D%/fuzz/fuzz_model \
	%D%/fuzz/fuzz_request \
	%D%/fuzz/fuzz_retry \
	%D%/fuzz/fuzz_str \
	%D%/fuzz/fuzz_terms \
	%D%/fuzz/fuzz_trail \
	%D%/fuzz/fuzz_ulid

if FUZZING
noinst_PROGRAMS += $(fuzz_targets)
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
else
check_PROGRAMS += $(fuzz_targets)
TESTS += $(fuzz_targets)
fuzz_driver = %D%/fuzz/replay.c
fuzz_ldflags = $(AM_LDFLAGS)
endif

%C%_fuzz_fuzz_batch_SOURCES = %D%/fuzz/fuzz_batch.c $(fuzz_driver)
%C%_fuzz_fuzz_batch_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_batch_LDADD = libresponder.la
%C%_fuzz_fuzz_clock_SOURCES = %D%/fuzz/fuzz_clock.c $(fuzz_driver)
%C%_fuzz_fuzz_clock_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_conf_SOURCES = %D%/fuzz/fuzz_conf.c $(fuzz_driver)
%C%_fuzz_fuzz_conf_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_conf_LDADD = libcore.la
%C%_fuzz_fuzz_content_SOURCES = %D%/fuzz/fuzz_content.c $(fuzz_driver)
%C%_fuzz_fuzz_content_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_content_LDADD = libcore.la
%C%_fuzz_fuzz_frame_SOURCES = %D%/fuzz/fuzz_frame.c $(fuzz_driver)
%C%_fuzz_fuzz_frame_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_frame_LDADD = libcore.la
%C%_fuzz_fuzz_guard_SOURCES = %D%/fuzz/fuzz_guard.c $(fuzz_driver)
%C%_fuzz_fuzz_guard_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_guard_LDADD = libhttp.la
%C%_fuzz_fuzz_jscan_SOURCES = %D%/fuzz/fuzz_jscan.c $(fuzz_driver)
%C%_fuzz_fuzz_jscan_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_model_SOURCES = %D%/fuzz/fuzz_model.c $(fuzz_driver)
%C%_fuzz_fuzz_model_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_model_LDADD = libcore.la
%C%_fuzz_fuzz_request_SOURCES = %D%/fuzz/fuzz_request.c $(fuzz_driver)
%C%_fuzz_fuzz_request_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_request_LDADD = libcore.la
%C%_fuzz_fuzz_retry_SOURCES = %D%/fuzz/fuzz_retry.c $(fuzz_driver)
%C%_fuzz_fuzz_retry_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_retry_LDADD = libcore.la
%C%_fuzz_fuzz_str_SOURCES = %D%/fuzz/fuzz_str.c $(fuzz_driver)
%C%_fuzz_fuzz_str_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_terms_SOURCES = %D%/fuzz/fuzz_terms.c $(fuzz_driver)
%C%_fuzz_fuzz_terms_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_terms_LDADD = libresponder.la
%C%_fuzz_fuzz_trail_SOURCES = %D%/fuzz/fuzz_trail.c $(fuzz_driver)
%C%_fuzz_fuzz_trail_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_fuzz_trail_LDADD = libresponder.la
%C%_fuzz_fuzz_ulid_SOURCES = %D%/fuzz/fuzz_ulid.c $(fuzz_driver)
%C%_fuzz_fuzz_ulid_LDFLAGS = $(fuzz_ldflags)
EXTRA_DIST += %D%/fuzz/run.sh %D%/fuzz/fuzz.h %D%/fuzz/replay.c %D%/fuzz/corpus
