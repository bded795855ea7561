#!/usr/bin/env bash
# Makes the pictures of the documentation: make.sh WASMTRACE. Needs the readers of tests/viewers/install.sh.
set -euo pipefail
cd "$(dirname "$0")"
wasmtrace=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$wasmtrace" record -q -o "$folder/lua.wtrace" ../../corpus/real/c_lua.wasm >/dev/null
"$wasmtrace" report -q --html "$folder/lua.html" "$folder/lua.wtrace"
for theme in light dark; do
  node ../../tests/viewers/page.mjs shot "$folder/lua.html" "page-$theme.png" "$theme" time 1280 640 >/dev/null
done
wc -c page-*.png
