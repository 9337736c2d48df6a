package server

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"rollcall/internal/auth"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/config"
	"rollcall/internal/ns"
)

// What a sign-in reads from the database, where there is one: the account and its tokens, the account once more when the password
// is proven (it may be disabled meanwhile), whom the user has blocked, the roster, what waits. Each is a dozen microseconds, so that
// a feature which asks for something more is to be noticed here.
func TestReadsOfASignIn(t *testing.T) {
	const more = 10
	one, many := readsOfSignIns(t, 1), readsOfSignIns(t, 1+more)
	if n := float64(many-one) / more; n > 5 {
		t.Errorf("%v reads for each sign-in after the first, %d with it", n, one)
	}
	if one > 12 { // with those of the start: the archive's secret and the mailboxes' count are among them
		t.Errorf("%d reads for the first", one)
	}
}

// readsOfSignIns runs a server for some sign-ins of one user, one after the other, and counts what it reads from the database.
func readsOfSignIns(t *testing.T, times int) uint64 {
	cfg, err := config.Parse(filepath.Join(t.TempDir(), "rollcall.toml"), []byte(`
data_dir = "data"
listen = { c2s = "127.0.0.1:0", http = "127.0.0.1:0" }
tls.require = false
[[host]]
name = "localhost"
auth = { method = "accounts", plain = true }
`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "test", LeaveMemory: true,
		Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := auth.MakeCredentials("pencil")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.AddAccount(t.Context(), "localhost", "john", stored(auth.Credentials{SHA1: c.SHA1, SHA256: c.SHA256})); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	for range times {
		conn, err := net.Dial("tcp", s.Addr("c2s").String())
		if err != nil {
			t.Fatal(err)
		}
		p := c2stest.NewStream(t, conn)
		p.Open("localhost")
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00john\x00pencil")) + "</auth>")
		p.Expect("<success xmlns='" + ns.SASL + "'/>")
		p.Restart()
		p.Open("localhost")
		p.Send("<iq type='set' id='bind'><bind xmlns='" + ns.Bind + "'><resource>x</resource></bind></iq>" +
			"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
		for seen := 0; seen < 3; seen++ { // two answers, and the presence that comes back
			p.Receive()
		}
		p.Send("</stream:stream>")
		p.ExpectError("")
	}
	stop() // and wait: what is read for a sign-in may be read a moment later
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s.store.Stats().Reads
}
