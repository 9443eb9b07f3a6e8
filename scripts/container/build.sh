#!/bin/sh
# build.sh SOURCE TARGET: the program and its plugins as one environment in TARGET.
#
# Runs as a RUN step of the Dockerfile, and in a chroot by the same file (scripts/container.sh).
# Every package from outside is checked against its hash; our own are built from SOURCE, offline.
set -eu
source=$1
target=$2
umask 022

python3 -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check --no-input --no-compile \
  --require-hashes --only-binary :all: -r "$source/requirements-run.lock"

set -- "$source"
for project in "$source"/plugins/*/pyproject.toml; do
  set -- "$@" "${project%/pyproject.toml}"
done
"$target/bin/pip" install --quiet --disable-pip-version-check --no-input --no-compile \
  --no-index --no-deps --no-build-isolation "$@"

# What only building needed: an installed daemon installs nothing.
"$target/bin/pip" --disable-pip-version-check freeze --all >"$target/packages.txt"
"$target/bin/pip" uninstall --quiet --yes --disable-pip-version-check hatchling pathspec pluggy \
  trove-classifiers pip setuptools 2>/dev/null ||
  "$target/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pip") is not None)'

# The root file system is read-only when it runs: byte code must be there already.
"$target/bin/python" -m compileall -q -j 0 "$target/lib" >/dev/null || true
"$target/bin/chain-adapter" plugins list
