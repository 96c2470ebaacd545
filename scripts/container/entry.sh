#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# entry.sh [OPTION...] - the first process of a container: it puts configuration and key where the daemon takes them, and becomes the daemon, which
# stops orderly on SIGTERM. OPTIONs are warmcored's, and win over the file.
#
# Environment, all of it optional:
#   WARMCORE_NODE     name of the node (default: default)
#   WARMCORE_CONFIG   folder that NODE.yaml is mounted in (default: /config)
#   WARMCORE_SECRETS  folder that remote.key and etcd's certificate and key are mounted in (default: /secrets)
#   WARMCORE_ADDRESS  an address of this host, whose device becomes --dev; not with WARMCORE_DEV, or "dev:" in NODE.yaml
#   WARMCORE_DEV      a device, the same on each host
set -euo pipefail

NODE=${WARMCORE_NODE:-default}
CONFIG=${WARMCORE_CONFIG:-/config}
SECRETS=${WARMCORE_SECRETS:-/secrets}
TARGET=/etc/warmcore

die() {
	echo "container-entry: error: $*" >&2
	exit 1
}

# Copied, because in volumes of Kubernetes files are links, in folders that everybody may write to, and the daemon takes neither. What was there and is no
# longer goes away: a container may be started again.
take() {
	local mode=$1 file
	shift
	for file in "$@"; do
		[ ! -f "$file" ] || install -m "$mode" "$file" "$TARGET/${file##*/}"
	done
}

# The device that has this address.
device_of() {
	local device
	read -r _ device _ < <(ip -o addr show to "$1") || die "no device has the address $1 of WARMCORE_ADDRESS; is the container in the network of its host (hostNetwork: true)?"
	echo "${device%%@*}"
}

install -d -m 755 "$TARGET"
rm -f "$TARGET/$NODE.yaml"
take 600 "$CONFIG/$NODE.yaml"
take 600 "$SECRETS"/*.key "$SECRETS"/*.pem
OPTIONS=(--name "$NODE")
if [ -n "${WARMCORE_DEV:-}" ]; then
	OPTIONS+=(--dev "$WARMCORE_DEV")
elif [ -n "${WARMCORE_ADDRESS:-}" ] && ! grep -qs '^dev:' "$TARGET/$NODE.yaml"; then
	DEVICE=$(device_of "$WARMCORE_ADDRESS")
	OPTIONS+=(--dev "$DEVICE")
fi
exec warmcored "${OPTIONS[@]}" "$@"
