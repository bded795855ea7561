#!/usr/bin/env bash
# Builds the programs that the benches run, from pinned sources, into corpus/big/ (ignored by git).
# usage: programs.sh [NAME...]     without names: those that are not there yet
# bzip2, lua, sqlite, tree-sitter and zstd come from crates, which cargo fetches. The sources of the others are in programs/:
#   virtual  an interpreter in C++: virtual calls, many small allocations
#   parse    an incremental parser
#   ten      two functions, one of which costs ten times as much: prints the true shares
#   writer, reader, sleeper   many writes to standard output; many reads from standard input; sleep and work, half and half
# Each takes an argument that multiplies its work, 1 by default.
# Needs cargo and clang 22 with wasi-libc and libc++, on Debian the packages below.
set -euo pipefail

crate_programs=(bzip2 lua sqlite tree-sitter zstd)
all=("${crate_programs[@]}" virtual parse ten writer reader sleeper)
packages='clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc libc++-22-dev-wasm32 libc++abi-22-dev-wasm32'

programs=$(cd "$(dirname "${BASH_SOURCE[0]}")/programs" && pwd)
out=$programs/../../corpus/big
mkdir -p "$out"
out=$(cd "$out" && pwd)

names=("$@")
if [ $# -eq 0 ]; then
  for name in "${all[@]}"; do [ -f "$out/$name.wasm" ] || names+=("$name"); done
  [ ${#names[@]} -gt 0 ] || { echo "all of them are there: $out"; exit 0; }
fi
for name in "${names[@]}"; do
  [[ " ${all[*]} " == *" $name "* ]] || { echo "programs.sh: there is no program $name; there are ${all[*]}" >&2; exit 1; }
done

clang=${CLANG:-clang-22}
clangxx=${clang%clang*}clang++${clang##*clang}
missing() { echo "programs.sh: $1 is missing: apt-get install $packages" >&2; exit 1; }
command -v cargo > /dev/null || { echo "programs.sh: cargo is missing" >&2; exit 1; }
command -v "$clang" > /dev/null || missing "$clang"
echo 'int main(void) { return 0; }' | "$clang" --target=wasm32-wasi --no-wasm-opt -Wno-deprecated -x c - -o /dev/null ||
  missing "what $clang needs for --target=wasm32-wasi (see above)"
if [[ " ${names[*]} " == *" virtual "* ]]; then
  printf '#include <vector>\nint main() { return std::vector<int>().size(); }' |
    "$clangxx" --target=wasm32-wasi --no-wasm-opt -Wno-deprecated -fno-exceptions -x c++ - -o /dev/null ||
    missing "libc++ for $clang and wasm32 (see above)"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The crates, with their hashes; nothing else of them is used but the C sources.
crates='bzip2-sys 0.1.13 225bff33b2141874fe80d71e07d6eec4f85c5c216453dd96388240f96e1acc14
libsqlite3-sys 0.40.0 b06e69070b7e12262b0cd90832f0a7396f142a2b330181255562decf9f0c6215
lua-src 551.1.0 41d22b201501a536c0f5a96c7589b268b559172b20fb029064434e38ddcecb1f
tree-sitter 0.27.1 a5129de2ccc97808c4583d48f1fb44576d015cf241e432800572bda11ef30c3b
tree-sitter-json 0.24.8 4d727acca406c0020cffc6cf35516764f36c8e3dc4408e5ebe2cb35a947ec471
zstd-sys 2.1.3 f729a06d0257428fd9d997ac8db7e1407bd0262ab016b085b36bc52957c0052d'
fetch_crates() {
  mkdir src
  : > src/lib.rs
  {
    printf '[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
    while read -r crate version _; do echo "$crate = \"=$version\""; done <<< "$crates"
  } > Cargo.toml
  # Cargo holds what it downloads against the registry's hash, and this holds that against ours.
  cargo vendor -q vendor > /dev/null
  while read -r crate version sha256; do
    grep -q "\"package\":\"$sha256\"" "vendor/$crate/.cargo-checksum.json" ||
      { echo "programs.sh: $crate $version is not what it was: its sha256 is not $sha256" >&2; exit 1; }
  done <<< "$crates"
}
for name in "${names[@]}"; do
  if [[ " ${crate_programs[*]} " == *" $name "* ]]; then fetch_crates; break; fi
done

# Names stay (labels come from them), DWARF of libc does not; no path of the machine gets in.
common=(--target=wasm32-wasi --no-wasm-opt -O2 -DNDEBUG -ffile-prefix-map="$work"=. -ffile-prefix-map="$programs"=.
  -I"$programs" -Wno-deprecated -Wl,--strip-debug)
cc() { "$clang" "${common[@]}" -std=gnu23 "$@"; }
cxx() { "$clangxx" "${common[@]}" -std=c++20 -fno-exceptions -fno-rtti "$@"; }

bzip2() {
  local from=vendor/bzip2-sys/bzip2-1.0.8
  cc -DBZ_NO_STDIO -I$from "$programs/bzip2.c" $from/{blocksort,bzlib,compress,crctable,decompress,huffman,randtable}.c "$@"
}

# Errors abort instead of being caught by setjmp, which is wanting in wasi-libc: the script has none, and the module needs
# no exceptions then. Neither an address nor the time gets into hashes and pivots.
lua() {
  local from=vendor/lua-src/lua-5.4.9
  mkdir -p include
  touch include/setjmp.h
  cc -Iinclude -I$from '-DLUAI_THROW(L,c)=abort()' '-DLUAI_TRY(L,c,a)={a}' -Dluai_jmpbuf=int -Dl_signalT=int \
    '-Dluai_makeseed(L)=5u' '-Dl_randomizePivot()=0' "$programs/lua.c" $from/l{api,auxlib,baselib,code,ctype,debug}.c \
    $from/l{do,dump,func,gc,lex,mathlib,mem,object,opcodes,parser,state,string,strlib,table,tablib,tm,undump,vm,zio}.c "$@"
}

sqlite() {
  local from=vendor/libsqlite3-sys/sqlite3
  cc -I$from -DSQLITE_OS_OTHER -DSQLITE_THREADSAFE=0 -DSQLITE_TEMP_STORE=3 -DSQLITE_OMIT_LOAD_EXTENSION \
    -DSQLITE_OMIT_WAL -DSQLITE_OMIT_LOCALTIME "$programs/sqlite.c" $from/sqlite3.c "$@"
}

tree-sitter() {
  local from=vendor/tree-sitter json=vendor/tree-sitter-json/src
  cc -I$from/include -I$from/src "$programs/tree-sitter.c" $from/src/lib.c $json/parser.c "$@"
}

zstd() {
  local from=vendor/zstd-sys/zstd/lib
  cc -DZSTD_DISABLE_ASM -DZSTD_LEGACY_SUPPORT=0 -I$from "$programs/zstd.c" $from/{common,compress,decompress}/*.c "$@"
}

virtual() { cxx "$programs/virtual.cpp" "$@"; }

for name in "${names[@]}"; do
  if declare -F "$name" > /dev/null; then
    "$name" -o "$name.wasm"
  else
    cc "$programs/$name.c" -o "$name.wasm"
  fi
  mv "$name.wasm" "$out/"
  echo "$out/$name.wasm: $(wc -c < "$out/$name.wasm") bytes"
done
