// A host as the first users have it: wazero, with the Observe SDK for Go and its OpenTelemetry adapter, as the SDK's documentation
// has it. What the adapter exports comes to a receiver in this process, and goes out as JSON: one line a run.
//
//	host MODULE [ARG...]
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	observe "github.com/dylibso/observe-sdk/go"
	"github.com/dylibso/observe-sdk/go/adapter/opentelemetry"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A span as it was received.
type span struct {
	Trace  string `json:"trace"`
	ID     string `json:"id"`
	Parent string `json:"parent"`
	Name   string `json:"name"`
	Nanos  uint64 `json:"nanos"`
}

// What a run came to.
type outcome struct {
	ExitCode uint32 `json:"exit_code"`
	// Of an end that was no exit.
	Error string `json:"error"`
	Spans []span `json:"spans"`
	// What the SDK had to say of what it was told.
	Complaints []string `json:"complaints"`
}

// The endpoint of a collector.
type receiver struct {
	mutex sync.Mutex
	spans []span
	// Closed when spans have come.
	come chan struct{}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, span{
					Trace:  hex.EncodeToString(s.TraceId),
					ID:     hex.EncodeToString(s.SpanId),
					Parent: hex.EncodeToString(s.ParentSpanId),
					Name:   s.Name,
					Nanos:  s.EndTimeUnixNano - s.StartTimeUnixNano,
				})
			}
		}
	}
	if len(r.spans) > 0 && r.come != nil {
		close(r.come)
		r.come = nil
	}
}

// The lines of the standard logger, which the SDK complains to.
type complaints struct{ lines []string }

func (c *complaints) Write(line []byte) (int, error) {
	c.lines = append(c.lines, string(line))
	return len(line), nil
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: host MODULE [ARG...]")
		os.Exit(2)
	}
	result, err := run(context.Background(), os.Args[1], append([]string{"program"}, os.Args[2:]...))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, path string, args []string) (*outcome, error) {
	wasm, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	said := &complaints{lines: []string{}}
	log.SetFlags(0)
	log.SetOutput(said)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	come := make(chan struct{})
	received := &receiver{come: come, spans: []span{}}
	go func() { _ = http.Serve(listener, received) }()

	adapter := opentelemetry.NewOTelAdapter(&opentelemetry.OTelConfig{
		ServiceName:        "host",
		EmitTracesInterval: time.Second,
		TraceBatchMax:      1,
		Endpoint:           listener.Addr().String(),
		Protocol:           opentelemetry.HTTP,
		AllowInsecure:      true,
	})
	adapter.Start(ctx)

	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCustomSections(true))
	defer runtime.Close(ctx)
	// The SDK leaves out spans of less than 20 µs otherwise, and with them what a test wants to see.
	options := &observe.Options{ChannelBufferSize: 1024, SpanFilter: &observe.SpanFilter{MinDuration: 0}}
	trace, err := adapter.NewTraceCtx(ctx, runtime, wasm, options)
	if err != nil {
		return nil, fmt.Errorf("the SDK does not take the module: %w", err)
	}
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	// The guest's output must not come between ours; and what is no file would be a terminal to it.
	output, err := os.CreateTemp("", "output")
	if err != nil {
		return nil, err
	}
	defer os.Remove(output.Name())
	config := wazero.NewModuleConfig().WithStdout(output).WithStderr(output).WithArgs(args...).
		WithSysNanotime().WithSysWalltime().WithStartFunctions()
	module, err := runtime.InstantiateWithConfig(ctx, wasm, config)
	if err != nil {
		return nil, err
	}
	result := &outcome{}
	_, err = module.ExportedFunction("_start").Call(ctx)
	var exit *sys.ExitError
	switch {
	case errors.As(err, &exit):
		result.ExitCode = exit.ExitCode()
	case err != nil:
		result.Error = err.Error()
	}
	trace.Finish()
	// The adapter does not say when it has nothing left to send.
	select {
	case <-come:
	case <-time.After(5 * time.Second):
	}
	received.mutex.Lock()
	defer received.mutex.Unlock()
	result.Spans, result.Complaints = received.spans, said.lines
	return result, nil
}
