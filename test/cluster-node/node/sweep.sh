#!/usr/bin/env bash
# Removes what is left of a cluster none of whose processes lives: the kernel has removed processes, mounts,
# interfaces and firewall rules with its namespaces; empty cgroups and files stay.
#
#   sweep.sh STATE SLOT
set -euo pipefail
state=$1 slot=$2

main() {
  local directory
  ip link del "pc$slot-h" 2>/dev/null || true
  [[ -d $state ]] || return 0
  if [[ -f $state/cgroups ]]; then
    while read -r directory; do remove "$directory"; done <"$state/cgroups"
  fi
  rm -rf --one-file-system "$state"
}

# The kernel lets go of a cgroup a moment after its last process.
remove() {
  local try
  for try in {1..50}; do
    [[ -d $1 ]] || return 0
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    sleep 0.02
  done
}

main
