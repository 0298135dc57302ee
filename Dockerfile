# The service in a container. Build: make image, or docker build -t clearslice:cpu .   GPU: --build-arg EXTRA=gpu
#
#   dependencies (locked, hashed) --> application (this repository) --> runtime: Python, one environment, one user
#
# The base is named by its tag and rebuilt with Debian's security fixes; who needs the same bytes every time replaces the
# tag by the digest that their registry shows (python:3.11-slim-bookworm@sha256:...).

FROM python:3.11-slim-bookworm AS dependencies
ARG EXTRA=cpu
RUN python -m venv --without-pip /opt/clearslice
COPY requirements/${EXTRA}.txt /build/requirements.txt
# TensorFlow's C++ headers (290 MB) are for compiling custom operations, which nothing here does, and libclang (60 MB) is
# for TensorFlow's own build: no module imports it. Bytecode is never checked against its source (unchecked-hash), since
# the files of an image never change, and a copy's new timestamps must not make it stale.
RUN pip --python /opt/clearslice/bin/python install --no-cache-dir --no-compile --require-hashes -r /build/requirements.txt \
 && pip --python /opt/clearslice/bin/python uninstall --yes libclang \
 && rm -rf /opt/clearslice/lib/python3*/site-packages/tensorflow/include \
 && /opt/clearslice/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/clearslice/lib

# Installed beside the dependencies, so that new code is a layer of its own and the large one stays as it was.
FROM dependencies AS application
WORKDIR /build
COPY . /build
RUN pip --python /opt/clearslice/bin/python install --no-cache-dir --no-compile --no-deps --no-build-isolation \
      --prefix /application . \
 && install -D -m 644 -t /application/share/doc/clearslice LICENSE THIRD_PARTY.md \
 && /opt/clearslice/bin/python -m compileall -q --invalidation-mode unchecked-hash /application/lib

FROM python:3.11-slim-bookworm AS runtime
# The uid is fixed, so that the owner of a mounted store can be prepared. The user can write to /store, /spool and /tmp only;
# nothing is written to /spool unless CLEARSLICE_SPOOL names it.
RUN groupadd --gid 10001 clearslice \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin clearslice \
 && install -d -m 750 -o 10001 -g 10001 /store \
 && install -d -m 700 -o 10001 -g 10001 /spool
COPY --from=dependencies /opt/clearslice /opt/clearslice
COPY --from=application /application /opt/clearslice

ENV PATH=/opt/clearslice/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    CLEARSLICE_HOST=0.0.0.0 \
    CLEARSLICE_PORT=8000 \
    CLEARSLICE_STORE=/store
WORKDIR /tmp
USER 10001:10001
VOLUME /store
EXPOSE 8000 11112
# Ready, not only alive. The start period covers loading and proving the models on a slow machine.
HEALTHCHECK --interval=15s --timeout=6s --start-period=120s --retries=3 \
  CMD ["python", "-m", "clearslice.health"]
# Exec form: the service itself is process 1 and gets SIGTERM, answers what it accepted, and ends.
CMD ["clearslice", "serve"]

# Last, so that a new revision costs no layer.
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="clearslice" \
      org.opencontainers.image.description="Reconstructs degraded images with U-Nets, low-dose CT first. For research: not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
