#!/usr/bin/env bash
# Resolves the *.in files and package.json anew: `make lock`. Needs uv (pip install uv).
#
# The lock files carry hashes and name no host, so that they work behind any mirror.
# requirements-run.lock (the container) is bound to the versions of requirements.lock (what is tested).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PIP_FIND_LINKS UV_FIND_LINKS

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
if ! command -v uv >/dev/null; then
  python3 -m venv "$tool/venv"
  "$tool/venv/bin/pip" install -q uv
  PATH="$tool/venv/bin:$PATH"
fi

compile() {
  uv pip compile --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header --quiet "$@" >/dev/null
}
compile requirements.in -o requirements.lock
compile requirements-run.in -c requirements.lock -o requirements-run.lock

# Apart from node_modules: what is installed here must not decide what is locked.
mkdir "$tool/npm"
cp package.json .npmrc "$tool/npm/"
(cd "$tool/npm" && npm install --package-lock-only --ignore-scripts --no-audit --no-fund)
cp "$tool/npm/package-lock.json" .
node -e '
  const fs = require("fs");
  const lock = JSON.parse(fs.readFileSync("package-lock.json", "utf8"));
  for (const entry of Object.values(lock.packages)) {
    delete entry.funding;
    delete entry.resolved;
  }
  fs.writeFileSync("package-lock.json", JSON.stringify(lock, null, 2) + "\n");
'
