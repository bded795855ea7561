#!/usr/bin/env bash
# Theorem: real servers take what is sent to them, and give back the recording, span for span.
#
#   tests/backends.sh [collector] [jaeger] [zipkin]      all three by default
#
# Installs each from its registry into WORK (a new folder by default; what is there already is used again), starts it on
# free local ports, sends to it by each protocol that it takes, reads it back by its own API, and compares. Needs bash,
# Python 3, Go for the first two, Maven and Java for Zipkin. WASMTRACE is the binary: target/debug/wasmtrace by default.
# A line for each thing compared; what cannot be had is left out, and that is said. Fails on any difference.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
corpus=$here/../corpus/real
wasmtrace=$(realpath "${WASMTRACE:-$here/../target/debug/wasmtrace}")
WORK=$(realpath -m "${WORK:-$(mktemp -d)}")
mkdir -p "$WORK/bin" "$WORK/recordings"

JAEGER=v1.76.0
COLLECTOR=v0.140.0 # the one that this Jaeger is made of, so that both are built from the same packages
FILE_EXPORTER=v0.140.1
ZIPKIN=3.5.1

for name in $(compgen -e | grep -E '^(OTEL_|WASMTRACE_|TRACEPARENT$|TRACESTATE$|BAGGAGE$)'); do unset "$name"; done
export NO_PROXY='*' GOTOOLCHAIN=local GOFLAGS=-mod=mod

servers=()
stop() { for pid in ${servers[@]+"${servers[@]}"}; do kill "$pid" 2>/dev/null || true; done; }
trap stop EXIT

different=0
compared=0

left_out() { printf '%-9s left out: %s\n' "$1" "$2"; }

free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[each.getsockname()[1] for each in sockets])
PYTHON
}

# Waits until URL answers, whatever it says, or until the server has ended.
answers() {
    local url=$1 pid=$2
    for _ in $(seq 600); do
        kill -0 "$pid" 2>/dev/null || return 1
        python3 -c 'import sys, urllib.request as r, urllib.error as e
try: r.urlopen(sys.argv[1], timeout=2)
except e.HTTPError: pass' "$url" 2>/dev/null && return 0
        sleep 0.2
    done
    return 1
}

# Records FILE.wtrace, which says under `run` in its resource which one it is, and what of it is expected.
record() {
    local file=$WORK/recordings/$1 code=$2 got=0
    shift 2
    "$wasmtrace" record -q -o "$file.wtrace" --resource "run=$(basename "$file")-$$" "$@" \
        </dev/null >"$file.stdout" 2>"$file.stderr" || got=$?
    if [ "$got" != "$code" ]; then
        echo "$file: exit code $got, not $code" && cat "$file.stderr" && exit 1
    fi
    "$wasmtrace" convert -f otlp-json -o "$file.json" "$file.wtrace"
}

push() {
    local file=$WORK/recordings/$1
    shift
    "$wasmtrace" push -q "$file.wtrace" "$@"
}

compare() {
    compared=$((compared + 1))
    python3 "$here/backends/compare.py" "$@" || different=$((different + 1))
}

# send SERVER WHERE PROTOCOL SINK: every kind of run. Recordings are new each time: a server merges what it has already.
send() {
    local server=$1 where=$2 protocol=$3 sink=$4
    local kind=${protocol##*/} at="$WORK/recordings"
    export OTEL_EXPORTER_OTLP_PROTOCOL=$protocol OTEL_LOGS_EXPORTER=none OTEL_METRICS_EXPORTER=none
    [ "$protocol" != json ] || unset OTEL_EXPORTER_OTLP_PROTOCOL # Zipkin's own
    local id
    id=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
    local inside="00-$id-b7ad6b7169203331-01"

    TRACEPARENT=$inside TRACESTATE=vendor=1 record "$server-$kind-functions" 0 "$corpus/zig_demo.wasm"
    record "$server-$kind-manual" 0 "$corpus/bind_c.wasm"
    record "$server-$kind-trap" 134 "$corpus/c_exit.wasm" div0
    record "$server-$kind-exception" 134 "$corpus/rust_panic.wasm" panic
    for name in functions manual trap exception; do push "$server-$kind-$name" --sink "$sink"; done

    # A run that is sent at once, and written to a file beside that.
    local got=0 direct=$at/$server-$kind-exit
    "$wasmtrace" run -q --require-export --flush-timeout 60s --sink "$sink" --sink "otlp-json:$direct.json" \
        "$corpus/c_exit.wasm" exit 7 </dev/null >"$direct.stdout" || got=$?
    if [ "$got" != 7 ]; then echo "$direct: exit code $got, not 7" && exit 1; fi

    compare "$server" "$where" "$protocol" "$at/$server-$kind"-{functions,manual,trap,exception,exit}.json

    if [ "$server" != zipkin ]; then
        record "$server-$kind-budget" 0 "$corpus/zig_demo.wasm"
        push "$server-$kind-budget" --sink "$sink" --max-spans 200
        compare "$server" "$where" "$protocol" --budget 200 "$at/$server-$kind-budget.json"
    fi
    unset OTEL_LOGS_EXPORTER OTEL_METRICS_EXPORTER
    if [ "$server" = collector ]; then
        record "$server-$kind-signals" 0 "$corpus/bind_c.wasm"
        push "$server-$kind-signals" --sink "$sink"
        compare "$server" "$where" "$protocol" --signals "$at/$server-$kind-signals.json"
    fi
    unset OTEL_EXPORTER_OTLP_PROTOCOL
}

# One Go module for both: built from the same packages, most of the work is done once.
go_build() {
    local name=$1 package=$2 log=$WORK/$1.build.log
    [ ! -x "$WORK/bin/$name" ] || return 0
    command -v go >"$log" || { echo "no Go here" >"$log" && return 1; }
    mkdir -p "$WORK/go"
    cp "$here/backends/collector/main.go" "$WORK/go/main.go"
    (
        cd "$WORK/go"
        [ -e go.mod ] || go mod init servers
        go get "github.com/jaegertracing/jaeger/cmd/all-in-one@$JAEGER" \
            "go.opentelemetry.io/collector/otelcol@$COLLECTOR" \
            "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter@$FILE_EXPORTER" &&
            nice -n 10 go build -ldflags '-s -w' -o "$WORK/bin/$name" "$package"
    ) >"$log" 2>&1
}

jaeger() {
    go_build jaeger github.com/jaegertracing/jaeger/cmd/all-in-one ||
        { left_out jaeger "$(tail -n 1 "$WORK/jaeger.build.log")"; return; }
    local http grpc query p
    read -r http grpc query p <<<"$(free_ports 7)"
    read -ra p <<<"$p"
    # It has a tracer of its own, which is not to speak to whoever listens here.
    OTEL_TRACES_SAMPLER=always_off "$WORK/bin/jaeger" \
        --collector.otlp.http.host-port="127.0.0.1:$http" --collector.otlp.grpc.host-port="127.0.0.1:$grpc" \
        --query.http-server.host-port="127.0.0.1:$query" --query.grpc-server.host-port="127.0.0.1:${p[0]}" \
        --admin.http.host-port="127.0.0.1:${p[1]}" --collector.http-server.host-port="127.0.0.1:${p[2]}" \
        --collector.grpc-server.host-port="127.0.0.1:${p[3]}" \
        >"$WORK/jaeger.log" 2>&1 &
    servers+=($!)
    answers "http://127.0.0.1:$query/api/services" $! && answers "http://127.0.0.1:$http/" $! ||
        { left_out jaeger "it does not start: $(tail -n 1 "$WORK/jaeger.log")"; return; }
    send jaeger "http://127.0.0.1:$query" http/protobuf "otlp:http://127.0.0.1:$http"
    send jaeger "http://127.0.0.1:$query" http/json "otlp:http://127.0.0.1:$http"
    send jaeger "http://127.0.0.1:$query" grpc "otlp:http://127.0.0.1:$grpc"
}

collector() {
    go_build collector . || { left_out collector "$(tail -n 1 "$WORK/collector.build.log")"; return; }
    local http grpc file=$WORK/collector.received.json
    read -r http grpc <<<"$(free_ports 2)"
    rm -f "$file"
    cat >"$WORK/collector.yaml" <<YAML
receivers:
  otlp:
    protocols:
      http: { endpoint: "127.0.0.1:$http" }
      grpc: { endpoint: "127.0.0.1:$grpc" }
exporters:
  file: { path: "$file", flush_interval: 200ms }
service:
  telemetry: { metrics: { level: none } }
  pipelines:
    traces: { receivers: [otlp], exporters: [file] }
    logs: { receivers: [otlp], exporters: [file] }
    metrics: { receivers: [otlp], exporters: [file] }
YAML
    "$WORK/bin/collector" --config "$WORK/collector.yaml" >"$WORK/collector.log" 2>&1 &
    servers+=($!)
    answers "http://127.0.0.1:$http/" $! ||
        { left_out collector "it does not start: $(tail -n 1 "$WORK/collector.log")"; return; }
    send collector "$file" http/protobuf "otlp:http://127.0.0.1:$http"
    send collector "$file" http/json "otlp:http://127.0.0.1:$http"
    send collector "$file" grpc "otlp:http://127.0.0.1:$grpc"
}

zipkin() {
    local jar=$WORK/bin/zipkin-server-$ZIPKIN-exec.jar log=$WORK/zipkin.build.log port
    command -v java >/dev/null || { left_out zipkin "no Java here"; return; }
    if [ ! -e "$jar" ]; then
        command -v mvn >/dev/null || { left_out zipkin "no Maven here"; return; }
        mvn -q -B dependency:copy -Dartifact="io.zipkin:zipkin-server:$ZIPKIN:jar:exec" -DoutputDirectory="$WORK/bin" \
            >"$log" 2>&1 || { left_out zipkin "$(grep -m 1 ERROR "$log")"; return; }
    fi
    port=$(free_ports 1)
    QUERY_PORT=$port STORAGE_TYPE=mem java -Xmx512m -jar "$jar" >"$WORK/zipkin.log" 2>&1 &
    servers+=($!)
    answers "http://127.0.0.1:$port/health" $! ||
        { left_out zipkin "it does not start: $(tail -n 1 "$WORK/zipkin.log")"; return; }
    send zipkin "http://127.0.0.1:$port" json "zipkin:http://127.0.0.1:$port"
}

[ $# -gt 0 ] || set -- collector jaeger zipkin
for server in "$@"; do
    case $server in
    collector | jaeger | zipkin) $server ;;
    *) echo "no such server: $server" && exit 2 ;;
    esac
done

echo "$((compared - different)) comparisons without a difference, $different with one"
[ "$different" = 0 ] && [ "$compared" -gt 0 ]
