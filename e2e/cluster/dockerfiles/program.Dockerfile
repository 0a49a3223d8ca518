# One static program and nothing else. It is found by name: kubeadm's static pods call it without a path.
FROM scratch
ARG PROGRAM
COPY ${PROGRAM} /usr/local/bin/
ENV PATH=/usr/local/bin
