#!/usr/bin/env bash
# Host side of a one-node cluster: takes its locks, sweeps what a killed one left, enters new cgroups and becomes
# `unshare`, whose child is PID 1 of the node. Called by start.ts only; standard input is the lifeline.
#
#   launch.sh NAME SLOT STAGED STATE attached|detached
#
# The locks are open files that everything in the node inherits: they are free exactly when nothing of it lives.
# Exit codes before it becomes unshare: 40 the name is running, 41 the slot is taken.
set -euo pipefail
name=$1 slot=$2 staged=$3 state=$4 mode=$5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
group=portcullis-$slot

main() {
  local lock
  lock=$(dirname "$state")/.$name.lock
  # A lock file is removed with its cluster: what was locked must be what the next one will find.
  until [[ /proc/self/fd/9 -ef $lock ]]; do
    exec 9>"$lock"
    flock -n 9 || exit 40
  done
  exec 8>"/run/lock/portcullis-slot-$slot.lock"
  flock -n 8 || exit 41
  bash "$here/sweep.sh" "$state" "$slot"
  ip link del "pc$slot-h" 2>/dev/null || true # of a killed one, when the kernel is not yet through
  mv -T "$staged" "$state"
  if [[ $mode == detached ]]; then
    # Opened for both ends: it never reads end-of-file while the node holds it.
    mkfifo -m 600 "$state/lifeline"
    exec 0<>"$state/lifeline"
  fi
  cgroups
  exec 2>>"$state/logs/init.log"
  exec unshare --cgroup --mount --pid --net --ipc --uts --fork --kill-child=SIGKILL \
    bash "$here/init.sh" "$name" "$slot" "$state"
}

# One new cgroup in each hierarchy that this process is in; recorded, so that an empty one can be removed later.
cgroups() {
  local line controllers path directory lines
  mapfile -t lines </proc/self/cgroup # all of it now: entering one changes the next line
  : >"$state/cgroups"
  if [[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]]; then
    enter /sys/fs/cgroup "/sys/fs/cgroup/$group"
    return
  fi
  for line in "${lines[@]}"; do
    IFS=: read -r _ controllers path <<<"$line"
    case "$controllers" in
      '') directory=/sys/fs/cgroup/unified ;;
      name=*) directory=/sys/fs/cgroup/${controllers#name=} ;;
      *) directory=/sys/fs/cgroup/$controllers ;;
    esac
    [[ -d $directory ]] || continue
    enter "$directory${path%/}" "$directory${path%/}/$group"
  done
}

enter() {
  local parent=$1 directory=$2 file
  mkdir -p "$directory"
  echo "$directory" >>"$state/cgroups"
  if [[ -e $directory/cpuset.cpus && -e $directory/cgroup.clone_children ]]; then
    # v1: nothing can enter a cpuset without processors, nor be created below it.
    echo 1 >"$directory/cgroup.clone_children"
    for file in cpuset.cpus cpuset.mems; do cat "$parent/$file" >"$directory/$file"; done
  fi
  echo $$ >"$directory/cgroup.procs"
}

main
