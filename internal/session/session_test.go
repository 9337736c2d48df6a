package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pen is a Conn that writes on paper, when it is allowed to.
type pen struct {
	mu     sync.Mutex
	paper  []string      // what was written, one entry for each call of Send
	ink    chan struct{} // nil: writes at once; otherwise each Send takes one from it
	gone   chan struct{} // closed by Abort and End
	cut    bool          // by Abort
	name   string
	ended  int
	serr   *stanza.StreamError
	broken error
}

func (p *pen) Send(ws []stanza.Wire) error {
	if p.ink != nil {
		select {
		case <-p.ink:
		case <-p.gone:
			return errors.New("aborted")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isGone() {
		return errors.New("aborted")
	}
	if p.broken != nil {
		return p.broken
	}
	var b []byte
	for _, w := range ws {
		b = w.AppendTo(b)
	}
	p.paper = append(p.paper, string(b))
	return nil
}

func (p *pen) End(serr *stanza.StreamError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended++
	p.serr = serr
	p.close()
}

func (p *pen) Abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.close()
}

func (p *pen) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

func (p *pen) close() {
	select {
	case <-p.gone:
	default:
		close(p.gone)
	}
}

func (p *pen) Info() ConnInfo { return ConnInfo{Transport: "pen", RemoteAddr: p.name} }

func (p *pen) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.paper, "|")
}

func message(n int) stanza.Wire {
	return stanza.NewWire(xmlstream.New(ns.Client, "message", "id", fmt.Sprint(n)))
}

// open makes a session whose end is checked by the test's end.
func open(t *testing.T, p *pen, o Options) (*Session, *sync.WaitGroup) {
	if p.gone == nil {
		p.gone = make(chan struct{})
	}
	if o.OutboxBytes == 0 {
		o.OutboxBytes = 1 << 20
	}
	o.Log = slog.New(slog.DiscardHandler)
	var wg sync.WaitGroup
	s := New(t.Context(), &wg, jid.MustParse("john@localhost/pen"), p, &o)
	s.Opened()
	return s, &wg
}

// What piles up while a write is under way is written with the next one, in order.
func TestWritesWhatHasPiledUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{ink: make(chan struct{})}
		s, wg := open(t, p, Options{})
		s.Send(message(0))
		synctest.Wait() // the writer waits for ink, with the first
		for n := 1; n < 4; n++ {
			s.Send(message(n))
		}
		p.ink <- struct{}{}
		p.ink <- struct{}{}
		synctest.Wait()
		want := "<message id='0'/>|<message id='1'/><message id='2'/><message id='3'/>"
		if got := p.text(); got != want {
			t.Errorf("got %s", got)
		}
		if s.out.writing || s.out.queue != nil || s.out.bytes != 0 {
			t.Errorf("an idle session holds a writer or a queue: %+v", &s.out)
		}
		s.Close(nil)
		wg.Wait()
	})
}

func TestCloseWritesTheRestAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{ink: make(chan struct{}, 10)}
		told := 0
		s, wg := open(t, p, Options{Closed: func(s *Session, reason error, _ []Left) {
			told++
			if s.Context().Err() == nil {
				t.Error("the context is not done")
			}
		}})
		s.Send(message(1))
		synctest.Wait()
		s.Send(message(2))
		shutdown := &stanza.StreamError{Condition: stanza.SystemShutdown}
		s.Close(shutdown)
		s.Close(errors.New("too late to be the reason"))
		if s.Send(message(3)) {
			t.Error("a closed session took a stanza")
		}
		p.ink <- struct{}{}
		p.ink <- struct{}{}
		wg.Wait()
		<-s.Ended()
		if got := p.text(); got != "<message id='1'/>|<message id='2'/>" {
			t.Errorf("written: %s", got)
		}
		if p.ended != 1 || p.serr != shutdown || told != 1 {
			t.Errorf("ended %d times with %v, told %d times", p.ended, p.serr, told)
		}
		if context.Cause(s.Context()) != shutdown {
			t.Errorf("cause: %v", context.Cause(s.Context()))
		}
	})
}

// Attack case 13: a client that does not read costs its own session, a bounded number of bytes, and no sender's time.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{ink: make(chan struct{})}
		s, wg := open(t, p, Options{OutboxBytes: 10 * (wireOverhead + message(1).Len())})
		taken := 0
		for range 10 {
			if s.Send(message(1)) {
				taken++
			}
		}
		time.Sleep(2 * moment) // of the bubble's clock; the first write still hangs
		for s.Send(message(1)) {
			taken++
		}
		if taken != 10 {
			t.Errorf("took %d stanzas", taken)
		}
		wg.Wait() // the stalled write has been cut
		if !errors.Is(context.Cause(s.Context()), ErrOverflow) {
			t.Errorf("cause: %v", context.Cause(s.Context()))
		}
	})
}

// A client that reads may be sent more than the bound for a moment, but not any amount.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{ink: make(chan struct{})}
		s, wg := open(t, p, Options{OutboxBytes: 10 * (wireOverhead + message(1).Len())})
		taken := 0
		for s.Send(message(1)) {
			taken++
		}
		if taken != burst*10 {
			t.Errorf("took %d stanzas", taken)
		}
		wg.Wait()
	})
}

// A stanza that finds nothing waiting is taken whatever its size.
func TestLargeStanza(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{}
		s, wg := open(t, p, Options{OutboxBytes: 100})
		large := stanza.NewWire(xmlstream.New(ns.Client, "message", "id", strings.Repeat("x", 10_000)))
		for range 3 {
			if !s.Send(large) {
				t.Error("it was not taken")
			}
			synctest.Wait()
		}
		s.Close(nil)
		wg.Wait()
		if n := len(p.text()); n < 30_000 {
			t.Errorf("%d bytes were written", n)
		}
	})
}

func TestWriteErrorEndsTheSession(t *testing.T) {
	p := &pen{broken: errors.New("broken pipe")}
	s, wg := open(t, p, Options{})
	s.Send(message(1))
	<-s.Context().Done()
	wg.Wait()
	if context.Cause(s.Context()) != p.broken || p.ended != 0 {
		t.Errorf("cause: %v, ended %d times", context.Cause(s.Context()), p.ended)
	}
}

// A session that ends while it is being opened is closed after it was opened.
func TestOpenedBeforeClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{gone: make(chan struct{})}
		var wg sync.WaitGroup
		closed := false
		s := New(t.Context(), &wg, jid.MustParse("john@localhost/pen"), p,
			&Options{OutboxBytes: 100, Log: slog.New(slog.DiscardHandler), Closed: func(*Session, error, []Left) { closed = true }})
		s.Close(nil)
		synctest.Wait()
		if closed {
			t.Error("closed before it was opened")
		}
		s.Opened()
		wg.Wait()
		if !closed {
			t.Error("never closed")
		}
	})
}

func TestAvailability(t *testing.T) {
	s, wg := open(t, &pen{}, Options{})
	if _, ok := s.Available(); ok {
		t.Error("available before its first presence")
	}
	for _, prio := range []int{-128, -1, 0, 127} {
		if initial := s.SetAvailable(prio); initial != (prio == -128) {
			t.Errorf("priority %d: initial is %v", prio, initial)
		}
		if got, ok := s.Available(); !ok || got != prio {
			t.Errorf("priority %d: %d, %v", prio, got, ok)
		}
	}
	if !s.SetUnavailable() || s.SetUnavailable() {
		t.Error("it goes unavailable once")
	}
	s.Close(nil)
	wg.Wait()
}

// Many senders, a reader of varying speed: each sender's stanzas arrive once and in order. Run with -race.
func TestOrderUnderLoad(t *testing.T) {
	p := &pen{}
	s, wg := open(t, p, Options{OutboxBytes: 1 << 30})
	var senders sync.WaitGroup
	for n := range 8 {
		senders.Go(func() {
			for i := range 500 {
				s.Send(stanza.NewWire(xmlstream.New(ns.Client, "message", "id", fmt.Sprintf("%d.%d", n, i))))
			}
		})
	}
	senders.Wait()
	s.Close(nil)
	wg.Wait()
	var next [8]int
	for id := range strings.SplitSeq(strings.ReplaceAll(p.text(), "|", ""), "<message id='") {
		var n, i int
		if _, err := fmt.Sscanf(id, "%d.%d'/>", &n, &i); err != nil {
			continue
		}
		if next[n] != i {
			t.Fatalf("sender %d: %d came instead of %d", n, i, next[n])
		}
		next[n]++
	}
	for n, got := range next {
		if got != 500 {
			t.Errorf("sender %d: %d of 500 arrived", n, got)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	p := &pen{gone: make(chan struct{})}
	var wg sync.WaitGroup
	s := New(b.Context(), &wg, jid.MustParse("john@localhost/pen"), discard{p}, &Options{OutboxBytes: 1 << 30, Log: slog.New(slog.DiscardHandler)})
	s.Opened()
	w := message(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Send(w)
	}
	s.Close(nil)
	wg.Wait()
}

type discard struct{ *pen }

func (discard) Send([]stanza.Wire) error { return nil }
