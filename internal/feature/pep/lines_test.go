package pep

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/lines"
)

// A fault in what is done about an account is logged, and what comes after it is done. Nothing is done before the host runs or after.
func TestWorkInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := &PEP{opts: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, lines: lines.New[string](waiting)}
		done := 0
		work := func(context.Context) { done++ }
		if p.do("john", work) == nil {
			t.Error("it does not run yet")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.run(ctx) }()
		synctest.Wait()
		fault := p.do("john", func(context.Context) { panic("a fault") })
		if err := p.do("john", work); err != nil || fault != nil {
			t.Error(err, fault)
		}
		synctest.Wait()
		if got := log.String(); done != 1 || !strings.Contains(got, "panic while working on nodes") || strings.Contains(got, "a fault") {
			t.Errorf("%d done; the log: %s", done, &log)
		}
		gate := make(chan struct{})
		n := 0
		for p.do("john", func(context.Context) { <-gate }) == nil {
			n++
		}
		if n != waiting.Weight {
			t.Errorf("%d find room", n)
		}
		close(gate)
		cancel()
		<-ended
		if p.do("john", work) == nil {
			t.Error("it has ended")
		}
	})
}
