#!/bin/bash
# Rebuilds corpus/dwarf from corpus/src/dwarf: the same small program with DWARF of every version and kind that clang writes.
# Debian 12, as root (apt-get).   usage: dwarf.sh      NO_INSTALL=1 skips apt-get
# clang 22.1.8, wasm-ld 22.1.8; no library is linked.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$here/../dwarf"
out=$(cd "$here/../dwarf" && pwd)

if [ -z "${NO_INSTALL:-}" ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    clang-22='1:22.1.8-1~deb12u1' lld-22='1:22.1.8-1~deb12u1' llvm-22='1:22.1.8-1~deb12u1'
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/../src/dwarf/* "$work"
cd "$work"

# one NAME FLAGS...: the linker alone, since the driver would run a wasm-opt from PATH, which loses addresses
one() {
  local name=$1 target=wasm32
  shift
  [[ $name == *_wasm64* ]] && target=wasm64
  local cc=(clang-22 --target=$target-unknown-unknown -ffreestanding -nostdlibinc -fno-exceptions -fno-rtti -w -ffile-prefix-map="$work"=. -fdebug-compilation-dir=.)
  "${cc[@]}" "$@" -c shapes.cpp -o shapes.o
  "${cc[@]}" "$@" -c other.c -o other.o
  wasm-ld-22 $([ $target = wasm64 ] && echo -mwasm64) --no-entry --export=run --export=trap --export=nothing --export=hand_over shapes.o other.o -o "$out/$name.wasm"
}

for version in 2 3 4 5; do
  for level in 0 1 2; do
    one "v${version}_O$level" "-gdwarf-$version" "-O$level"
  done
done
for version in 4 5; do
  one "v${version}_aranges" "-gdwarf-$version" -gdwarf-aranges -O1
  one "v${version}_types" "-gdwarf-$version" -fdebug-types-section -O1
  one "v${version}_split" "-gdwarf-$version" -gsplit-dwarf -O1
  one "v${version}_lines" "-gdwarf-$version" -gline-tables-only -O2
  one "v${version}_wasm64" "-gdwarf-$version" -O1
done
one v5_macros -gdwarf-5 -fdebug-macro -O1
one v5_names -gdwarf-5 -gpubnames -O1
one v5_Os -gdwarf-5 -Os
one v5_tail_calls -gdwarf-5 -O2 -mtail-call
