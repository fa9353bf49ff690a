#!/usr/bin/env bash
# Builds the Go programs that the build and the tests use, each pinned by a go.mod and go.sum of its own.
#
#   toolchain.sh              build (or download) everything
#   toolchain.sh path NAME    print where one program, or one module read for its data, is; make it if needed
#
# Results live outside the checkout, in a directory named by the hash of everything that decides the bytes: a cached
# tool needs no network, and a changed pin can never pick up an old binary. Progress goes to stderr.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portcullis/toolchain
ldflags='-s -w'
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off
unset GOOS GOARCH

main() {
  need_go
  case "${1-}" in
    '') for name in $(names); do locate "$name" >/dev/null; done ;;
    path) [[ $# -eq 2 ]] || fail 'usage: toolchain.sh [path NAME]'; locate "$2" ;;
    *) fail 'usage: toolchain.sh [path NAME]' ;;
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

names() {
  local mod
  for mod in "$here"/*/go.mod; do basename "$(dirname "$mod")"; done
}

# A go.mod with a "tool" line is a program; one without is a module read for its data.
locate() {
  local name=$1 mod="$here/$1/go.mod" package
  [[ -f $mod ]] || fail "no tool is called '$name'; known: $(names | tr '\n' ' ')"
  package=$(awk '$1 == "tool" { print $2 }' "$mod")
  if [[ -n $package ]]; then program "$name" "$package"; else data "$name"; fi
}

program() {
  local name=$1 package=$2 key dir version
  version=$(pinned "$name" "$package")
  key=$(key_of "$name")
  dir=$cache/$key
  if [[ -x $dir/$name ]]; then
    say "$name $version … cached"
  else
    mkdir -p "$cache"
    # The lock only saves a second build; the rename in build is what makes a half-written binary impossible.
    if command -v flock >/dev/null; then
      ( flock 9; [[ -x $dir/$name ]] || build "$name" "$package" "$dir" "$version" ) 9>"$cache/$key.lock"
    else
      build "$name" "$package" "$dir" "$version"
    fi
  fi
  printf '%s\n' "$dir/$name"
}

build() {
  local name=$1 package=$2 dir=$3 version=$4 temp began=$SECONDS
  temp=$(mktemp -d "$cache/.building.XXXXXX")
  # shellcheck disable=SC2064  # expand now: the trap must remove this very directory
  trap "rm -rf '$temp'" EXIT
  printf 'toolchain: %s %s … ' "$name" "$version" >&2
  ( cd "$here/$name" && go build -trimpath -ldflags "$ldflags" -o "$temp/$name" "$package" ) >"$temp/log" 2>&1 \
    || { printf 'failed\n' >&2; cat "$temp/log" >&2; fail "$name $version could not be built (see above)"; }
  rm -f "$temp/log"
  chmod 755 "$temp"
  mv -T "$temp" "$dir" 2>/dev/null || [[ -x $dir/$name ]] || fail "cannot write $dir"
  printf 'built in %s s\n' "$((SECONDS - began))" >&2
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

pinned() {
  awk -v package="$2/" '
    { sub(/^require /, "") }
    index(package, $1 "/") == 1 && $2 ~ /^v/ { print substr($2, 2); exit }' "$here/$1/go.mod"
}

key_of() {
  {
    cat "$here/$1/go.mod" "$here/$1/go.sum"
    go env GOVERSION GOOS GOARCH
    echo "$CGO_ENABLED $GOFLAGS -trimpath $ldflags"
  } | sha256sum | cut -c1-32
}

say() {
  printf 'toolchain: %s\n' "$*" >&2
}

main "$@"
