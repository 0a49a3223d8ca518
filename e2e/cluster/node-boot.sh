#!/bin/sh
# Runs inside fresh namespaces and becomes process 1 of a node: its end is the end of everything in the node.
#   node-boot.sh NAME DISK INIT PATH...
# Each PATH shows the node its own directory under DISK. They are shared mounts, as volumes that containers mount need it.
set -eu
name=$1 disk=$2 init=$3
shift 3
hostname "$name"
# Sockets, and above all network namespaces of pods, stay inside the node: a host that runs `ip netns`
# would otherwise pin every namespace file below /run/netns for ever.
mount -t tmpfs -o mode=755,nosuid,nodev node-run /run
for path in "$@"; do
    mkdir -p "$disk$path"
    mount --bind "$disk$path" "$path"
    mount --make-rshared "$path"
done
touch /run/booted
exec "$init"
