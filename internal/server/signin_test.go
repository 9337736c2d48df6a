package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/config"
	"rollcall/internal/ns"
	"rollcall/internal/store"
)

// What a sign-in reads from the database, where there is one: the account and its tokens, the account once more before the session
// begins (it may be gone meanwhile), whom the user has blocked, the roster, what waits. Each is a dozen microseconds, so that
// a feature which asks for something more is to be noticed here.
func TestReadsOfASignIn(t *testing.T) {
	const more = 10
	one, many := readsOfSignIns(t, 1), readsOfSignIns(t, 1+more)
	if n := float64(many-one) / more; n > 5 {
		t.Errorf("%v reads for each sign-in after the first, %d with it", n, one)
	}
	if one > 14 { // with those of the start: the archive's secret, the count of mailboxes, the size; and the names of nodes
		t.Errorf("%d reads for the first", one)
	}
}

// readsOfSignIns runs a server for some sign-ins of one user, one after the other, and counts what it reads from the database.
func readsOfSignIns(t *testing.T, times int) uint64 {
	s, stop := run(t, `
data_dir = "data"
listen = { c2s = "127.0.0.1:0", http = "127.0.0.1:0" }
tls.require = false
[[host]]
name = "localhost"
auth = { method = "accounts", plain = true }
`)
	addAccount(t, s.store, "john")
	for range times {
		p := signIn(t, s, "john")
		p.Send("</stream:stream>")
		p.ExpectError("")
	}
	stop() // and wait: what is read for a sign-in may be read a moment later
	return s.store.Stats().Reads
}

// Attack case 25: what sessions are resumed by, and what signs users and their clients in, has 128 bits of randomness or more. The
// ids of streams and BOSH sessions, nonces and guests' names have tests of their own.
func TestWhatIsToBeSecretCannotBeGuessed(t *testing.T) {
	a := newAnew(t)
	addAccount(t, a.beside, "john")
	seen := map[string]bool{}
	for range 50 {
		p := a.dial()
		p.Send(authenticate("PLAIN", plainJohn, fromPhone+wantsToken+wantsBind))
		el := signedIn(p)
		token, err := a.server.hosts[0].sasl.Load().MakeToken(t.Context(), "john", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for text, bits := range map[string]int{ // of each character
			el.Child(ns.Bind2, "bound").Child(ns.SM, "enabled").Attr("id"): 6,
			el.Child(ns.FAST, "token").Attr("token"):                       6,
			strings.TrimPrefix(token.Text, "rct_"):                         5,
		} {
			if len(text)*bits < 128 || seen[text] || seen[text[:len(text)/2]] || seen[text[len(text)/2:]] {
				t.Fatalf("%q can be guessed", text)
			}
			seen[text], seen[text[:len(text)/2]], seen[text[len(text)/2:]] = true, true, true
		}
		p.Conn.Close()
	}
}

// addAccount adds the account of a user at localhost whose password is pencil.
func addAccount(t *testing.T, st *store.Store, user string) {
	t.Helper()
	c, err := auth.MakeCredentials("pencil")
	if err == nil {
		err = st.AddAccount(t.Context(), "localhost", user, stored(c))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a server until stop is called, which waits for its end.
func run(t *testing.T, text string) (s *Server, stop func()) {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(t.TempDir(), "rollcall.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err = New(t.Context(), cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "test", LeaveMemory: true,
		Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// signIn has a user, whose password is pencil if it matters, do all that clients do when they sign in.
func signIn(t *testing.T, s *Server, user string) *c2stest.Peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr("c2s").String())
	if err != nil {
		t.Fatal(err)
	}
	p := c2stest.NewStream(t, conn)
	p.Open("localhost")
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00pencil")) + "</auth>")
	p.Expect("<success xmlns='" + ns.SASL + "'/>")
	p.Restart()
	p.Open("localhost")
	p.Send("<iq type='set' id='bind'><bind xmlns='" + ns.Bind + "'><resource>x</resource></bind></iq>" +
		"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
	for range 3 { // two answers, and the presence that comes back
		p.Receive()
	}
	return p
}

// A client that has signed in and says nothing costs a goroutine with a stack of 2 KiB. What signing in takes of it is not
// kept: the next size is 4 KiB. What is between is what stacks are taken from in one piece.
func TestStackOfAnIdleSession(t *testing.T) {
	if raceDetector {
		t.Skip("not with the race detector, for which more is put there")
	}
	s, stop := run(t, `
data_dir = ""
listen = { c2s = "127.0.0.1:0", http = "127.0.0.1:0" }
tls.require = false
[[host]]
name = "localhost"
auth.method = "open"
`)
	t.Cleanup(stop)
	signIn(t, s, "first")
	const sessions = 200
	before := stacks()
	for i := range sessions {
		signIn(t, s, fmt.Sprint("u", i))
	}
	var each int
	for range 100 { // the last ones may be on their way
		if each = (stacks() - before) / sessions; each <= 3200 {
			return
		}
	}
	t.Errorf("%d bytes of stacks for each idle session", each)
}

// stacks is how much memory there is for stacks, in bytes.
func stacks() int {
	runtime.GC() // takes back those that nobody is on
	m := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(m)
	return int(m[0].Value.Uint64())
}
