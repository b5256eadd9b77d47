## The documentation: Markdown as it is, and the manual.

EXTRA_DIST += %D%/adr \
	%D%/CONTRIBUTING.md \
	%D%/SECURITY.md \
	%D%/api.md \
	%D%/architecture.md \
	%D%/backup.md \
	%D%/cli.md \
	%D%/database.md \
	%D%/deploy.md \
	%D%/examples/ask.c \
	%D%/go.md \
	%D%/go-llm.md \
	%D%/hacking.md \
	%D%/metrics.md \
	%D%/openapi.yaml \
	%D%/operations.md \
	%D%/performance.md \
	%D%/progress.md \
	%D%/scaling.md \
	%D%/smoke-test.md \
	%D%/receivers/receiver.c \
	%D%/receivers/receiver.go \
	%D%/receivers/receiver.js \
	%D%/receivers/receiver.py \
	%D%/receivers/receiver.sh \
	%D%/webhooks.md

## --- the manual ---------------------------------------------------------------
## What the tables of settings and commands say is put into two of the pages by
## a program; where that cannot run (cross-compiling), those two are left out.
dist_man_MANS += %D%/man/foreman.3 \
	%D%/man/foreman-responder.8 \
	%D%/man/foreman-worker.8
man_templates = %D%/man/foreman.1.in %D%/man/foreman-settings.5.in
EXTRA_DIST += $(man_templates)
%C%_man_mkman_SOURCES = %D%/man/mkman.c
%C%_man_mkman_LDADD = libcli.la
if !CROSS
noinst_PROGRAMS += %D%/man/mkman
nodist_man_MANS += %D%/man/foreman.1 %D%/man/foreman-settings.5
CLEANFILES += %D%/man/foreman.1 %D%/man/foreman-settings.5
else
EXTRA_PROGRAMS += %D%/man/mkman
endif

%D%/man/foreman.1: %D%/man/foreman.1.in %D%/man/mkman$(EXEEXT)
	$(AM_V_GEN)%D%/man/mkman <$(top_srcdir)/%D%/man/foreman.1.in >$@.new && \
		mv $@.new $@

%D%/man/foreman-settings.5: %D%/man/foreman-settings.5.in %D%/man/mkman$(EXEEXT)
	$(AM_V_GEN)%D%/man/mkman <$(top_srcdir)/%D%/man/foreman-settings.5.in >$@.new && \
		mv $@.new $@
