#!/usr/bin/env bash
# Builds the container of the Dockerfile and tries it: `make container`.
#
#   Docker runs here:  docker build, docker run --read-only
#   else:              the Dockerfile's own lines, carried out in a chroot of Debian bookworm
#                      (root and debootstrap needed), then the program as the image's user on a
#                      read-only root file system without network
#
# The Debian base is kept as an archive under ${XDG_CACHE_HOME:-~/.cache}/chain-adapter for 30 days.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'container: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 2
}

if docker info >/dev/null 2>&1; then
  say "with Docker"
  docker build --tag chain-adapter:dev .
  for try in "--help" "plugins list"; do
    # shellcheck disable=SC2086
    docker run --rm --read-only --tmpfs /tmp --network none --cap-drop ALL chain-adapter:dev $try
  done
  exit 0
fi

say "no Docker here: the Dockerfile's steps in a chroot"
[ "$(id -u)" = 0 ] || fail "a chroot needs root; or run where Docker runs"
for tool in debootstrap unshare setpriv python3; do
  command -v "$tool" >/dev/null ||
    fail "no $tool: apt-get install debootstrap util-linux python3   then try again"
done

work=$(mktemp -d /tmp/container.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT

base_packages=python3,python3-venv,ca-certificates
cache=${XDG_CACHE_HOME:-$HOME/.cache}/chain-adapter
base=$cache/bookworm-${base_packages//,/+}-$(dpkg --print-architecture).tar
mkdir -p "$cache"
find "$cache" -name 'bookworm-*.tar' -mtime +30 -delete
if [ ! -e "$base" ]; then
  say "making the Debian base (a minute)"
  timeout 600 debootstrap --variant=minbase --include="$base_packages" bookworm "$work/base" \
    >"$work/debootstrap.log" 2>&1 || {
    tail -n 20 "$work/debootstrap.log" >&2
    fail "debootstrap could not make a Debian bookworm: is a Debian mirror reachable?"
  }
  rm -rf "$work/base/var/cache/apt/archives" "$work/base/var/lib/apt/lists"
  mkdir -p "$work/base/var/cache/apt/archives" "$work/base/var/lib/apt/lists"
  tar -C "$work/base" -cf "$base.$$" .
  mv "$base.$$" "$base"
  rm -rf "$work/base"
fi

timeout 900 python3 scripts/dockerfile_steps.py Dockerfile --base "$base" --work "$work" \
  --try="--help" --try="plugins list"
