#!/usr/bin/env bash
# Runs components that record themselves on hosts without wasmtrace: wasmtime's library for Python, and jco on Node.js.
# usage: stock.sh [WASMTRACE]      a binary; without it, target/release/wasmtrace
# Compares output, exit code and the number of calls of each function with a run in wasmtrace itself.
# Needs python3 with venv, node and npm, and the registries of both. Installs into a temporary folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
wasmtrace=$(realpath "${1:-$root/target/release/wasmtrace}")
components=$root/corpus/components
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv python
python/bin/pip install -q "wasmtime==${WASMTIME_PYTHON:-50.0.1}"
npm install -s --no-fund --no-audit "@bytecodealliance/jco@${JCO:-1.35.0}" > /dev/null
cat > run.py << 'PYTHON'
import sys
from wasmtime import Engine, ExitTrap, Store, WasiConfig, WasmtimeError
from wasmtime import component as c
engine = Engine()
store, wasi, linker = Store(engine), WasiConfig(), c.Linker(engine)
wasi.argv = ['program'] + sys.argv[2:]
wasi.inherit_stdout()
wasi.inherit_stderr()
store.set_wasi(wasi)
linker.add_wasip2()
name = next(n for n in (f'wasi:cli/run@0.2.{i}' for i in range(100)) if n.encode() in open(sys.argv[1], 'rb').read())
try:
    instance = linker.instantiate(store, c.Component.from_file(engine, sys.argv[1]))
    run = instance.get_export_index(store, 'run', instance.get_export_index(store, name))
    sys.exit(0 if instance.get_func(store, run)(store).tag == 'ok' else 1)
except ExitTrap as exit:
    sys.exit(exit.code)
except WasmtimeError:
    sys.exit(134)
PYTHON

# The calls of each function in a recording, one a line.
calls() { "$wasmtrace" report --json "$1" | python3 -c '
import json, sys
for row in sorted((f["name"], f["calls"]) for f in json.load(sys.stdin)["functions"]): print(*row)'; }
failed=0
check() { # host component arguments...
  local host=$1 component=$2 code=0 expected=0
  shift 2
  "$wasmtrace" instrument --hooks wasi --verify "$components/$component.wasm" -o "$component.wasm"
  case $host in
    python) python/bin/python run.py "$component.wasm" "$@" > out 2> log || code=$? ;;
    jco) node_modules/.bin/jco run "$component.wasm" "$@" > out 2> log || code=$? ;;
  esac
  "$wasmtrace" -q extract "$component.wasm" log -o run.wtrace
  "$wasmtrace" record -q --argv0 program -o own.wtrace "$components/$component.wasm" "$@" > own.out 2> /dev/null || expected=$?
  # jco has 1 for each failure.
  [ "$host" = jco ] && [ "$expected" -ne 0 ] && expected=1
  calls run.wtrace > run.calls
  calls own.wtrace > own.calls
  local total
  total=$(awk '{ sum += $NF } END { print sum }' run.calls)
  # The allocator does other things with other arguments and variables.
  if cmp -s out own.out && [ "$code" = "$expected" ] && diff <(grep -v alloc run.calls) <(grep -v alloc own.calls) > difference
  then echo "same: $host, $component $*: exit code $code, $total calls"
  else echo "DIFFERENT: $host, $component $*: exit code $code"; head -20 difference; failed=1
  fi
}
for args in 'pear apple fig' 'work 300' 'exit' 'panic'; do check python rust_p2 $args; done
for args in 'pear apple fig' 'work 300' 'exit'; do check python c_p2 $args; done
check python composed pear apple fig work=20
check python composed_trap pear trap fig
check jco rust_p2 pear apple fig
check jco rust_p2 work 300
exit $failed
