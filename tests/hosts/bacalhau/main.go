// Stock Bacalhau: its executor for WebAssembly, as a compute node has it, runs a module under a span of the host's. The node's own
// settings say where spans go (OTEL_EXPORTER_OTLP_ENDPOINT); here that is a receiver in this process, and what it received goes out
// as JSON.
//
//	bacalhau-host MODULE [ARG...]
//	bacalhau-host --receive ADDRESS
//
// The second is the receiver alone, for a whole node (node.sh): one line of JSON for each span.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bacalhau-project/bacalhau/pkg/compute"
	"github.com/bacalhau-project/bacalhau/pkg/executor"
	"github.com/bacalhau-project/bacalhau/pkg/executor/wasm"
	wasmmodels "github.com/bacalhau-project/bacalhau/pkg/executor/wasm/models"
	"github.com/bacalhau-project/bacalhau/pkg/models"
	"github.com/bacalhau-project/bacalhau/pkg/storage"
	"github.com/bacalhau-project/bacalhau/pkg/telemetry"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A span as it was received.
type span struct {
	Service string `json:"service"`
	Trace   string `json:"trace"`
	ID      string `json:"id"`
	Parent  string `json:"parent"`
	Name    string `json:"name"`
	Nanos   uint64 `json:"nanos"`
}

// What a run came to.
type outcome struct {
	ExitCode int    `json:"exit_code"`
	Error    string `json:"error"`
	Stdout   string `json:"stdout"`
	// The trace that the host's own span is in.
	Trace string `json:"trace"`
	Spans []span `json:"spans"`
}

// The endpoint of a collector.
type receiver struct {
	mutex sync.Mutex
	spans []span
	// Where each span is printed as it comes, if anywhere.
	printed *json.Encoder
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var export collector.ExportTraceServiceRequest
	if err == nil && request.URL.Path == "/v1/traces" {
		err = proto.Unmarshal(body, &export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, resource := range export.ResourceSpans {
		service := ""
		for _, attribute := range resource.GetResource().GetAttributes() {
			if attribute.Key == "service.name" {
				service = attribute.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				got := span{
					Service: service,
					Trace:   hex.EncodeToString(s.TraceId),
					ID:      hex.EncodeToString(s.SpanId),
					Parent:  hex.EncodeToString(s.ParentSpanId),
					Name:    s.Name,
					Nanos:   s.EndTimeUnixNano - s.StartTimeUnixNano,
				}
				if r.printed != nil {
					_ = r.printed.Encode(got)
				}
				r.spans = append(r.spans, got)
			}
		}
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bacalhau-host MODULE [ARG...] | --receive ADDRESS")
		os.Exit(2)
	}
	if os.Args[1] == "--receive" && len(os.Args) == 3 {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[2], &receiver{printed: json.NewEncoder(os.Stdout)}))
		os.Exit(1)
	}
	result, err := run(context.Background(), os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, path string, args []string) (*outcome, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	received := &receiver{spans: []span{}}
	go func() { _ = http.Serve(listener, received) }()
	os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	os.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	telemetry.SetupFromEnvs()

	node, err := wasm.NewExecutor()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "execution")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if err := os.MkdirAll(compute.ExecutionResultsDir(folder), 0o755); err != nil {
		return nil, err
	}
	module, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	const target = "app.wasm"
	engine := wasmmodels.NewWasmEngineBuilder(target).WithEntrypoint("_start").WithParameters(args...).MustBuild()
	ctx, host := telemetry.NewRootSpan(ctx, telemetry.GetTracer(), "host")
	done, err := node.Run(ctx, &executor.RunCommandRequest{
		JobID:        "job",
		ExecutionID:  "execution",
		Resources:    &models.Resources{Memory: 1 << 30},
		Network:      &models.NetworkConfig{Type: models.NetworkNone},
		ExecutionDir: folder,
		EngineParams: engine,
		OutputLimits: executor.OutputLimits{
			MaxStdoutFileLength: 1 << 20, MaxStdoutReturnLength: 1 << 20,
			MaxStderrFileLength: 1 << 20, MaxStderrReturnLength: 1 << 20,
		},
		Inputs: []storage.PreparedStorage{{
			Volume: storage.StorageVolume{Type: storage.StorageVolumeConnectorBind, Source: module, Target: target},
		}},
	})
	host.End()
	if err != nil {
		return nil, err
	}
	// The SDK's adapter sends each second, and does not say when it has nothing left to send.
	time.Sleep(2 * time.Second)
	_ = telemetry.Cleanup()
	received.mutex.Lock()
	defer received.mutex.Unlock()
	return &outcome{
		ExitCode: done.ExitCode,
		Error:    done.ErrorMsg,
		Stdout:   done.STDOUT,
		Trace:    host.SpanContext().TraceID().String(),
		Spans:    received.spans,
	}, nil
}
