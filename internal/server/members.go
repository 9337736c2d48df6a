package server

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rollcall/internal/config"
	"rollcall/internal/host"
	"rollcall/internal/session"
	"rollcall/internal/store"
)

// members writes down who has signed in, for those who ask later whether there is such a user (store.MemberKey). Where there is no
// store it remembers them, as many as there is room for.
type members struct {
	host     string
	values   store.Values // nil: there is no store
	accounts *store.Store // nil: there are none, or elsewhere; who has one is known by it
	log      *slog.Logger

	mu      sync.Mutex
	names   map[string]struct{} // without a store those who have signed in, otherwise those who are to be written down
	written map[string]struct{} // those of whom the store is known to know, since fresh: nothing is to be done for them
	fresh   time.Time
	removed int           // how often accounts were removed
	full    bool          // one was left out, which is said once
	changed chan struct{} // has one when there are names to be written down
	writing string        // who is being written down; "" nobody
	done    chan struct{} // closed when that is over
}

const (
	maxMembers  = 50_000 // in memory
	memberTime  = 30 * time.Second
	memberAgain = 10 * time.Second
	// memberFresh is how long somebody who is written down is taken to be so: another process may remove the account.
	memberFresh = time.Hour
)

func (s *Server) newMembers(h *virtualHost) *members {
	m := &members{host: h.cfg.Name, values: s.values(), log: h.log, names: make(map[string]struct{}),
		written: make(map[string]struct{}), changed: make(chan struct{}, 1)}
	if st, is := m.values.(*store.Store); is && h.cfg.Auth.Method == config.AuthAccounts {
		m.accounts = st
	}
	return m
}

func (m *members) feature() host.Feature {
	f := host.Feature{Name: "members", Opened: m.opened}
	if m.values != nil {
		f.Run = m.run
	}
	return f
}

// opened notes that somebody is there. Who is left out is noted at the next sign-in.
func (m *members) opened(_ context.Context, s *session.Session) {
	name := strings.Clone(s.JID().Local()) // which is a piece of the whole address
	m.mu.Lock()
	if _, is := m.written[name]; is && time.Since(m.fresh) < memberFresh {
		m.mu.Unlock()
		return
	}
	_, there := m.names[name]
	fits := there || len(m.names) < maxMembers
	if fits {
		m.names[name] = struct{}{}
	}
	first := !fits && !m.full
	m.full = m.full || !fits
	m.mu.Unlock()
	if first {
		m.log.Warn("too many users sign in to write down all of them: messages from others than their contacts may be refused")
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// has tells whether somebody is remembered here.
func (m *members) has(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, is := m.names[name]
	return is
}

// run writes them down.
func (m *members) run(ctx context.Context) error {
	again := time.NewTimer(memberAgain)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
		case <-again.C:
		}
		if err := m.write(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("who has signed in is not written down yet", "error", err)
			again.Reset(memberAgain)
		}
	}
}

func (m *members) write(ctx context.Context) error {
	m.mu.Lock()
	names := make([]string, 0, len(m.names))
	for name := range m.names {
		names = append(names, name)
	}
	m.mu.Unlock()
	for _, name := range names {
		if removed, ok := m.begin(name); ok {
			err := m.writeOne(ctx, name)
			m.finish(name, removed, err)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// begin says that somebody is being written down, unless the account has gone meanwhile.
func (m *members) begin(name string) (removed int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok = m.names[name]; ok {
		m.writing, m.done = name, make(chan struct{})
	}
	return m.removed, ok
}

// finish says that it is over.
func (m *members) finish(name string, removed int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writing = ""
	close(m.done)
	if err != nil {
		return
	}
	delete(m.names, name)
	if time.Since(m.fresh) >= memberFresh {
		clear(m.written)
		m.fresh = time.Now()
	}
	if len(m.written) < maxMembers && m.removed == removed {
		m.written[name] = struct{}{}
	}
}

// drop has nobody written down who was there by a name, and waits for it if that is under way: the account is gone.
func (m *members) drop(ctx context.Context, name string) {
	m.mu.Lock()
	delete(m.names, name)
	writing, done := m.writing == name, m.done
	m.mu.Unlock()
	if !writing {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// forget says that nothing is known any more of whom the store knows: an account was removed, with what was written down.
func (m *members) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.written)
	m.removed++
}

// writeOne writes once for each user: it is read before, since most are there. Who has an account needs nothing more, but there
// are users without one, who come with a one-use token.
func (m *members) writeOne(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	if m.accounts != nil {
		if _, err := m.accounts.Account(ctx, m.host, name); !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	key := store.MemberKey(m.host, name)
	_, err := m.values.Value(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		err = m.values.SetValue(ctx, key, nil, 0)
	}
	return err
}
