#!/bin/bash
# Rebuilds the modules of corpus/dwarf that rustc writes: the same small program with full debug information, as a debug
# profile and as releases have it, DWARF 4 and 5. Debian 12 (amd64), about a minute.
#
# The toolchain is Debian's rustc-web, unpacked into a temporary folder as in rust.sh; of the library `core` alone is built.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

RUST_WEB=${RUST_WEB:-1.96.0+dfsg1-1~deb12u2}
RUST_MINOR=${RUST_MINOR:-1.96}
LLVM_WEB=${LLVM_WEB:-1:22.1.8-1~deb12u1}

corpus=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root/usr
mkdir -p "$work/debs" "$work/root" "$work/crate" "$corpus/dwarf"
(
  cd "$work/debs"
  apt-get -qq -o APT::Sandbox::User=root download \
    "rustc-web=$RUST_WEB" "cargo-web=$RUST_WEB" "rust-web-src=$RUST_WEB" \
    "libstd-rust-web-$RUST_MINOR=$RUST_WEB" "libstd-rust-web-dev=$RUST_WEB" "lld-22=$LLVM_WEB" "libllvm22=$LLVM_WEB" \
    libgit2-1.5 libssh2-1 libcurl4 libmbedcrypto7 libmbedtls14 libmbedx509-1 libhttp-parser2.9
)
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
export LD_LIBRARY_PATH=$root/lib/x86_64-linux-gnu

src=$root/lib/rustlib/src/rust
{
  echo '#!/bin/bash'
  echo 'extra=()'
  echo 'case " $* " in *" --target wasm32-unknown-unknown "*)'
  printf '  extra=(-C linker=%q --remap-path-prefix=%q=rust --remap-path-prefix=%q=rust --remap-path-prefix=%q=.)\n' \
    "$root/bin/wasm-ld-22" "$src" "$(readlink -f "$src")" "$work/crate"
  echo 'esac'
  printf 'exec %q "$@" "${extra[@]}"\n' "$root/bin/rustc"
} >"$work/rustc"
chmod +x "$work/rustc"

cd "$work/crate"
cp "$corpus/src/dwarf/shapes.rs" .
cat >Cargo.toml <<'TOML'
[package]
name = "shapes"
version = "0.1.0"
edition = "2021"

[[bin]]
name = "shapes"
path = "shapes.rs"

[profile.dev]
panic = "abort"

[profile.release]
panic = "abort"
debug = 2

# `core` by itself would be two megabytes; what of it is compiled with the program is told of in full.
[profile.dev.package."*"]
debug = false

[profile.release.package."*"]
debug = false
TOML

# one NAME PROFILE FLAG...
one() {
  local name=$1 profile=$2 folder=$2
  shift 2
  [ "$profile" = dev ] && folder=debug
  RUSTC_BOOTSTRAP=1 RUSTC=$work/rustc "$root/bin/cargo" rustc --quiet --jobs "${JOBS:-2}" --profile "$profile" \
    --target wasm32-unknown-unknown -Zbuild-std=core --bin shapes -- \
    -C link-arg=--no-entry -C link-arg=--gc-sections "$@"
  cp "target/wasm32-unknown-unknown/$folder/shapes.wasm" "$work/$name.wasm"
  if grep -aqF -e "$work" -e "${CARGO_HOME:-$HOME/.cargo}" "$work/$name.wasm"; then
    echo "$name: a path of this machine is left in the module" >&2
    exit 1
  fi
  mv "$work/$name.wasm" "$corpus/dwarf/$name.wasm"
  chmod 644 "$corpus/dwarf/$name.wasm"
}

one rust_debug dev
one rust_debug_v5 dev -C dwarf-version=5
one rust_release release
one rust_release_v5 release -C dwarf-version=5
ls -l "$corpus"/dwarf/rust_*.wasm
