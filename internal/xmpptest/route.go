package xmpptest

import (
	"context"
	"net"
	"sync"
	"time"
)

// Route is the network between one client and the server: all its links, one after the other, or two at a time over BOSH. What
// happens to the network happens to those that are to come, too. Its methods may be called by any goroutine.
type Route struct {
	seed   uint64
	number int

	mu    sync.Mutex
	delay time.Duration
	held  [2]bool // up, down
	links []*Link
}

// linksOfARoute is how many of its links have numbers of their own.
const linksOfARoute = 16

// NewRoute makes a route; see NewLink.
func NewRoute(seed uint64, number int, delay time.Duration) *Route {
	return &Route{seed: seed, number: number, delay: delay}
}

// To gives what connects to a listener by new links.
func (r *Route) To(listener *PipeListener) Dialer { return routeDialer{r, listener} }

type routeDialer struct {
	route    *Route
	listener *PipeListener
}

// Dial implements Dialer.
func (d routeDialer) Dial(ctx context.Context) (net.Conn, error) {
	return d.route.link().connect(ctx, d.listener)
}

func (r *Route) link() *Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := NewLink(r.seed, linksOfARoute*r.number+len(r.links)%linksOfARoute, r.delay)
	l.Hold(false, r.held[0])
	l.Hold(true, r.held[1])
	r.links = append(r.links, l)
	return l
}

// all gives the links that there are, after something was noted for those to come.
func (r *Route) all(note func()) []*Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if note != nil {
		note()
	}
	return r.links[:len(r.links):len(r.links)]
}

// Hold is Link.Hold.
func (r *Route) Hold(down, held bool) {
	way := 0
	if down {
		way = 1
	}
	for _, l := range r.all(func() { r.held[way] = held }) {
		l.Hold(down, held)
	}
}

// Hurry is Link.Hurry.
func (r *Route) Hurry() {
	for _, l := range r.all(func() { r.delay, r.held = 0, [2]bool{} }) {
		l.Hurry()
	}
}

// Slow is Link.Slow.
func (r *Route) Slow(delay time.Duration) {
	for _, l := range r.all(func() { r.delay = delay }) {
		l.Slow(delay)
	}
}

// Cut breaks the connections that there are; so many bytes arrive of what is on the way.
func (r *Route) Cut(up, down int) {
	for _, l := range r.all(nil) {
		upOfIt, downOfIt := l.InFlight()
		l.Cut(min(up, upOfIt), min(down, downOfIt))
		up, down = max(0, up-upOfIt), max(0, down-downOfIt)
	}
}

// CutLast breaks the newest connection only.
func (r *Route) CutLast(up, down int) {
	if links := r.all(nil); len(links) > 0 {
		links[len(links)-1].Cut(up, down)
	}
}

// Lose is Link.Lose for the connections that there are.
func (r *Route) Lose(noticed time.Duration) {
	for _, l := range r.all(nil) {
		l.Lose(noticed)
	}
}

// Served is Link.Served of all connections.
func (r *Route) Served() (written, trying []byte) {
	for _, l := range r.all(nil) {
		w, t := l.Served()
		written, trying = append(written, w...), append(trying, t...)
	}
	return written, trying
}

// Gone tells whether the server has closed all connections, or has been told that they are broken.
func (r *Route) Gone() bool {
	for _, l := range r.all(nil) {
		if !l.Gone() {
			return false
		}
	}
	return true
}

// InFlight is how many bytes are on the way each way.
func (r *Route) InFlight() (up, down int) {
	for _, l := range r.all(nil) {
		u, d := l.InFlight()
		up, down = up+u, down+d
	}
	return up, down
}
