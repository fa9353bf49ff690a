#!/usr/bin/env bash
# kubelet in a mount namespace of its own. It would set these kernel switches for the whole machine; here it finds files
# that already hold what it wants. Only in its namespace: bind mounts over /proc in the node's would break pods with
# user namespaces.
set -euo pipefail
mount --make-rprivate /proc
mkdir -p /run/pc-sysctl
while read -r file value; do
  target=/run/pc-sysctl/${file//\//.}
  echo "$value" >"$target"
  mount --bind "$target" "/proc/sys/$file"
done <<SWITCHES
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SWITCHES
exec "$@"
