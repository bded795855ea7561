#!/usr/bin/env bash
# A whole node of Bacalhau, end to end: builds it, starts it with its traces going to a receiver here, submits a hooked module as a job,
# and shows the job's trace as a tree. Wants Go, Python, and some minutes the first time.
#
#   tests/hosts/bacalhau/node.sh MODULE [ARG...]       WASMTRACE=path/to/wasmtrace, else the one in PATH
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
module=$(realpath "$1"); shift
here=$(cd "$(dirname "$0")" && pwd)
wasmtrace=$(command -v "${WASMTRACE:-wasmtrace}") || { echo "there is no wasmtrace: say where with WASMTRACE"; exit 2; }
wasmtrace=$(realpath "$wasmtrace")
work=${WORK:-$(mktemp -d)}
mkdir -p "$work/node" && cd "$work"
export GOFLAGS=-mod=mod

if ! [ -x bacalhau ]; then
  # As a dependency, since its own replacements forbid `go install`; with a client of Docker that fits its other dependencies.
  cat > node/go.mod <<'MOD'
module node

go 1.25.7

require (
	github.com/bacalhau-project/bacalhau v1.9.0
	github.com/docker/docker v28.5.2+incompatible
)

replace (
	google.golang.org/genproto => google.golang.org/genproto v0.0.0-20240701130421-f6361c86f094
	google.golang.org/grpc => google.golang.org/grpc v1.64.0
)
MOD
  (cd node && go build -o ../bacalhau github.com/bacalhau-project/bacalhau)
  (cd "$here" && go build -o "$work/receiver" .)
fi

children=()
trap 'kill "${children[@]}" 2>/dev/null || true' EXIT
./receiver --receive 127.0.0.1:4318 > spans.jsonl & children+=($!)
export BACALHAU_DIR=$work/home
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf \
  ./bacalhau serve --orchestrator --compute -c WebUI.Enabled=false > serve.log 2>&1 & children+=($!)
for _ in $(seq 60); do grep -q "node running" serve.log && break; sleep 1; done
grep -q "node running" serve.log || { tail -5 serve.log; exit 1; }
export BACALHAU_DIR=$work/client
./bacalhau profile save local --endpoint http://127.0.0.1:1234 --select > /dev/null 2>&1 ||
  { ./bacalhau profile save local --endpoint http://127.0.0.1:1234; ./bacalhau profile select local; } > /dev/null 2>&1

"$wasmtrace" instrument --preset hosted "$module" -o job.wasm
# The node's SDK loses a trace now and then: what it has to send and the word to stop come at once, and it takes either first.
for attempt in 1 2 3 4 5; do
  ./bacalhau wasm run job.wasm "$@" > job.log 2>&1 || { tail -3 job.log; exit 1; }
  sleep 6 # the node sends its own spans every five seconds
  trace=$(sed -n 's/.*"trace":"\([0-9a-f]*\)".*"name":"_start.*/\1/p' spans.jsonl | tail -1)
  [ -z "$trace" ] || break
  echo "the node has lost the trace of attempt $attempt"
done
[ -n "$trace" ] || exit 1
python3 - "$trace" <<'PY'
import json, sys
spans = [span for span in map(json.loads, open("spans.jsonl")) if span["trace"] == sys.argv[1]]
known = {span["id"]: span for span in spans}
def depth(span):
    return 1 + depth(known[span["parent"]]) if span["parent"] in known else 0
print("trace", sys.argv[1])
for span in spans:
    print(f'{span["nanos"] / 1000:9.1f} µs  ' + "  " * depth(span) + span["name"])
PY
