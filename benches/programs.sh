#!/usr/bin/env bash
# Builds the programs that the benches run, from pinned sources, into corpus/big/ (ignored by git).
# usage: programs.sh [NAME...]     bzip2 lua sqlite zstd; without names: those that are not there yet
# Needs cargo, for the sources (they come inside of crates), and clang 22 with wasi-libc; on Debian:
#   apt-get install clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc
set -euo pipefail

programs=$(cd "$(dirname "${BASH_SOURCE[0]}")/programs" && pwd)
out=$programs/../../corpus/big
mkdir -p "$out"
out=$(cd "$out" && pwd)

names=("$@")
if [ $# -eq 0 ]; then
  for name in bzip2 lua sqlite zstd; do [ -f "$out/$name.wasm" ] || names+=("$name"); done
  [ ${#names[@]} -gt 0 ] || { echo "all of them are there: $out"; exit 0; }
fi

clang=${CLANG:-clang-22}
missing() { echo "programs.sh: $1 is missing: apt-get install clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc" >&2; exit 1; }
command -v cargo > /dev/null || { echo "programs.sh: cargo is missing" >&2; exit 1; }
command -v "$clang" > /dev/null || missing "$clang"
echo 'int main(void) { return 0; }' | "$clang" --target=wasm32-wasi --no-wasm-opt -x c - -o /dev/null ||
  missing "what $clang needs for --target=wasm32-wasi (see above)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The crates, with their hashes; nothing else of them is used but the C sources.
crates='bzip2-sys 0.1.13 225bff33b2141874fe80d71e07d6eec4f85c5c216453dd96388240f96e1acc14
libsqlite3-sys 0.40.0 b06e69070b7e12262b0cd90832f0a7396f142a2b330181255562decf9f0c6215
lua-src 551.1.0 41d22b201501a536c0f5a96c7589b268b559172b20fb029064434e38ddcecb1f
zstd-sys 2.1.3 f729a06d0257428fd9d997ac8db7e1407bd0262ab016b085b36bc52957c0052d'
mkdir src include
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

# Names stay (labels come from them), DWARF of libc does not; no path of the machine gets in.
cc() {
  "$clang" --target=wasm32-wasi --no-wasm-opt -O2 -DNDEBUG -std=gnu23 -ffile-prefix-map="$work"=. -I"$programs" \
    -Wno-deprecated -Wl,--strip-debug "$@"
}

bzip2() {
  local from=vendor/bzip2-sys/bzip2-1.0.8
  cc -DBZ_NO_STDIO -I$from "$programs/bzip2.c" $from/{blocksort,bzlib,compress,crctable,decompress,huffman,randtable}.c "$@"
}

# Errors abort instead of being caught by setjmp, which is wanting in wasi-libc: the script has none, and the module needs
# no exceptions then. Neither an address nor the time gets into hashes and pivots.
lua() {
  local from=vendor/lua-src/lua-5.4.9
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

zstd() {
  local from=vendor/zstd-sys/zstd/lib
  cc -DZSTD_DISABLE_ASM -DZSTD_LEGACY_SUPPORT=0 -I$from "$programs/zstd.c" $from/{common,compress,decompress}/*.c "$@"
}

for name in "${names[@]}"; do
  case $name in
    bzip2 | lua | sqlite | zstd) ;;
    *) echo "programs.sh: there is no program $name; there are bzip2, lua, sqlite and zstd" >&2; exit 1 ;;
  esac
  "$name" -o "$name.wasm"
  mv "$name.wasm" "$out/"
  echo "$out/$name.wasm: $(wc -c < "$out/$name.wasm") bytes"
done
