#!/usr/bin/env bash
# Makes .venv and node_modules from the lock files: `make setup` runs this.
#
#   1. a Python >= 3.11 that can make environments, and Node.js >= 18 with npm
#      (missing ones come from Debian's packages when we are root; else we say which)
#   2. .venv from requirements.lock, every file checked against its hash
#   3. the core and the plugins of this tree, editable
#   4. node_modules from package-lock.json: the local EVM node, the Solidity compiler, second clients
#
# Each step leaves a stamp with the hash of what it was made from; unchanged input, nothing done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022

PLUGINS=()
for project in plugins/*/pyproject.toml; do
  [ -e "$project" ] && PLUGINS+=("${project%/pyproject.toml}")
done

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 2
}

# Two set-ups at once (a developer's and a test's) must not write into one environment.
mkdir -p build
if command -v flock >/dev/null; then
  exec 9>build/setup.lock
  flock -w 900 9 || fail "another set-up has held build/setup.lock for 15 minutes; end it and try again"
fi

APT_FRESH=""
debian_packages() { # debian_packages REASON NAME...
  local reason=$1
  shift
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "$reason. As root: apt-get install $*   then run 'make setup' again"
  fi
  say "$reason: installing $* from Debian's packages"
  if [ -z "$APT_FRESH" ]; then
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get update -qq >/dev/null ||
      say "apt-get update had trouble; going on with the lists at hand"
    APT_FRESH=yes
  fi
  DEBIAN_FRONTEND=noninteractive timeout 900 \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    fail "apt-get install $* failed; run it by hand to see why"
}

find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then
      command -v "$name"
      return
    fi
  done
  return 1
}

find_node() {
  command -v npm >/dev/null && command -v node >/dev/null &&
    node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 18 ? 0 : 1)'
}

hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
fresh() { [ -e "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# --- Python ---------------------------------------------------------------------------------------

want_packages="$(hash_of requirements.lock) $PWD"
if ! fresh .venv/.stamp-packages "$want_packages" || ! .venv/bin/python -c '' 2>/dev/null; then
  python=$(find_python) || {
    debian_packages "no Python 3.11 or newer that can make an environment" python3 python3-venv
    python=$(find_python) || fail "Debian's python3 is older than 3.11: install Python 3.11 or newer"
  }
  if [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)' 2>/dev/null)" != "$PWD/.venv" ]; then
    say "making .venv with $("$python" --version) ($python)"
    rm -rf .venv
    "$python" -m venv .venv
  fi
  rm -f .venv/.stamp-packages
  say "installing the locked Python packages (a minute when nothing is cached)"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-input --retries 5 \
    --require-hashes --only-binary :all: -r requirements.lock ||
    fail "pip could not install requirements.lock: see its message above"
  printf '%s' "$want_packages" >.venv/.stamp-packages
fi

projects=(pyproject.toml "${PLUGINS[@]/%//pyproject.toml}")
want_editable="$(hash_of "${projects[@]}") $PWD"
if ! fresh .venv/.stamp-editable "$want_editable"; then
  editable=(-e .)
  for plugin in "${PLUGINS[@]}"; do editable+=(-e "./$plugin"); done
  say "installing this tree: . ${PLUGINS[*]}"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-input --no-index \
    --no-deps --no-build-isolation "${editable[@]}" ||
    fail "pip could not install this tree: see its message above"
  printf '%s' "$want_editable" >.venv/.stamp-editable
fi

# --- Node.js packages -----------------------------------------------------------------------------

want_node="$(hash_of package.json package-lock.json)"
if ! fresh node_modules/.stamp "$want_node"; then
  find_node || {
    debian_packages "no Node.js 18 or newer with npm" nodejs npm
    find_node || fail "Debian's nodejs is older than 18: install Node.js 18 or newer"
  }
  say "installing the local EVM node and the Solidity compiler (npm)"
  # No package's own script runs: the platform packages carry their binaries.
  # Not optional, since npm would leave the node out under Node.js 18, which its binary does not
  # need at all; so on other machines npm has to be told to go on without it.
  force=()
  [ "$(uname -m)" = x86_64 ] || force=(--force)
  npm ci "${force[@]}" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null ||
    fail "npm could not install package-lock.json: see its message above"
  printf '%s' "$want_node" >node_modules/.stamp
fi

# The npm package that holds the node's binary exists for 64-bit x86 only.
anvil=node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil
if [ "$(uname -m)" = x86_64 ]; then
  ln -sfn "../../$anvil" .venv/bin/anvil
elif ! command -v anvil >/dev/null; then
  say "no anvil for $(uname -m): put one on PATH for the demo and the EVM tests"
fi
say "ready: .venv/bin/chain-adapter"
