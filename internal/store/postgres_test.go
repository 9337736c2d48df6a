package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/store/storetest"
)

func TestOpenPostgresErrors(t *testing.T) {
	const secret = "hunter2%2F"
	base, err := url.Parse(storetest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	change := func(change func(u *url.URL)) string {
		u := *base
		change(&u)
		return u.String()
	}
	setup := openWith(t, Options{URL: storetest.URL(t)})
	for _, statement := range []string{`DROP DATABASE IF EXISTS latin`, `CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'`,
		`DROP ROLE IF EXISTS guest`, `CREATE ROLE guest LOGIN PASSWORD 'hunter2/'`, `REVOKE CREATE ON SCHEMA public FROM public`} {
		if _, err := setup.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ url, want string }{
		"wrong password":   {change(func(u *url.URL) { u.User = url.UserPassword(storetest.User, "hunter2/") }), `refuses the password of user "rollcall"; look at database.url`},
		"no such database": {change(func(u *url.URL) { u.Path = "/nope" }), `the database "nope" at ` + base.Query().Get("host") + ` does not exist; make it with: createdb --encoding=UTF8`},
		"encoding":         {change(func(u *url.URL) { u.Path = "/latin" }), "its encoding is LATIN1, and must be UTF8"},
		"no right to make tables": {change(func(u *url.URL) {
			u.User = url.UserPassword("guest", "hunter2/")
			u.RawQuery = url.Values{"host": {u.Query().Get("host")}}.Encode()
		}), `does not let user "guest" make tables`},
		"nobody listens":  {"postgres://john:" + secret + "@" + nobody + "/chat", `the database "chat" at 127.0.0.1 cannot be reached; is PostgreSQL running there?`},
		"no URL":          {"hunter2/", `database.url is no URL like "postgres://`},
		"another kind":    {"mysql://john:" + secret + "@h/d", `database.url is no URL like "postgres://`},
		"a bad escape":    {"postgres://john:hunter2/100%@h/d", `database.url is no URL like "postgres://`},
		"a bad parameter": {"postgres://john:" + secret + "@h/d?sslmode=nonsense", "database.url cannot be used"},
		"a bad port":      {"postgres://john:" + secret + "@h/d?port=nonsense", "database.url cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), Options{URL: test.url})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if got := err.Error(); !strings.HasPrefix(got, "store: ") || !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
				t.Errorf("got  %s\nwant …%s…", got, test.want)
			}
			for _, form := range []string{"%v", "%+v", "%#v"} {
				for _, secret := range []string{"hunter2", storetest.Password, url.QueryEscape(storetest.Password)} {
					if strings.Contains(fmt.Sprintf(form, err), secret) {
						t.Errorf("the password is in %s", form)
					}
				}
			}
		})
	}
}

func TestOpenNewerPostgres(t *testing.T) {
	o := Options{URL: storetest.URL(t)}
	s := openWith(t, o)
	if _, err := s.db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), o)
	if err == nil {
		t.Fatal("opened", again.Close())
	}
	if want := "version 9999, made by a newer rollcall"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want …%s…", err, want)
	}
}

func TestOpenPostgresAtOnce(t *testing.T) {
	o := Options{URL: storetest.URL(t), Connections: 2}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Account(t.Context(), "localhost", "nobody"); !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Two servers write to one database at the same time: ids grow for both, and whoever has read up to an id misses nothing that
// comes later.
func TestTwoStoresOnePostgres(t *testing.T) {
	o := Options{URL: storetest.URL(t), Connections: 3}
	stores := []*Store{openWith(t, o), openWith(t, o)}
	const each = 150
	ctx, cancel := context.WithCancel(t.Context())
	var writers, reader sync.WaitGroup
	for _, s := range stores {
		for range 3 {
			writers.Go(func() {
				for range each {
					if _, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	seen := 0
	reader.Go(func() {
		var last ID
		for done := false; !done; {
			done = ctx.Err() != nil // once more after the last
			p, err := stores[0].Messages(t.Context(), "h", "u", Query{After: last, Limit: MaxPage})
			if err != nil {
				t.Error(err)
				return
			}
			seen += len(p.Messages)
			if n := len(p.Messages); n > 0 {
				last = p.Messages[n-1].ID
			}
		}
	})
	writers.Wait()
	cancel()
	reader.Wait()
	if want := 2 * 3 * each; seen != want {
		t.Errorf("the reader saw %d of %d", seen, want)
	}
}

// What a server's administrator switched off is switched on for us.
func TestSynchronousCommit(t *testing.T) {
	u, err := url.Parse(storetest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{"off": "on", "on": "on", "local": "local"} {
		q := u.Query()
		q.Set("synchronous_commit", given)
		u.RawQuery = q.Encode()
		s := openWith(t, Options{URL: u.String()})
		var got string
		if err := s.db.QueryRowContext(t.Context(), `SHOW synchronous_commit`).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", given, got, err, want)
		}
	}
}

// A commit succeeded and its connection broke before the answer came: the second try finds that out, also when it comes before
// the first has ended.
func TestASecondTryOfACommittedGroup(t *testing.T) {
	s := openWith(t, Options{URL: storetest.URL(t)})
	e, err := newPostgresEngine(t.Context(), s) // as the Store's own, which counts for itself
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		n, err := s.CountMessages(t.Context(), "h", "u", Query{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	newGroup := func() *group {
		w, err := s.appending([]Entry{{Host: "h", Username: "u", Archived: true}})
		if err != nil {
			t.Fatal(err)
		}
		return &group{writes: []*write{w}}
	}
	g := newGroup()
	var first ID
	for try := range 3 {
		if err := e.commit(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if try == 0 {
			first = g.writes[0].first
		}
		if n := count(); n != 1 || g.writes[0].first != first {
			t.Errorf("try %d: %d messages, id %d, want %d", try, n, g.writes[0].first, first)
		}
	}

	// A first try that is still under way in the server.
	under, err := s.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := under.ExecContext(t.Context(), writeDown, e.writer, 2, 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- e.commit(t.Context(), newGroup()) }()
	for waiting := 0; waiting == 0; { // until it stands in the queue for the lock
		if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_locks WHERE NOT granted`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := under.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || count() != 1 {
		t.Errorf("%v, %d messages", err, count())
	}
	if err := e.commit(t.Context(), newGroup()); err != nil || count() != 2 {
		t.Errorf("the next group: %v, %d messages", err, count())
	}
}
