#!/usr/bin/env bash
# Installs the Debian packages that the one-node cluster and its images are made from. Quick when all are present.
#
#   debian.sh           install what is missing (needs root)
#   debian.sh missing   only print what is missing, one a line
set -euo pipefail

# iproute2 to unzip are tools of the host; containernetworking-plugins is the node's CNI; catatonit and busybox-static
# become images; libseccomp-dev, pkg-config and gcc build runc. redis-server and faketime are what faults are tried on.
packages='iproute2 iptables nftables conntrack socat unzip util-linux containernetworking-plugins catatonit
  busybox-static libseccomp-dev pkg-config gcc binutils libc6-dev openssl curl ca-certificates redis-server faketime'

missing() {
  local name
  for name in $packages; do
    dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
  done
}

absent=$(missing)
if [[ ${1-} == missing ]]; then printf '%s' "${absent:+$absent$'\n'}"; exit 0; fi
[[ -n $absent ]] || exit 0
[[ $(id -u) -eq 0 ]] || { printf 'debian.sh: not root; missing: %s\n' "$(tr '\n' ' ' <<<"$absent")" >&2; exit 1; }
apt-get update -q
# shellcheck disable=SC2086  # one word a package
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $absent
