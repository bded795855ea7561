#!/bin/bash
# Rebuilds the C modules of corpus/real from corpus/src. Debian 12, as root (apt-get) with cargo.
# usage: c.sh [NAME...]       without names: all; NO_INSTALL=1 skips apt-get
# clang 22.1.8, Debian's wasi-libc 0.0~git20220510.9886d3d-2; crates bzip2-sys 0.1.13 (bzip2 1.0.8), lua-src 551.1.0 (Lua 5.4.9).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
src=$here/../src
out=$here/../real
mkdir -p "$out"
out=$(cd "$out" && pwd)
src=$(cd "$src" && pwd)

install_tools() {
  [ -n "${NO_INSTALL:-}" ] && return
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    clang-22='1:22.1.8-1~deb12u1' lld-22='1:22.1.8-1~deb12u1' llvm-22='1:22.1.8-1~deb12u1' \
    libclang-rt-22-dev-wasm32='1:22.1.8-1~deb12u1' wasi-libc='0.0~git20220510.9886d3d-2'
}

want() { # is NAME asked for?
  [ ${#names[@]} -eq 0 ] && return
  local n
  for n in "${names[@]}"; do [ "$n" = "$1" ] && return; done
  return 1
}

# A copy of wasi-libc without its DWARF 4, for the modules that carry only their own.
small_libc() {
  mkdir -p lib
  llvm-objcopy-22 --strip-debug /usr/lib/wasm32-wasi/libc.a lib/libc.a
}

# The crates' sources, in vendor/NAME.
crates() {
  mkdir -p crates/src
  : > crates/src/lib.rs
  cat > crates/Cargo.toml <<'TOML'
[package]
name = "sources"
version = "0.0.0"
edition = "2021"
[dependencies]
bzip2-sys = "=0.1.13"
lua-src = "=551.1.0"
TOML
  (cd crates && cargo vendor -q ../vendor > /dev/null)
}

# The DWARF names files as ./x.c: each source is copied to the work directory.
cc() { clang-22 --target=wasm32-wasi -Wno-deprecated -Wno-unused-command-line-argument --no-wasm-opt -ffile-prefix-map="$work"=. -ffile-prefix-map=/usr/include/wasm32-wasi=./include -ffile-prefix-map=/usr/lib/llvm-22/lib/clang/22/include=./clang "$@"; }

# one NAME FLAGS...: a program of a single source file
one() {
  local name=$1
  shift
  want "$name" || return 0
  cp "$src/$name.c" .
  cc "$@" "$name.c" -o "$out/$name.wasm"
}

bzip2() {
  want c_bzip2_dwarf5 || return 0
  cp vendor/bzip2-sys/bzip2-1.0.8/*.[ch] "$src/bz_driver.c" .
  # libc keeps its DWARF 4 here, so that the module has units of both versions
  cc -O1 -gdwarf-5 -DBZ_NO_STDIO bz_driver.c blocksort.c bzlib.c compress.c crctable.c decompress.c huffman.c \
    randtable.c -o "$out/c_bzip2_dwarf5.wasm"
}

lua() {
  want c_lua || return 0
  mkdir -p lua/include
  cp vendor/lua-src/lua-5.4.9/*.[ch] "$src/lua_driver.c" "$src/lua_sjlj_rt.c" lua/
  cp "$src/lua_setjmp.h" lua/include/setjmp.h
  local f objects=()
  # exnref exceptions for setjmp/longjmp; no address as seed, no random pivot
  local flags=(-O1 -Ilua/include -mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh=false -mexception-handling
    '-Dluai_makeseed(L)=5u' '-Dl_randomizePivot()=0' -Dl_signalT=int)
  # DWARF for a part of the program only: the rest has its names alone
  for f in lua_driver lapi lauxlib lbaselib lcorolib ldo ltablib lvm; do
    cc -c "${flags[@]}" -gdwarf-4 "lua/$f.c" -o "lua/$f.o"
    objects+=("lua/$f.o")
  done
  for f in lcode lctype ldebug ldump lfunc lgc llex lmathlib lmem lobject lopcodes lparser lstate lstring lstrlib \
    ltable ltm lundump lzio lua_sjlj_rt; do
    cc -c "${flags[@]}" "lua/$f.c" -o "lua/$f.o"
    objects+=("lua/$f.o")
  done
  cc -O1 "${objects[@]}" -Llib -o "$out/c_lua.wasm"
}

names=("$@")
install_tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
small_libc
crates

bzip2
lua
one c_exit -O1 -gdwarf-4 -Llib
one c_stripped -O2 -Wl,--strip-all
one c_names -O1 -Wl,--strip-debug
one c_simd -O2 -msimd128 -Wl,--strip-debug
one c_reactor -O1 -gdwarf-4 -mexec-model=reactor -Llib
one c_files -O1 -gdwarf-4 -Llib
