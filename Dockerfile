# One image per service: `make images`, or directly
#   docker build --build-arg SERVICE=vision --target cpu --tag polyphony-vision .
# SERVICE is gateway, vision, speech, generation, retrieval or tools; gpu is a target of vision, speech and retrieval.
# Images have no weights: the tools image pulls them. The reasons: docs/explanation/decisions/0006-images.md.

# A tag, since the digest belongs to the registry that serves it: give BASE as name@sha256:… to pin that too.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
ARG SERVICE

# Packages come from the lock, as wheels: nothing is ever compiled. A machine behind a proxy gives its authorities and its
# index as secrets, which no layer keeps: --secret id=ca,src=ca.pem --secret id=pip,src=pip.conf
FROM ${BASE} AS pip
RUN python3 -m venv /opt/pip
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_DEPS=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_REQUIRE_HASHES=1

FROM pip AS chassis-packages
COPY locks/chassis.txt .
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/pip/bin/pip install --quiet --requirement chassis.txt --target /opt/chassis

FROM pip AS cpu-packages
ARG SERVICE
COPY locks/${SERVICE}.txt .
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/pip/bin/pip install --quiet --requirement ${SERVICE}.txt --target /opt/service

FROM pip AS gpu-packages
ARG SERVICE
COPY locks/${SERVICE}-gpu.txt .
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/pip/bin/pip install --quiet --requirement ${SERVICE}-gpu.txt --target /opt/service

# The layers that all images share. llama.cpp needs GNU OpenMP; package managers are removed.
FROM ${BASE} AS runtime
RUN apt-get update --quiet=2 && apt-get install --quiet=2 --no-install-recommends libgomp1 >/dev/null && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log && \
    find /usr -depth \( -name pip -o -name 'pip-*' -o -name 'pip3*' -o -name 'setuptools*' -o -name ensurepip \
        -o -name python-wheels \) -exec rm -rf {} + && \
    groupadd --gid 10001 polyphony && \
    useradd --uid 10001 --gid 10001 --home-dir /var/lib/polyphony --no-create-home --shell /usr/sbin/nologin polyphony && \
    install --directory --owner=10001 --group=10001 \
        /var/lib/polyphony /var/lib/polyphony/models /var/lib/polyphony/data /var/lib/polyphony/data/objects
COPY --from=chassis-packages /opt/chassis /opt/chassis
ENV PYTHONPATH=/srv/polyphony:/opt/service:/opt/chassis \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=4194304 \
    MALLOC_TRIM_THRESHOLD_=16777216 \
    ONEDNN_PRIMITIVE_CACHE_CAPACITY=16 \
    POLYPHONY_HOME=/var/lib/polyphony \
    POLYPHONY_HOST=0.0.0.0 \
    POLYPHONY_GATEWAY_HTTP_HOST=0.0.0.0
WORKDIR /srv/polyphony
COPY catalogue catalogue
COPY servekit servekit
COPY protos/gen/polyphony polyphony

# The service's own layers: its folder, its ports, its command.
FROM runtime AS gateway
COPY gateway gateway
EXPOSE 8080 50050 9150
CMD ["python3", "-m", "gateway"]

FROM runtime AS vision
COPY services/__init__.py services/
COPY services/vision services/vision
EXPOSE 50051 9151
CMD ["python3", "-m", "services.vision"]

FROM runtime AS speech
COPY services/__init__.py services/
COPY services/speech services/speech
EXPOSE 50052 9152
CMD ["python3", "-m", "services.speech"]

FROM runtime AS generation
COPY services/__init__.py services/
COPY services/generation services/generation
EXPOSE 50053 9153
CMD ["python3", "-m", "services.generation"]

FROM runtime AS retrieval
COPY services/__init__.py services/
COPY services/retrieval services/retrieval
EXPOSE 50054 9154
CMD ["python3", "-m", "services.retrieval"]

FROM runtime AS tools
COPY client client
COPY fleet fleet
COPY capacity capacity
COPY evaluation evaluation
RUN printf '#!/usr/bin/env python3\nfrom fleet.cli.main import main\n\nmain()\n' >/usr/local/bin/polyphony && \
    chmod 755 /usr/local/bin/polyphony
ENTRYPOINT ["polyphony"]

FROM ${SERVICE} AS image
ARG SERVICE
ARG VERSION=0
ARG REVISION=unknown
ARG SOURCE=unknown
RUN mkdir polyphony-${VERSION}.dist-info && \
    printf 'Metadata-Version: 2.4\nName: polyphony\nVersion: %s\n' ${VERSION} >polyphony-${VERSION}.dist-info/METADATA && \
    python3 -m compileall -q .
LABEL org.opencontainers.image.title="polyphony-${SERVICE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001

FROM image AS gpu
COPY --from=gpu-packages /opt/service /opt/service
# Where the wheels of the CUDA libraries put them; the driver's own come from the machine.
ENV LD_LIBRARY_PATH=/opt/service/nvidia/cu13/lib:/opt/service/nvidia/cudnn/lib:/opt/service/nvidia/cublas/lib

FROM image AS cpu
COPY --from=cpu-packages /opt/service /opt/service
