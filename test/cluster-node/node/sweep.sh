#!/usr/bin/env bash
# Removes what is left of a cluster none of whose processes lives: with its namespaces the kernel has removed
# processes, mounts, interfaces and firewall rules; empty cgroups and files stay. The caller holds the name's lock.
#
#   sweep.sh STATE [SLOT whose lock the caller holds]
set -euo pipefail
state=$1 held=${2-}

main() {
  local slot directory
  [[ -d $state ]] || return 0
  slot=$(cat "$state/slot" 2>/dev/null || true)
  if [[ -f $state/cgroups ]] && free "$slot"; then
    while read -r directory; do remove "$directory"; done <"$state/cgroups"
  fi
  rm -rf --one-file-system "$state"
}

# Cgroups go by slot: when another cluster has the slot by now, they are its own.
free() {
  [[ -n $1 ]] || return 1
  [[ $1 != "$held" ]] || return 0
  exec 7>"/run/lock/portcullis-slot-$1.lock"
  flock -n 7
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
