package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/store"
)

// Who is written down costs nothing at the next sign-in, until an account was removed: with it went what was written down.
func TestMembersAreReadOnce(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	m := &members{host: "localhost", values: st, log: slog.New(slog.DiscardHandler), names: map[string]struct{}{},
		written: map[string]struct{}{}, changed: make(chan struct{}, 1)}
	john := session.New(t.Context(), &sync.WaitGroup{}, jid.MustParse("john@localhost/x"), nil, &session.Options{})
	reads := func() uint64 {
		t.Helper()
		before := st.Stats().Reads
		m.opened(t.Context(), john)
		if err := m.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		return st.Stats().Reads - before
	}
	if first, second := reads(), reads(); first != 1 || second != 0 {
		t.Errorf("%d reads, then %d", first, second)
	}
	if err := st.RemoveLeftovers(t.Context(), "localhost", "john"); err != nil {
		t.Fatal(err)
	}
	m.forget()
	if n := reads(); n != 1 {
		t.Errorf("%d reads after accounts were removed", n)
	}
	if _, err := st.Value(t.Context(), store.MemberKey("localhost", "john")); err != nil {
		t.Error(err)
	}
	addAccount(t, st, "kate")
	m.accounts = st
	m.opened(t.Context(), session.New(t.Context(), &sync.WaitGroup{}, jid.MustParse("kate@localhost/x"), nil, &session.Options{}))
	if err := m.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Value(t.Context(), store.MemberKey("localhost", "kate")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("who has an account is written down once more: %v", err)
	}
}

// slow is a store in which a value is being written for as long as a test likes.
type slow struct {
	*store.Store
	goOn chan struct{}
}

func (s slow) SetValue(ctx context.Context, key store.Key, value []byte, limit int) error {
	<-s.goOn
	return s.Store.SetValue(ctx, key, value, limit)
}

// Whose account is removed while they are being written down is not there afterwards.
func TestMembersWhoGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(t.Context(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		disk := slow{st, make(chan struct{})}
		m := &members{host: "localhost", values: disk, log: slog.New(slog.DiscardHandler), written: map[string]struct{}{},
			names: map[string]struct{}{"john": {}}, changed: make(chan struct{}, 1)}
		var both sync.WaitGroup
		both.Go(func() {
			if err := m.write(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // being written
		both.Go(func() {
			m.drop(t.Context(), "john")
			if err := st.RemoveLeftovers(t.Context(), "localhost", "john"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(disk.goOn)
		both.Wait()
		if in, err := st.NameInUse(t.Context(), "localhost", "john"); in || err != nil {
			t.Errorf("john is there: %v, %v", in, err)
		}
		m.names["marie"] = struct{}{}
		m.drop(t.Context(), "marie")
		if err := m.write(t.Context()); err != nil || m.has("marie") {
			t.Error("marie is there", err)
		}
		if in, err := st.NameInUse(t.Context(), "localhost", "marie"); in || err != nil {
			t.Errorf("marie is there: %v, %v", in, err)
		}
	})
}
