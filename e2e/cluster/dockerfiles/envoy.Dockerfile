# Envoy's release build is linked against glibc, so it needs a Debian around it.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
COPY envoy /usr/local/bin/
