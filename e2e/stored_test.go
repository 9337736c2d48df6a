package e2e

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/store"
	"rollcall/internal/store/storetest"
)

var stored = flag.Int("stored", 10_000, "how many messages TestKilledWithMuchStored has in the database")

// A server with many messages is killed while it gets more. It starts again, what had waited before comes at once, and nothing is lost.
// How long that takes is printed.
func TestKilledWithMuchStored(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		r := startOpen(t, `data_dir = "data"`)
		r.killedWithMuchStored(t, store.Options{DataDir: filepath.Join(filepath.Dir(r.config), "data")})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := storetest.Start(t, true).Schema(t)
		r := startOpen(t, fmt.Sprintf("[database]\nurl = %q\n", url))
		r.killedWithMuchStored(t, store.Options{URL: url})
	})
}

func (r *rollcall) killedWithMuchStored(t *testing.T, o store.Options) {
	size := fill(t, o, *stored)
	c := converse(t, r, 0)
	for i := range 5 {
		c.goesOn()
		r.kill()
		begin := time.Now()
		r.run()
		ready := time.Since(begin)
		user := fmt.Sprint("stored", i)
		r.service.set(user, "{}")
		r.waited(t, user)
		t.Logf("with %d messages in %d MB: ready after %v, the first message after %v", *stored, size/1e6,
			ready.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	}
	c.end()
}

// waited signs in, and waits for a message that has waited.
func (r *rollcall) waited(t *testing.T, user string) {
	t.Helper()
	w, err := r.dial(user)
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	if err := errors.Join(w.conn.SetDeadline(time.Now().Add(patience)), w.bind("r"), w.write("<presence/>")); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := w.next()
		if err != nil {
			t.Fatalf("%s does not get what has waited: %v", user, err)
		}
		if n.XMLName.Local == "message" {
			return
		}
	}
}

// fill stores n messages of 500 bytes for up to 1,000 users, stored0 and so on, in their archives and every other one in their mailboxes.
// It gives the size of the database then, in bytes.
func fill(t *testing.T, o store.Options, n int) (size int64) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	const together, underWay = 10, 1000 // entries of one write, and writes
	turns := make(chan struct{}, underWay)
	var all sync.WaitGroup
	for i := 0; i < n; i += together {
		entries := make([]store.Entry, 0, together)
		for j := i; j < min(i+together, n); j++ {
			user := fmt.Sprint("stored", i/together%1000)
			head := fmt.Sprintf("<message from='anna@localhost/r' to='%s@localhost' type='chat' id='%d'><body>", user, j)
			const tail = "</body></message>"
			entries = append(entries, store.Entry{Host: "localhost", Username: user, With: "anna@localhost", Resource: "r",
				StanzaID: fmt.Sprint(j), Stanza: []byte(head + strings.Repeat("x", 500-len(head)-len(tail)) + tail),
				Archived: true, Undelivered: j%2 == 0})
		}
		turns <- struct{}{}
		all.Add(1)
		s.Append(entries, func(_ []store.ID, err error) {
			if err != nil {
				t.Error(err)
			}
			<-turns
			all.Done()
		})
	}
	all.Wait()
	size, err = s.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return size
}
