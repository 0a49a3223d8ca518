#!/bin/sh
# Keeps the kubelet running in a node, as an init system would. kubeadm writes the configuration and the flags.
#   node-kubelet.sh KUBELET
set -u
until [ -s /var/lib/kubelet/config.yaml ] && [ -s /var/lib/kubelet/kubeadm-flags.env ]; do
    sleep 0.1
done
while :; do
    . /var/lib/kubelet/kubeadm-flags.env
    # shellcheck disable=SC2086 # the flags are words on purpose
    "$1" --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
        --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf ${KUBELET_KUBEADM_ARGS:-}
    echo "the kubelet ended with $?; starting it again"
    sleep 1
done
