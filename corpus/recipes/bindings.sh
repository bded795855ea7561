#!/bin/bash
# Builds the modules that call the manual API themselves, ../real/bind_{c,cpp,rust,zig}.wasm, from ../src/bindings and
# the guest bindings of ../../bindings. Debian 12 (amd64) with python3 and pip; about 5 minutes, nearly all for Rust.
# usage: bindings.sh [c|cpp|rust|zig...]   without names: all; NO_INSTALL=1 installs nothing with apt-get
#
# All have function names and no DWARF. Rust is Debian's rustc-web with its own std, unpacked into a temporary folder
# as in rust.sh; security updates replace its version: set RUST_WEB and RUST_MINOR to build with a later one.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

ZIG=0.17.1
LLVM='1:22.1.8-1~deb12u1'
WASI_LIBC='0.0~git20220510.9886d3d-2'
RUST_WEB=${RUST_WEB:-1.96.0+dfsg1-1~deb12u2}
RUST_MINOR=${RUST_MINOR:-1.96}

corpus=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bindings=$(cd "$corpus/../bindings" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

install() { [ -n "${NO_INSTALL:-}" ] || apt-get -o DPkg::Lock::Timeout=600 -qq install -y --no-install-recommends "$@"; }

# finish NAME: the module in the work folder becomes bind_NAME.wasm
finish() {
  if grep -aqF -e "$work" -e "$HOME/" "$work/$1.wasm"; then
    echo "$1: a path of this machine is left in the module" >&2
    exit 1
  fi
  chmod 644 "$work/$1.wasm"
  mv "$work/$1.wasm" "$corpus/real/bind_$1.wasm"
}

# clang_wasi COMPILER FLAG…
clang_wasi() { "$1" --target=wasm32-wasi -Wno-deprecated --no-wasm-opt -O1 -Wl,--strip-debug "${@:2}"; }

build_c() {
  install "clang-22=$LLVM" "lld-22=$LLVM" "libclang-rt-22-dev-wasm32=$LLVM" "wasi-libc=$WASI_LIBC"
  clang_wasi clang-22 -std=c99 -I"$bindings/c" "$corpus/src/bindings/example.c" -o "$work/c.wasm"
}

build_cpp() {
  install "clang-22=$LLVM" "lld-22=$LLVM" "libclang-rt-22-dev-wasm32=$LLVM" "wasi-libc=$WASI_LIBC" \
    "libc++-22-dev-wasm32=$LLVM" "libc++abi-22-dev-wasm32=$LLVM"
  clang_wasi clang++-22 -std=c++17 -fno-exceptions -fno-rtti -I"$bindings/c" -I"$bindings/cpp" \
    "$corpus/src/bindings/example.cpp" -o "$work/cpp.wasm"
}

build_zig() {
  install "llvm-22=$LLVM"
  python3 -m pip install -q --root-user-action=ignore --no-deps --target "$work/py" "ziglang==$ZIG"
  mkdir "$work/zig"
  cp "$corpus/src/bindings/example.zig" "$bindings/zig/wasmtrace.zig" "$work/zig/"
  (
    cd "$work/zig"
    ZIG_GLOBAL_CACHE_DIR=$work/zig/cache ZIG_LOCAL_CACHE_DIR=$work/zig/cache PYTHONPATH=$work/py \
      python3 -m ziglang build-exe --name zig -target wasm32-wasi -O ReleaseSmall -fno-strip -j1 \
      --dep wasmtrace -Mroot=example.zig -Mwasmtrace=wasmtrace.zig -femit-bin=zig.wasm
  )
  llvm-objcopy-22 --strip-debug "$work/zig/zig.wasm" "$work/zig.wasm"
}

build_rust() {
  # the shared libraries of the unpacked tools, and a linker for the macro crate
  install gcc libc6-dev libcurl4 libgit2-1.5 libssh2-1 libsqlite3-0 libedit2 libffi8 libxml2 libz3-4
  mkdir "$work/debs" "$work/root"
  (
    cd "$work/debs"
    apt-get -qq -o APT::Sandbox::User=root download \
      "rustc-web=$RUST_WEB" "cargo-web=$RUST_WEB" "rust-web-src=$RUST_WEB" \
      "libstd-rust-web-$RUST_MINOR=$RUST_WEB" "libstd-rust-web-dev=$RUST_WEB" \
      "lld-22=$LLVM" "libllvm22=$LLVM" "wasi-libc=$WASI_LIBC"
  )
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
  rm -r "$work/debs"
  root=$work/root/usr
  libc=$root/lib/wasm32-wasi
  source=$root/lib/rustlib/src/rust

  # One workspace: cargo hashes the paths of packages outside of it into symbol names.
  mkdir -p "$work/till/src"
  cp "$corpus/src/bindings/example.rs" "$work/till/src/main.rs"
  cp -r "$bindings/rust" "$work/till/guest"
  rm -f "$work/till/guest/Cargo.lock"
  sed -i '/^\[workspace\]/d' "$work/till/guest/Cargo.toml"
  cat >"$work/till/Cargo.toml" <<'TOML'
[package]
name = "till"
version = "0.1.0"
edition = "2021"

[dependencies]
wasmtrace-guest = { path = "guest" }

[profile.release]
opt-level = "s"
lto = true
codegen-units = 1
panic = "abort"

[workspace]
TOML

  # rustc behind a wrapper: cargo hashes the flags that it knows of, and the folders differ from run to run.
  {
    echo '#!/bin/bash'
    printf 'export LD_LIBRARY_PATH=%q\n' "$root/lib/x86_64-linux-gnu"
    echo 'extra=()'
    echo 'case " $* " in *" --target wasm32-wasip1 "*)'
    printf '  extra=(-C linker=%q -L native=%q -C link-arg=%q' "$root/bin/wasm-ld-22" "$libc" "$libc/crt1-command.o"
    for dir in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do printf ' --remap-path-prefix=%q=registry' "${dir%/}"; done
    printf ' --remap-path-prefix=%q=rust --remap-path-prefix=%q=rust' "$source" "$(readlink -f "$source")"
    printf ' --remap-path-prefix=%q=.)\n' "$work/till"
    echo 'esac'
    printf 'exec %q "$@" "${extra[@]}"\n' "$root/bin/rustc"
  } >"$work/rustc"
  chmod +x "$work/rustc"
  (
    cd "$work/till"
    LD_LIBRARY_PATH=$root/lib/x86_64-linux-gnu RUSTC_BOOTSTRAP=1 RUSTC=$work/rustc \
      CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C symbol-mangling-version=v0 -C link-self-contained=no -C target-feature=-crt-static" \
      "$root/bin/cargo" rustc --quiet --release --jobs "${JOBS:-2}" --target wasm32-wasip1 \
      -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size -- -C debuginfo=0 -C strip=debuginfo
  )
  mv "$work/till/target/wasm32-wasip1/release/till.wasm" "$work/rust.wasm"
}

[ $# -gt 0 ] || set -- c cpp zig rust
[ -n "${NO_INSTALL:-}" ] || apt-get -o DPkg::Lock::Timeout=600 -qq update
mkdir -p "$corpus/real"
for name in "$@"; do
  "build_$name"
  finish "$name"
done
ls -l "$corpus"/real/bind_*.wasm
