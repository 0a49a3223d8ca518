# kube-proxy writes its rules with the iptables programs, and clears connections with conntrack.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends iptables conntrack \
    && rm -rf /var/lib/apt/lists/*
COPY kube-proxy /usr/local/bin/
