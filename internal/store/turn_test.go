package store

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

// While the queue has always something to write, others get their turn: in this process, and in another one.
func TestOthersGetTheirTurn(t *testing.T) {
	dir := t.TempDir()
	busy, other := open(t, dir), open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := appendWait(busy, Entry{Host: "h", Username: fmt.Sprint("u", i), Archived: true, Stanza: make([]byte, 500)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for what, s := range map[string]*Store{"same": busy, "other": other} {
		for i := range 20 {
			if err := s.AddAccount(t.Context(), "localhost", fmt.Sprintf("%s%d", what, i), credentials(1)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	cancel()
	wg.Wait()
}
