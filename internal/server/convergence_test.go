package server_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// TestConvergence plays random sequences of what can happen to a server, its service and its clients, and then compares
// what each client has come to believe with what is true: docs/reliability.md says what happens and what is compared.
// A sequence is drawn before it is played, so that one that fails shrinks to the steps that are needed.
//
//	go test ./internal/server -run Convergence -rapid.checks=10000
//	go test ./internal/server -run Convergence -rapid.seed=1 -convergence.log
//
// A failure prints the seed and the file that plays the shrunk sequence again.
func TestConvergence(t *testing.T) {
	for _, kind := range []kind{asked, askedMutual, batched, told} {
		t.Run(kind.name, func(t *testing.T) {
			counts := map[string]int{}
			first := "" // what happened when it failed first: not all that goroutines do is the same each time
			defer func() {
				t.Log(counts)
				if t.Failed() {
					t.Logf("what happened the first time:\n%s", first)
				}
			}()
			rapid.Check(t, func(r *rapid.T) {
				s := sequences.Draw(r, "sequence")
				s.kind = kind
				if failure, history := s.play(t, counts); failure != "" {
					if first == "" {
						first = history
					}
					r.Logf("what happened:\n%s", history)
					r.Fatal(failure)
				}
			})
		})
	}
}

var logToo = flag.Bool("convergence.log", false, "write the server's log to standard error")

// kind is what the host is like.
type kind struct {
	name     string
	batches  bool // rosters are asked for together
	pushOnly bool // nobody is asked for rosters
	mutual   bool
}

var (
	asked       = kind{name: "asked"}
	askedMutual = kind{name: "mutual", mutual: true}
	batched     = kind{name: "batched", batches: true}
	told        = kind{name: "told", pushOnly: true}
)

// sequence is what is going to happen.
type sequence struct {
	kind   kind
	Disk   int  // where rosters are
	Lost   bool // in the end nothing is notified: copies grow old
	Merges int  // bits: which of the clients never delete what a whole roster leaves out
	Know   int  // bits: who has whom from the beginning
	Steps  []step
}

// step is one thing that happens. What the numbers mean depends on Do, and on who is there.
type step struct {
	Do         action
	A, B, C, D int
	Amid       bool // the next step comes before all that this one set off is done
}

var sequences = rapid.Custom(func(r *rapid.T) sequence {
	return sequence{
		Disk:   rapid.IntRange(0, 99).Draw(r, "disk"),
		Lost:   rapid.IntRange(0, 3).Draw(r, "lost") == 3,
		Merges: rapid.IntRange(0, 1<<6-1).Draw(r, "merges"),
		Know:   rapid.IntRange(0, 1<<9-1).Draw(r, "know"),
		Steps:  slices.Concat(rapid.SliceOfN(rapid.SliceOf(steps), chapters, chapters).Draw(r, "chapters")...),
	}
})

// chapters of some five steps each make a sequence: a slice of rapid's own making would be shorter.
const chapters = 14

// GoString is what a failure prints: the history says more.
func (s sequence) GoString() string { return fmt.Sprintf("%d steps", len(s.Steps)) }

var steps = rapid.Custom(func(r *rapid.T) step {
	small := rapid.IntRange(0, 23)
	return step{
		Do:   rapid.SampledFrom(weighted).Draw(r, "do"),
		A:    small.Draw(r, "A"),
		B:    small.Draw(r, "B"),
		C:    small.Draw(r, "C"),
		D:    small.Draw(r, "D"),
		Amid: rapid.Bool().Draw(r, "amid"),
	}
})

// play plays a sequence in a bubble and tells what was wrong, "" when nothing was, and what happened.
func (s sequence) play(t *testing.T, counts map[string]int) (failure, history string) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newTown(ctx, s)
		defer func() {
			if p := recover(); p != nil {
				w.fail("panic", "%v\n%s", p, debug.Stack())
			}
			w.close()
			for what, times := range w.counts {
				counts[what] += times
			}
			failure, history = w.failure(), strings.Join(w.history, "\n")
		}()
		if !w.start(s.Disk) {
			return
		}
		for _, st := range s.Steps {
			w.do(st)
			if w.failure() != "" {
				return
			}
		}
		w.calm()
	})
	return failure, history
}

func serverLog() slog.Handler {
	if !*logToo {
		return slog.DiscardHandler
	}
	return slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
}
