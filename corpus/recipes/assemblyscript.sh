#!/bin/bash
# Builds the AssemblyScript modules of the corpus into ../real: as_sieve.wasm,
# and as_sieve_map.wasm with its source map beside it. A few seconds.
# Needs node (20 or later) and npm.
set -euo pipefail
export LC_ALL=C

ASSEMBLYSCRIPT=0.28.20
WASI_SHIM=0.1.0

corpus=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

install_tools() {
  echo '{ "private": true }' >package.json
  npm install --silent --no-fund --no-audit --save-exact \
    "assemblyscript@$ASSEMBLYSCRIPT" "@assemblyscript/wasi-shim@$WASI_SHIM"
}

asc() {
  node node_modules/assemblyscript/bin/asc.js sieve.ts \
    --config node_modules/@assemblyscript/wasi-shim/asconfig.json -O3 --debug "$@"
}

install_tools
mkdir -p "$corpus/real" out
cp "$corpus/src/sieve.ts" .
asc --outFile out/as_sieve.wasm
asc --outFile out/as_sieve_map.wasm --sourceMap
# The map embeds 370 kB of the standard library's sources: only the program's
# own stays.
node -e '
  const fs = require("fs"), file = "out/as_sieve_map.wasm.map";
  const map = JSON.parse(fs.readFileSync(file, "utf8"));
  map.sourcesContent = map.sources.map((s, i) => s === "sieve.ts" ? map.sourcesContent[i] : null);
  fs.writeFileSync(file, JSON.stringify(map) + "\n");
'
if grep -aqF -e "$work" -e "$HOME/" out/*; then
  echo "a path of this machine is left in a module" >&2
  exit 1
fi
chmod 644 out/*
mv out/* "$corpus/real/"
ls -l "$corpus"/real/as_*
