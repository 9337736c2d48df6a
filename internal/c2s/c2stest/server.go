package c2stest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"rollcall/internal/c2s"
)

// NewServer makes a server for the hosts, or for new ones. stop ends it and waits for its connections; the end of the
// test does so too, before the hosts end.
func NewServer(t testing.TB, o c2s.Options) (srv *c2s.Server, stop func()) {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = NewHosts(t)
	}
	o.Domain = Domain
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv = c2s.New(ctx, o)
	stop = sync.OnceFunc(func() {
		cancel()
		if h, ok := o.Hosts.(*Hosts); ok {
			h.Shutdown()
		}
		srv.Wait()
	})
	t.Cleanup(stop)
	return srv, stop
}
