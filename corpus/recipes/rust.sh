#!/bin/bash
# Builds the Rust modules of the corpus into ../real: rust_serde, rust_lines,
# rust_panic and rust_calls. Debian 12 (amd64), about 5 minutes.
#
# The toolchain is Debian's rustc-web with its own std built for
# wasm32-wasip1; its packages are unpacked into a temporary folder, not
# installed. As root the script also refreshes apt's lists and installs the
# shared libraries that these tools load, and a C compiler for build scripts;
# otherwise they must be there. Security updates replace the version of
# rustc-web: set RUST_WEB and RUST_MINOR to build with a later one.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

RUST_WEB=${RUST_WEB:-1.96.0+dfsg1-1~deb12u2}
RUST_MINOR=${RUST_MINOR:-1.96}
LLVM_WEB=${LLVM_WEB:-1:22.1.8-1~deb12u1}
WASI_LIBC=${WASI_LIBC:-0.0~git20220510.9886d3d-2}

corpus=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root/usr

install_tools() {
  if [ "$(id -u)" = 0 ]; then
    apt-get -o DPkg::Lock::Timeout=600 -qq update
    apt-get -o DPkg::Lock::Timeout=600 -qq install -y --no-install-recommends \
      gcc libc6-dev python3 libcurl4 libgit2-1.5 libssh2-1 libsqlite3-0 \
      libedit2 libffi8 libxml2 libz3-4 >/dev/null
  fi
  mkdir "$work/debs" "$work/root"
  (
    cd "$work/debs"
    apt-get -qq -o APT::Sandbox::User=root download \
      "rustc-web=$RUST_WEB" "cargo-web=$RUST_WEB" "rust-web-src=$RUST_WEB" \
      "libstd-rust-web-$RUST_MINOR=$RUST_WEB" "libstd-rust-web-dev=$RUST_WEB" \
      "lld-22=$LLVM_WEB" "libllvm22=$LLVM_WEB" "wasi-libc=$WASI_LIBC"
  )
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
  rm -r "$work/debs"
}

# The C library carries full DWARF 4, which would hide what the Rust units
# have. Its debug sections get another name of the same length before the
# link (so that the objects' section numbers hold) and leave the linked module.
unname_libc_dwarf() {
  cp -r "$root/lib/wasm32-wasi" "$work/libc"
  sed -i 's/\.debug_/.xebug_/g' "$work/libc/libc.a" "$work/libc/crt1-command.o"
}

drop_libc_dwarf() {
  python3 - "$1" "$2" <<'PY'
import sys

def leb(b, p):
    value = shift = 0
    while True:
        value |= (b[p] & 127) << shift
        shift += 7
        p += 1
        if b[p - 1] < 128:
            return value, p

b = open(sys.argv[1], 'rb').read()
out, p = [b[:8]], 8
while p < len(b):
    size, body = leb(b, p + 1)
    end = body + size
    length, name = leb(b, body)
    if b[p] != 0 or not b[name:name + length].startswith(b'.xebug_'):
        out.append(b[p:end])
    p = end
open(sys.argv[2], 'wb').write(b''.join(out))
PY
}

# rustc behind a wrapper: cargo hashes the flags that it knows of into symbol
# names, and the folders differ from run to run.
write_wrapper() {
  src=$root/lib/rustlib/src/rust
  registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
  {
    echo '#!/bin/bash'
    printf 'export LD_LIBRARY_PATH=%q\n' "$root/lib/x86_64-linux-gnu"
    echo 'extra=()'
    echo 'case " $* " in *" --target wasm32-wasip1 "*)'
    printf '  extra=(-C linker=%q -L native=%q' "$root/bin/wasm-ld-22" "$work/libc"
    printf ' -C link-arg=%q' "$work/libc/crt1-command.o"
    for dir in "$registry"/*/; do
      printf ' --remap-path-prefix=%q=registry' "${dir%/}"
    done
    printf ' --remap-path-prefix=%q=rust' "$src" "$(readlink -f "$src")"
    printf ' --remap-path-prefix=%q=.)\n' "$work/crate"
    echo 'esac'
    printf 'exec %q "$@" "${extra[@]}"\n' "$root/bin/rustc"
  } >"$work/rustc"
  chmod +x "$work/rustc"
}

cargo() {
  LD_LIBRARY_PATH=$root/lib/x86_64-linux-gnu RUSTC_BOOTSTRAP=1 RUSTC=$work/rustc \
    CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-Zunstable-options -C symbol-mangling-version=${mangling:-v0} -C link-self-contained=no -C target-feature=-crt-static" \
    "$root/bin/cargo" "$@"
}

# build MANGLING NAME RUSTC_FLAG…
build() {
  local mangling=$1 name=$2
  shift 2
  echo "$name ($mangling)"
  cargo rustc --quiet --locked --release --jobs "${JOBS:-2}" --target wasm32-wasip1 \
    -Zbuild-std=std,panic_abort --bin "$name" -- "$@"
  drop_libc_dwarf "target/wasm32-wasip1/release/$name.wasm" "$work/$name.wasm"
  if grep -aqF -e "$work" -e "${CARGO_HOME:-$HOME/.cargo}" "$work/$name.wasm"; then
    echo "$name: a path of this machine is left in the module" >&2
    exit 1
  fi
  mv "$work/$name.wasm" "$corpus/real/$name.wasm"
  chmod 644 "$corpus/real/$name.wasm"
}

install_tools
unname_libc_dwarf
mkdir -p "$work/crate/src" "$corpus/real"
cp "$corpus"/src/{serde_vm,words,unwind,calls}.rs "$work/crate/src/"
cp "$corpus/src/rust.Cargo.toml" "$work/crate/Cargo.toml"
cp "$corpus/src/rust.Cargo.lock" "$work/crate/Cargo.lock"
cd "$work/crate"
printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%q\nexec %q "$@"\n' \
  "$root/lib/x86_64-linux-gnu" "$root/bin/rustc" >"$work/rustc"
chmod +x "$work/rustc"
cargo fetch --quiet --locked
write_wrapper

build v0 rust_serde -C debuginfo=2
build v0 rust_calls -C debuginfo=2 -C dwarf-version=5
build legacy rust_lines -C debuginfo=line-tables-only
build legacy rust_panic -C debuginfo=0 -C strip=debuginfo
ls -l "$corpus"/real/rust_{serde,calls,lines,panic}.wasm
