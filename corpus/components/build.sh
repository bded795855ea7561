#!/bin/bash
# Makes the components beside it again, from src. usage: build.sh [FOLDER], which is this one by default. About 10 minutes,
# most of them for wac: a wac on the PATH is taken as it is.
# Needs rustup with the toolchain below, python3 with pip, and npm; everything else goes into a temporary folder.
set -euo pipefail
export LC_ALL=C RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-1.95.0}
JCO=1.35.0 ZIG=0.17.1 WAC=0.12.0

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "${1:-$here}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$work/npm/node_modules/.bin:$work/wac/bin:$PATH
export ZIG_GLOBAL_CACHE_DIR=$work/zig ZIG_LOCAL_CACHE_DIR=$work/zig

install_tools() {
  rustup -q target add wasm32-wasip2
  python3 -m pip install -q --root-user-action=ignore --no-deps --target "$work/py" "ziglang==$ZIG"
  mkdir "$work/npm"
  npm install --silent --no-save --no-audit --no-fund --prefix "$work/npm" "@bytecodealliance/jco@$JCO"
  command -v wac >/dev/null ||
    cargo install --quiet --jobs "${JOBS:-2}" --root "$work/wac" --version "$WAC" --no-default-features --features wat wac-cli
}

# The debug sections of the standard library get another name of the same length before the link, and leave the linked
# component: they are 2.4 MB.
unname_library_dwarf() {
  local rustlib=$work/sysroot/lib/rustlib from
  from=$(rustc --print sysroot)/lib/rustlib
  mkdir -p "$rustlib"
  cp -r "$from/wasm32-wasip2" "$rustlib/"
  ln -s "$from/$(rustc -vV | sed -n 's/^host: //p')" "$rustlib/"
  find "$rustlib/wasm32-wasip2" -type f \( -name '*.rlib' -o -name '*.[ao]' \) -exec sed -i 's/\.debug_/.xebug_/g' {} +
}

# one_file NAME FLAG...
one_file() {
  local name=$1
  shift
  rustc --target wasm32-wasip2 --edition 2024 -C opt-level=s -C panic=abort -C codegen-units=1 "$@" rust_p2.rs -o "$name.wasm"
}

keep() {
  if grep -aqF -e "$work" -e "${CARGO_HOME:-$HOME/.cargo}" -e "$HOME/" "$1"; then
    echo "$1: a path of this machine is left in it" >&2
    exit 1
  fi
  install -m 644 "$1" "$out/${2:-$1}"
}

install_tools
mkdir "$work/build"
cd "$work/build"
cp -r "$here"/src/* .

unname_library_dwarf
one_file rust_p2 -C debuginfo=line-tables-only --sysroot "$work/sysroot" --remap-path-prefix "$PWD=."
python3 drop_sections.py .xebug_ rust_p2.wasm kept.wasm
keep kept.wasm rust_p2.wasm
one_file rust_p2_small -C strip=debuginfo --remap-path-prefix "$PWD=."
keep rust_p2_small.wasm

# Without -g the names would be missing too.
PYTHONPATH=$work/py python3 -m ziglang cc -target wasm32-wasi -Os -fno-sanitize=undefined -g c_p2.c -o c_p2.core.wasm
python3 drop_sections.py .debug_ c_p2.core.wasm c_p2.core.wasm
jco new c_p2.core.wasm --wasi-command -o c_p2.wasm >/dev/null
keep c_p2.wasm

# A rustc that is a script: cargo hashes the flags that it knows of into symbol names, and the folders differ from run to run.
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
cat >rustc.sh <<WRAPPER
#!/bin/bash
extra=(--remap-path-prefix=$PWD/words=.)
for index in $registry/*/; do extra+=("--remap-path-prefix=\${index%/}=registry"); done
exec rustc "\$@" "\${extra[@]}"
WRAPPER
chmod +x rustc.sh

# composed NAME FLAG...
composed() {
  local name=$1
  shift
  (cd words && RUSTC=$work/build/rustc.sh cargo build --quiet --locked --release --jobs "${JOBS:-2}" --target wasm32-wasip2 "$@")
  local built=words/target/wasm32-wasip2/release
  wac plug "$built/caller.wasm" --plug "$built/callee.wasm" -o "$name.wasm"
  keep "$name.wasm"
}
composed composed
composed composed_trap --features trapping
