## What a machine needs besides the programs: systemd's units, and for the
## administrator to copy or run, in $(pkgdatadir): the Caddyfile, Caddy's
## drop-in, the settings with their defaults, the script for the target.

dist_pkgdata_DATA = Caddyfile %D%/systemd/caddy.service.conf
dist_pkgdata_SCRIPTS = %D%/pull-models.sh
nodist_pkgdata_DATA = %D%/env.example
EXTRA_DIST += Dockerfile .dockerignore \
	%D%/compose.yaml %D%/compose.traefik.yaml %D%/compose.litestream.yaml \
	%D%/litestream.yml
EXTRA_DIST += %D%/grafana/foreman.json %D%/prometheus/prometheus.yml \
	%D%/prometheus/foreman.rules.yml %D%/prometheus/foreman.test.yml
EXTRA_DIST += %D%/go-llm/foreman.go %D%/go-llm/foreman.patch
EXTRA_DIST += %D%/macos.md \
	%D%/systemd/foreman-worker.service.in \
	%D%/systemd/foreman-responder.service.in \
	%D%/systemd/foreman-target.service \
	%D%/systemd/foreman-target.socket \
	%D%/systemd/foreman.sysusers %D%/systemd/foreman.tmpfiles

made_units = \
	%D%/systemd/foreman-worker.service \
	%D%/systemd/foreman-responder.service
## What goes by another name where it is installed.
renamed = %D%/env.example \
	%D%/systemd/sysusers.d/foreman.conf %D%/systemd/tmpfiles.d/foreman.conf
CLEANFILES += $(made_units) $(renamed)

if SYSTEMD
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
nodist_systemdsystemunit_DATA = $(made_units)
systemdsystemunit_DATA = \
	%D%/systemd/foreman-target.service \
	%D%/systemd/foreman-target.socket
nodist_sysusers_DATA = %D%/systemd/sysusers.d/foreman.conf
nodist_tmpfiles_DATA = %D%/systemd/tmpfiles.d/foreman.conf
endif

make_unit = $(AM_V_GEN)$(MKDIR_P) $(@D) && \
	$(SED) 's,[@]sbindir[@],$(sbindir),g' $(top_srcdir)/$@.in >$@.new && mv $@.new $@
rename = $(AM_V_GEN)$(MKDIR_P) $(@D) && cp $< $@ && chmod u+w $@

%D%/systemd/foreman-worker.service: %D%/systemd/foreman-worker.service.in Makefile
	$(make_unit)
%D%/systemd/foreman-responder.service: %D%/systemd/foreman-responder.service.in Makefile
	$(make_unit)
%D%/env.example: $(top_srcdir)/.env.example
	$(rename)
%D%/systemd/sysusers.d/foreman.conf: $(top_srcdir)/%D%/systemd/foreman.sysusers
	$(rename)
%D%/systemd/tmpfiles.d/foreman.conf: $(top_srcdir)/%D%/systemd/foreman.tmpfiles
	$(rename)
