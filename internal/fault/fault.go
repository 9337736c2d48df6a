// Package fault tells of faults of ours: panics that were recovered, so that one ends a stanza or a connection and not the server.
// Nothing that anybody has sent gets into the log by them. What a panic is given may quote a stanza, a password or a roster, and the
// numbers in a goroutine's trace (runtime/debug.Stack) are arguments, so neither is logged: only what kind of panic it was, and where.
package fault

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
)

// depth is how many calls are told of; what lies deeper than that is in the loops of connections.
const depth = 64

// Log logs a panic, with attributes as for log.Error. It is called by the deferred function that has recovered the value.
func Log(log *slog.Logger, while string, value any, attrs ...any) {
	log.Error("panic while "+while, append(attrs, "panic", what(value), "stack", stack())...)
}

// what says what a panic was: of a fault that the runtime found its words, which are of types and numbers; of any other the type of
// its value.
func what(value any) string {
	t := reflect.TypeOf(value)
	if t == nil {
		return "nil"
	}
	of := t
	if t.Kind() == reflect.Pointer {
		of = t.Elem()
	}
	if err, ok := value.(runtime.Error); ok && of.PkgPath() == "runtime" {
		return err.Error()
	}
	return "a value of type " + t.String()
}

// stack gives the calls that led to the panic, the innermost first: functions, files and lines.
func stack() string {
	calls := make([]uintptr, depth)
	frames := runtime.CallersFrames(calls[:runtime.Callers(3, calls)]) // of who has called Log, on
	var b strings.Builder
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if f.Function == "runtime.gopanic" {
			b.Reset() // what came before was the recovery
			continue
		}
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return b.String()
}
