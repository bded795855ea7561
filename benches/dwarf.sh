#!/usr/bin/env bash
# Makes a module with some 20 MB of debug information, corpus/big/dwarf.wasm (ignored by git): generated C, in which every
# function has inlined calls, blocks and variables that move, compiled by clang with -O1 and DWARF 5.
# usage: dwarf.sh [FILES]     30 source files of 500 functions, unless another number is given; some minutes
# Needs clang and wasm-ld 22; on Debian: apt-get install clang-22 lld-22
set -euo pipefail

mkdir -p "$(dirname "${BASH_SOURCE[0]}")/../corpus/big"
out=$(cd "$(dirname "${BASH_SOURCE[0]}")/../corpus/big" && pwd)
clang=${CLANG:-clang-22}
linker=${WASM_LD:-wasm-ld-22}
for tool in "$clang" "$linker"; do
  command -v "$tool" > /dev/null || { echo "dwarf.sh: $tool is missing: apt-get install clang-22 lld-22" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
objects=()
for file in $(seq 1 "${1:-30}"); do
  awk -v file="$file" '
    function some() { seed = (seed * 1103 + 12345) % 65521; return seed % 30 }
    BEGIN {
      seed = file
      for (i = 0; i < 40; i++)
        printf "struct s%d { int a, b; struct s%d *next; char name[%d]; double d; };\n", i, i ? i - 1 : 0, i + 1
      for (i = 0; i < 30; i++)
        printf "static inline __attribute__((always_inline)) int in%d(struct s%d *p, int x) {\n  int y = x * %d;\n  if (y & %d) y += p->a; else { int z = p->b ^ y; y -= z; }\n  return y;\n}\n", i, i, i + 3, i + 1
      for (i = 0; i < 500; i++) {
        a = some(); b = some(); c = some()
        printf "int f%d_%d(struct s%d *p, struct s%d *q, int n) {\n  int sum = n;\n  for (int i = 0; i < n; i++) {\n    int t = in%d(p, i);\n    int u = in%d(q, t + sum);\n", file, i, a, b, a, b
        printf "    if (t > u) { int w = in%d((struct s%d *)p, t); sum += w; }\n    else if (u == %d) return t;\n    sum += u;\n  }\n  return sum;\n}\n", c, c, i
      }
    }' > "f$file.c"
  "$clang" --target=wasm32 -ffreestanding -nostdlib -O1 -gdwarf-5 -fdebug-compilation-dir=. -c "f$file.c" -o "f$file.o"
  objects+=("f$file.o")
done
"$linker" --no-entry --export-all "${objects[@]}" -o "$out/dwarf.wasm"
ls -l "$out/dwarf.wasm"
