#!/bin/bash
# Rebuilds the C++ modules of corpus/real from corpus/src. Debian 12, as root (apt-get) with python3 and pip.
# usage: cpp.sh               NO_INSTALL=1 skips apt-get
# clang 22.1.8, libc++ 22.1.8, Debian's wasi-libc 0.0~git20220510.9886d3d-2; the exception runtime (libc++abi and
# libunwind, Apache 2.0 with LLVM exception) comes from the sources inside the PyPI package ziglang 0.17.1.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
src=$(cd "$here/../src" && pwd)
mkdir -p "$here/../real"
out=$(cd "$here/../real" && pwd)

install_tools() {
  if [ -z "${NO_INSTALL:-}" ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
      clang-22='1:22.1.8-1~deb12u1' lld-22='1:22.1.8-1~deb12u1' llvm-22='1:22.1.8-1~deb12u1' \
      libc++-22-dev-wasm32='1:22.1.8-1~deb12u1' libc++abi-22-dev-wasm32='1:22.1.8-1~deb12u1' \
      libclang-rt-22-dev-wasm32='1:22.1.8-1~deb12u1' wasi-libc='0.0~git20220510.9886d3d-2'
  fi
  python3 -m pip install -q --root-user-action=ignore --no-deps --target "$work/py" ziglang==0.17.1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
install_tools
zig=$work/py/ziglang/lib

# A copy of wasi-libc without its DWARF 4: the modules carry only their own.
mkdir lib
llvm-objcopy-22 --strip-debug /usr/lib/wasm32-wasi/libc.a lib/libc.a

# The DWARF names files as ./x.cpp: each source is copied to the work directory.
common=(--target=wasm32-wasi -Wno-deprecated -Wno-unused-command-line-argument --no-wasm-opt -ffile-prefix-map="$work"=. -ffile-prefix-map=/usr/include/wasm32-wasi=./include -ffile-prefix-map=/usr/lib/llvm-22/lib/clang/22/include=./clang)

cp "$src"/cpp_classes.cpp "$src"/cpp_eh.cpp "$src"/cpp_exception_tag.s .

clang++-22 "${common[@]}" -O1 -gdwarf-5 -fno-exceptions -fno-rtti -std=c++20 cpp_classes.cpp -Llib \
  -o "$out/cpp_classes.wasm"

# runtime MODE LEGACY: lib/libeh-MODE.a, without DWARF
runtime() {
  local mode=$1 legacy=$2 f
  local flags=("${common[@]}" -O1 -ffunction-sections -fdata-sections -fwasm-exceptions
    -mllvm -wasm-use-legacy-eh="$legacy" -D_LIBCPP_BUILDING_LIBRARY -D_LIBCXXABI_BUILDING_LIBRARY
    -D_LIBCXXABI_HAS_NO_THREADS -D__WASM_EXCEPTIONS__ -D_LIBUNWIND_HIDE_SYMBOLS -DNDEBUG
    -DLIBCXXABI_NON_DEMANGLING_TERMINATE -DLIBCXXABI_SILENT_TERMINATE
    -I"$zig/libcxxabi/include" -I"$zig/libunwind/include" -I"$zig/libcxxabi/src" -I"$zig/libcxx/src"
    -I"$zig/libunwind/src" -w)
  mkdir "$mode"
  for f in cxa_aux_runtime cxa_default_handlers cxa_exception cxa_exception_storage cxa_handlers cxa_personality \
    cxa_vector cxa_virtual fallback_malloc private_typeinfo stdlib_exception stdlib_typeinfo abort_message \
    stdlib_stdexcept cxa_guard stdlib_new_delete; do
    clang++-22 "${flags[@]}" -std=c++23 -c "$zig/libcxxabi/src/$f.cpp" -o "$mode/$f.o"
  done
  clang-22 "${flags[@]}" -std=c11 -c "$zig/libunwind/src/Unwind-wasm.c" -o "$mode/Unwind-wasm.o"
  clang-22 "${common[@]}" -mexception-handling -c cpp_exception_tag.s -o "$mode/cpp_exception_tag.o"
  llvm-ar-22 rcs "lib/libeh-$mode.a" "$mode"/*.o
}

# module MODE LEGACY DWARF
module() {
  runtime "$1" "$2"
  clang++-22 "${common[@]}" -O1 -gdwarf-"$3" -std=c++20 -fwasm-exceptions -mllvm -wasm-use-legacy-eh="$2" \
    cpp_eh.cpp "lib/libeh-$1.a" -Llib -o "$out/cpp_eh_$1.wasm"
}

module exnref false 5
module legacy true 4 # wasmtime refuses legacy exceptions: this one has only to validate (node runs it)
