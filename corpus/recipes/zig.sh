#!/bin/bash
# Rebuilds the Zig module of corpus/real from corpus/src, with Zig from the PyPI package ziglang 0.17.1.
# usage: zig.sh               needs python3 and pip
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
src=$(cd "$here/../src" && pwd)
mkdir -p "$here/../real"
out=$(cd "$here/../real" && pwd)

install_tools() { python3 -m pip install -q --root-user-action=ignore --no-deps --target "$work/py" ziglang==0.17.1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install_tools
# The linker lets a string end in the tail of another: so the directory's own name has to be a fixed one.
mkdir "$work/build"
cd "$work/build"
cp "$src/zig_demo.zig" .

# Bulk memory and no 64-bit checked products: then nothing of compiler-rt is needed, whose DWARF is 0.6 MB.
ZIG_GLOBAL_CACHE_DIR=$work/build/cache ZIG_LOCAL_CACHE_DIR=$work/build/cache PYTHONPATH=$work/py \
  python3 -m ziglang build-exe zig_demo.zig -target wasm32-wasi -mcpu=generic+bulk_memory -O ReleaseSafe \
  -fno-compiler-rt -femit-bin=zig_demo.wasm

# Zig records absolute paths: a prefix of the same length and of no meaning takes the place of the work directory.
python3 - "$work" zig_demo.wasm "$out/zig_demo.wasm" <<'PY'
import sys
prefix = sys.argv[1].encode()
data = open(sys.argv[2], "rb").read()
assert prefix in data
open(sys.argv[3], "wb").write(data.replace(prefix, (b"./" * len(prefix))[: len(prefix)]))
PY
