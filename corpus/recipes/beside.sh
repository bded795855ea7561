#!/bin/bash
# Rebuilds corpus/beside: modules whose source map or debug information is in a file beside them.
# Debian 12, as root (apt-get).   usage: beside.sh      NO_INSTALL=1 skips apt-get
# Emscripten 3.1.6 and Binaryen 108 are unpacked into a temporary folder, not installed; they work with clang and wasm-ld
# 22.1.8, which they do not know yet: one option of the linker is left out, which newer ones refuse.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$here/../beside"
out=$(cd "$here/../beside" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

if [ -z "${NO_INSTALL:-}" ]; then
  apt-get update -q
  apt-get install -q -y --no-install-recommends \
    clang-22='1:22.1.8-1~deb12u1' lld-22='1:22.1.8-1~deb12u1' llvm-22='1:22.1.8-1~deb12u1' nodejs python3
fi
mkdir "$work/debs" "$work/bin"
(cd "$work/debs" && apt-get -qq -o APT::Sandbox::User=root download emscripten=3.1.6~dfsg-5 binaryen=108-1)
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work"; done

# Emscripten's tools under the names that it calls them by.
for tool in clang clang++ llvm-ar llvm-nm llvm-objcopy llvm-dwarfdump; do
  ln -s "$(command -v "$tool-22")" "$work/bin/$tool"
done
ln -s "$work"/usr/bin/wasm-{opt,emscripten-finalize,metadce} "$work/bin/"
cat >"$work/bin/wasm-ld" <<'LINKER'
#!/bin/bash
for option in "$@"; do [[ $option == --global-base=* ]] || kept+=("$option"); done
exec wasm-ld-22 "${kept[@]}"
LINKER
chmod +x "$work/bin/wasm-ld"
cat >"$work/config" <<CONFIG
LLVM_ROOT = '$work/bin'
BINARYEN_ROOT = '$work/usr'
NODE_JS = '$(command -v node || command -v nodejs)'
CACHE = '$work/usr/share/emscripten/cache'
CONFIG
emcc() {
  PATH="$work/bin:$PATH" EM_CONFIG=$work/config EMCC_SKIP_SANITY_CHECK=1 \
    python3 "$work/usr/share/emscripten/emcc.py" "$@" -sSTANDALONE_WASM -ffile-prefix-map="$work/src"=. -ffile-prefix-map="$work/usr/share/"= -fdebug-compilation-dir=.
}

mkdir "$work/src"
cp "$here"/../src/beside/* "$here"/../src/dwarf/* "$work/src"
cd "$work/src"

# As Emscripten and Binaryen write source maps, and as Emscripten takes debug information out.
emcc program.c -O1 -gsource-map -o emcc_map.wasm
"$work/bin/wasm-opt" -O3 -g emcc_map.wasm -o wasm_opt_map.wasm \
  --input-source-map emcc_map.wasm.map --output-source-map wasm_opt_map.wasm.map --output-source-map-url wasm_opt_map.wasm.map
emcc program.c -O1 -gseparate-dwarf=emcc_dwarf.debug.wasm -o emcc_dwarf.wasm

# What LLVM keeps for debuggers has no code: a build_id says what it belongs to.
compile() {
  clang-22 --target=wasm32-unknown-unknown -ffreestanding -nostdlibinc -fno-exceptions -fno-rtti -w \
    -ffile-prefix-map="$work/src"=. -fdebug-compilation-dir=. -gdwarf-5 -O1 -c "$1" -o "$1.o"
}
compile shapes.cpp
compile other.c
wasm-ld-22 --build-id=sha1 --no-entry --export=run --export=trap --export=nothing --export=hand_over \
  shapes.cpp.o other.c.o -o linked.wasm
llvm-objcopy-22 --only-keep-debug linked.wasm lld_dwarf.debug.wasm
# That leaves the build_id out, so it is put in again.
llvm-objcopy-22 --dump-section=build_id=id linked.wasm
llvm-objcopy-22 --add-section=build_id=id lld_dwarf.debug.wasm
printf '\024lld_dwarf.debug.wasm' >url
llvm-objcopy-22 --strip-all --keep-section=build_id linked.wasm stripped.wasm
llvm-objcopy-22 --add-section=external_debug_info=url stripped.wasm lld_dwarf.wasm

if grep -aqF -e "$work" emcc_* wasm_opt_* lld_*; then
  grep -alF -e "$work" emcc_* wasm_opt_* lld_* >&2
  echo "a path of this machine is left in these files" >&2
  exit 1
fi
chmod 644 emcc_* wasm_opt_* lld_*
cp emcc_map.wasm{,.map} wasm_opt_map.wasm{,.map} emcc_dwarf.wasm emcc_dwarf.debug.wasm lld_dwarf.wasm lld_dwarf.debug.wasm "$out"
ls -l "$out"
