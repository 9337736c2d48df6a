package fault

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "canary"

// quoting is an error that says what it was given, and claims to be the runtime's.
type quoting struct{ text string }

func (q quoting) Error() string { return q.text }
func (q quoting) RuntimeError() {}

// work panics with a secret at hand. By value it is among the numbers of a trace: 0x7972616e6163 are its letters.
//
//go:noinline
func work(secret [8]byte, index int, value any) {
	if value == nil {
		_ = secret[index]
	}
	panic(value)
}

// What is logged of a panic says where it was, and nothing of what was in work.
func TestLogQuotesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		value any
		want  string
	}{
		"the runtime's":      {nil, "runtime error: index out of range [9] with length 8"},
		"a text":             {"cannot read " + canary, "a value of type string"},
		"an error":           {fmt.Errorf("reading %s: %w", canary, errors.ErrUnsupported), "a value of type *fmt.wrapError"},
		"called a runtime's": {quoting{canary}, "a value of type fault.quoting"},
		"to it":              {&quoting{canary}, "a value of type *fault.quoting"},
		"bytes":              {[]byte(canary), "a value of type []uint8"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
			func() {
				defer func() { Log(log, "working", recover(), "of", "john") }()
				var secret [8]byte
				copy(secret[:], canary)
				work(secret, 9, tc.value)
			}()
			got := b.String()
			for _, want := range []string{`msg="panic while working"`, "of=john", tc.want, "fault.work", "fault_test.go:"} {
				if !strings.Contains(got, want) {
					t.Errorf("the log has no %q: %s", want, got)
				}
			}
			for _, secret := range []string{canary, "7972616e6163", "0x"} {
				if strings.Contains(got, secret) {
					t.Errorf("the log has %q: %s", secret, got)
				}
			}
			if i, j := strings.Index(got, "stack="), strings.Index(got, "fault.work"); strings.Contains(got[i:j], "func") {
				t.Errorf("the trace does not begin at the fault: %s", got)
			}
		})
	}
}

// A panic with nothing to say, and none at all, are told of too.
func TestLogOfNothing(t *testing.T) {
	var b strings.Builder
	Log(slog.New(slog.NewTextHandler(&b, nil)), "working", nil)
	if got := b.String(); !strings.Contains(got, "panic=nil") || !strings.Contains(got, "TestLogOfNothing") {
		t.Error(got)
	}
}
