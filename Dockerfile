# foreman in one image: foreman-responder, foreman-worker, foreman.
#
#   docker build -t foreman .
#   docker run --rm foreman foreman --help
#
# The service needs two of them and Caddy: deploy/compose.yaml. They add 17 MB to
# debian:bookworm-slim, 1.2 MB of it foreman (docker history foreman).
#
#   --build-arg DEBIAN=trixie              another Debian than bookworm
#   --build-arg BASE=debian@sha256:…       a base that does not move
#   --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
#                                          the files' time
#
# Two builds of one source on one base give the same programs, byte for byte.
# The image around them differs in the packages' time of installation and, when
# Debian has mended a library in between, in that.
ARG DEBIAN=bookworm
ARG BASE=debian:${DEBIAN}-slim

FROM ${BASE} AS build
COPY deploy/deps.sh /src/deploy/deps.sh
RUN /src/deploy/deps.sh build
COPY . /src
WORKDIR /src
RUN autoreconf -fi \
 && ./configure --prefix=/usr --localstatedir=/var \
        CFLAGS='-O2 -g0 -ffile-prefix-map=/src=.' \
 && make -j"$(nproc)" foreman foreman-responder foreman-worker \
 && make install-binPROGRAMS install-sbinPROGRAMS DESTDIR=/out \
 && strip /out/usr/bin/* /out/usr/sbin/*
# The packages of the libraries that the programs name: their names differ from
# one Debian to the next.
RUN set -e; for library in $(objdump -p /out/usr/bin/* /out/usr/sbin/* \
            | awk '$1 == "NEEDED" { print $2 }' | sort -u); do \
        dpkg -S "*/$library" | grep -v ^diversion > /found; cut -d: -f1 /found; \
    done > /names; sort -u /names > /packages
ARG SOURCE_DATE_EPOCH=0
RUN find /out -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

# A target to try the service with: docker build --target fake-ollama .
FROM build AS fake-ollama
RUN make tests/fake-ollama/fake-ollama
CMD ["tests/fake-ollama/fake-ollama", "--listen", "127.0.0.1:11434"]

FROM ${BASE}
ARG VERSION=unversioned
ARG REVISION=unknown
LABEL org.opencontainers.image.title="foreman" \
      org.opencontainers.image.description="A queued, observable, Ollama-compatible job endpoint in front of one Ollama" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Besides the libraries: whom to trust over https, and cgi-fcgi, with which the
# responders' health is asked for.
COPY --from=build /packages /tmp/packages
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        ca-certificates libfcgi-bin $(cat /tmp/packages) \
 && rm -rf /tmp/packages /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && groupadd --system --gid 10001 foreman \
 && useradd --system --uid 10001 --gid foreman --home-dir /var/lib/foreman \
        --shell /usr/sbin/nologin foreman \
 && install -d -o foreman -g foreman -m 0750 /var/lib/foreman /run/foreman
COPY --from=build /out/ /
USER 10001:10001
VOLUME /var/lib/foreman
STOPSIGNAL SIGTERM
# The database's schema is current and a worker's sign of life in it is fresh.
# Responders are asked themselves: deploy/compose.yaml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["foreman", "db", "ready"]
CMD ["foreman-worker"]
