package c2s

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// door counts the connections that have no session yet, so that those who cannot sign in do not keep out those who
// can.
type door struct {
	total int
	log   *slog.Logger

	mu         sync.Mutex
	perAddress int
	waiting    int
	from       map[netip.Prefix]int
	refused    int       // since said
	said       time.Time // when refusals were last logged
}

// ErrCrowded is the reason to refuse a connection while too many others wait to be authenticated, or there is no memory
// to spare.
var ErrCrowded = errors.New("the server takes no more connections now")

// Ticket is an admitted connection.
type Ticket struct {
	srv    *Server
	origin netip.Prefix // where it counts; zero: nowhere
	ctx    context.Context
	cancel context.CancelFunc

	inside   bool // it has a session, and no longer counts
	measured bool // by Pace
}

// Admit asks for room for a connection, before anything is read from it. A ticket is given to Start, or else
// released. The time until a resource must be bound begins here. The error is ErrCrowded or says that the server is
// shutting down.
func (s *Server) Admit(addr netip.Addr) (*Ticket, error) {
	if s.ctx.Err() != nil { // not behind Wait, which holds mu
		return nil, errShutdown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, errShutdown
	}
	tk := &Ticket{srv: s, origin: Network(addr), measured: s.pace.Load().measured(addr)}
	if err := s.door.enter(tk.origin, s.opts.Full != nil && s.opts.Full()); err != nil {
		return nil, err
	}
	s.wg.Add(1)
	tk.ctx, tk.cancel = context.WithTimeoutCause(s.ctx, time.Duration(s.preAuth.Load()), errPreAuth)
	return tk, nil
}

// Release gives up a ticket whose connection was not started.
func (tk *Ticket) Release() { tk.leave() }

// Measure has what comes over the connection measured wherever it comes from: the address that was admitted is not the
// client's.
func (tk *Ticket) Measure() { tk.measured = tk.srv.pace.Load().Rate > 0 }

// bound stops counting: the connection has a session.
func (tk *Ticket) bound() {
	if !tk.inside {
		tk.inside = true
		tk.cancel()
		tk.ctx, tk.cancel = nil, nil
		tk.srv.door.exit(tk.origin)
	}
}

func (tk *Ticket) leave() {
	tk.bound()
	tk.srv.wg.Done()
}

// Network is what connections are counted by: an IPv4 address, a /64 of IPv6; the zero Prefix for what counts nowhere. Loopback is
// where proxies sit: it stands for many clients.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	if !a.IsValid() || a.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64 // what one customer has
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // unreachable: the lengths are right
	}
	return p
}

func (d *door) enter(from netip.Prefix, full bool) error {
	d.mu.Lock()
	if full || d.waiting >= d.total || d.from[from] >= d.perAddress {
		refused, waiting := d.refuse(), d.waiting
		d.mu.Unlock()
		switch {
		case refused == 0:
		case full:
			d.log.Error("connections refused: no memory to spare, see limits.memory", "count", refused)
		default:
			d.log.Warn("connections refused: too many that have not signed in", "count", refused, "last_from", from,
				"waiting", waiting)
		}
		return ErrCrowded
	}
	defer d.mu.Unlock()
	d.waiting++
	if from.IsValid() {
		if d.from == nil {
			d.from = make(map[netip.Prefix]int)
		}
		d.from[from]++
	}
	return nil
}

func (d *door) exit(from netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
	if from.IsValid() {
		if d.from[from]--; d.from[from] == 0 {
			delete(d.from, from)
		}
	}
}

// refuse counts a refusal and gives the number to log now, 0 for none: a flood of them is one line every ten seconds.
func (d *door) refuse() (count int) {
	d.refused++
	if now := time.Now(); now.Sub(d.said) >= 10*time.Second {
		count, d.refused, d.said = d.refused, 0, now
	}
	return count
}
