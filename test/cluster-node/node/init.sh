#!/usr/bin/env bash
# PID 1 of the node, in namespaces of its own: mounts, network, guard rules, then every component in a restart loop.
# Bash, because PID 1 must reap orphans and bash does. Ends when standard input (the lifeline) does; everything in the
# pid namespace then ends with it.
#
#   init.sh NAME SLOT STATE
set -euo pipefail
name=$1 slot=$2 state=$3
exec 6<&0 # background jobs get /dev/null as standard input
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
  # shellcheck disable=SC1091  # written by material.ts: paths of the programs, settings
  source "$state/node.env"
  mounts
  network
  mkdir -p /run/pc/{logs,hold,held,pid}
  components
  cat >/dev/null <&6 # not exec: bash has to stay, to reap
}

mounts() {
  mount --make-rprivate /
  mkdir -p "$state/run"
  mount -t tmpfs -o "size=1g,mode=755" tmpfs "$state/run"
  mkdir "$state/run/pc" "$state/run/mount"
  mount --bind "$state" "$state/run/pc"
  mount --no-mtab --move "$state/run" /run
  mount --make-rshared / # kubelet passes volumes on to pods
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  cgroup_mounts
  mount -t tmpfs -o size=1g tmpfs /var/log
  if [[ $STORAGE == disk ]]; then
    mkdir -p /run/pc/storage
    mount --bind /run/pc/storage /var/lib
  else
    mount -t tmpfs -o size=8g tmpfs /var/lib
  fi
  mkdir -p /run/netns /run/lock /var/lib/kubelet /var/log/pods /var/log/containers
  : >/run/pc/resolv.conf # pods ask CoreDNS, and CoreDNS asks nobody
}

cgroup_mounts() {
  local controllers directory
  if ! grep -q '^[1-9]' /proc/self/cgroup; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # v2: a cgroup with processes of its own cannot give controllers to its children.
    mkdir -p /sys/fs/cgroup/init
    echo $$ >/sys/fs/cgroup/init/cgroup.procs
    sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
    return
  fi
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    directory=/sys/fs/cgroup/${controllers#name=}
    [[ -n $controllers ]] || directory=/sys/fs/cgroup/unified
    mkdir -p "$directory"
    case "$controllers" in
      '') mount -t cgroup2 cgroup2 "$directory" ;;
      name=*) mount -t cgroup -o "none,$controllers" cgroup "$directory" ;;
      *) mount -t cgroup -o "$controllers" cgroup "$directory" ;;
    esac
  done </proc/self/cgroup
}

# eth0 comes from the host (start.ts). Nothing leaves by it but to the host's end of the pair: no packet of this node,
# of a pod or of a late client may reach another machine.
network() {
  hostname "$name"
  ip link set lo up
  sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
  until [[ -e /sys/class/net/eth0 ]]; do sleep 0.02; done
  nft -f - <<N
table inet pcguard {
  chain out {
    type filter hook postrouting priority 300
    oifname "eth0" meta nfproto ipv4 ip daddr != $HOST_ADDRESS counter drop
    oifname "eth0" meta nfproto ipv6 counter drop
  }
  chain post {
    type nat hook postrouting priority srcnat
    oifname "eth0" ip saddr 10.244.0.0/16 masquerade
  }
}
N
  ip addr add "$NODE_ADDRESS/30" dev eth0
  ip link set eth0 up
  ip route add default via "$HOST_ADDRESS" # addresses of Services need some route; the host does not forward
}

components() {
  export PATH="$BIN:$PATH"
  keep containerd "$CONTAINERD" -c /run/pc/containerd.toml
  import_images &
  arguments etcd; keep etcd "$ETCD" "${args[@]}"
  arguments kube-apiserver; keep kube-apiserver "$KUBE_APISERVER" "${args[@]}"
  {
    until ready_api; do sleep 0.1; done
    arguments kube-controller-manager; keep kube-controller-manager "$KUBE_CONTROLLER_MANAGER" "${args[@]}"
    arguments kube-scheduler; keep kube-scheduler "$KUBE_SCHEDULER" "${args[@]}"
    until [[ -e /run/pc/imported ]]; do sleep 0.1; done
    arguments kubelet
    keep kubelet unshare --mount --propagation unchanged bash "$here/kubelet.sh" "$KUBELET" "${args[@]}"
    keep kube-proxy "$KUBE_PROXY" --config /run/pc/kube-proxy.json
    wait
  } &
}

# One argument a line, written by material.ts.
arguments() {
  mapfile -t args <"/run/pc/args/$1"
}

# Restarted whenever it ends; its process id is in /run/pc/pid/NAME. While /run/pc/hold/NAME exists it is not started
# again, which /run/pc/held/NAME confirms.
keep() {
  local component=$1
  shift
  while :; do
    while [[ -e /run/pc/hold/$component ]]; do : >"/run/pc/held/$component"; sleep 0.05; done
    rm -f "/run/pc/held/$component"
    "$@" >>"/run/pc/logs/$component.log" 2>&1 </dev/null &
    echo $! >"/run/pc/pid/$component.new" && mv "/run/pc/pid/$component.new" "/run/pc/pid/$component"
    wait $! || true
    rm -f "/run/pc/pid/$component"
    sleep 0.3
  done &
}

ready_api() {
  curl -sf --max-time 2 --cacert /run/pc/pki/kubernetes.crt https://127.0.0.1:6443/readyz >/dev/null
}

import_images() {
  local archive
  until "$CTR" version >/dev/null 2>&1; do sleep 0.05; done
  for archive in /run/pc/images/*.tar; do
    [[ -e $archive ]] || continue
    "$CTR" -n k8s.io images import "$archive" >>/run/pc/logs/import.log 2>&1 \
      || { echo "cannot import $archive" >/run/pc/failed; return; }
  done
  : >/run/pc/imported
}

main
