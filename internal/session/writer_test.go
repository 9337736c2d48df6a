package session

import (
	"sync"
	"testing"
	"testing/synctest"
	"unsafe"

	"rollcall/internal/jid"
	"rollcall/internal/stanza"
)

// depth is a Conn that notes where on the stack it was called.
type depth struct{ at uintptr }

func (*depth) End(*stanza.StreamError) {}
func (*depth) Abort()                  {}
func (*depth) Info() ConnInfo          { return ConnInfo{} }

//go:noinline
func (d *depth) Send([]stanza.Wire) error {
	var here byte
	d.at = uintptr(unsafe.Pointer(&here))
	return nil
}

// A goroutine begins with a stack of 2 KiB, of which the runtime keeps almost half for itself. What is on a writer's must leave
// room for what writing takes: 800 bytes for c2s, tcp and net.
func TestWriterFitsIntoItsStack(t *testing.T) {
	if raceDetector {
		t.Skip("not with the race detector, for which more is put there")
	}
	c := &depth{}
	s := New(t.Context(), &sync.WaitGroup{}, jid.MustParse("john@localhost/x"), c, &Options{OutboxBytes: 1 << 20})
	s.out.writing = false
	w := s.push(message(1), 1)
	base := make(chan uintptr)
	go func() {
		grown() // so that it does not move meanwhile
		var here byte
		w.write()
		base <- uintptr(unsafe.Pointer(&here))
	}()
	if took := <-base - c.at; took > 200 {
		t.Errorf("%d bytes of stack from the beginning of a writer to Conn.Send", took)
	}
}

//go:noinline
func grown() byte {
	var b [16 << 10]byte
	return b[len(b)-1]
}

// Writing allocates nothing: the writer and its queues come from a pool, now and then a new one.
func TestWriterAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("not with the race detector, which has pools throw things away at random")
	}
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		s := New(t.Context(), &wg, jid.MustParse("john@localhost/x"), &depth{}, &Options{OutboxBytes: 1 << 20})
		s.Opened()
		w := message(1)
		n := testing.AllocsPerRun(100, func() {
			s.Send(w)
			synctest.Wait()
		})
		s.Close(nil)
		wg.Wait()
		if n > 0 {
			t.Errorf("%v allocations for one stanza that is sent alone", n)
		}
	})
}
