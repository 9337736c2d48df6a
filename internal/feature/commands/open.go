package commands

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"sync"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// Bounds of commands that have begun and not ended.
const (
	maxOpen     = 1000
	maxOfClient = 5 // the oldest gives way
	openTime    = 10 * time.Minute
)

// A run is a command on its way: a session, as XEP-0050 section 3.3 has it. It belongs to one client.
type run struct {
	id      string
	from    jid.JID // full
	cmd     *command
	stage   int
	expires time.Time

	// What the forms say.
	users    []string // canonical localparts
	sessions []jid.JID
	password string
	text     string
	most     int
	since    time.Time // of what was shown as held
}

// open are the runs that wait for their clients.
type open struct {
	mu  sync.Mutex // nothing else is locked, called or sent while it is held
	all map[string]*run
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// idLength is that of 160 bits.
const idLength = 32

// begin makes a run that nobody waits for yet.
func (o *open) begin(from jid.JID, cmd *command) *run {
	var b [20]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return &run{id: strings.ToLower(encoding.EncodeToString(b[:])), from: from.Clone(), cmd: cmd, expires: time.Now().Add(openTime)}
}

// take gives a run of a client and takes it out. It is all the same whether one has ended, or is another client's.
func (o *open) take(id string, from jid.JID) (*run, *stanza.Error) {
	if len(id) != idLength {
		return nil, errSession
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.all[id]
	if one == nil || one.from != from || !time.Now().Before(one.expires) {
		return nil, errExpired
	}
	delete(o.all, id)
	return one, nil
}

// put keeps a run for its client, for as long as it had when it was begun. It is false when there is no room.
func (o *open) put(one *run) bool {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	var oldest *run
	n := 0
	for id, other := range o.all {
		switch {
		case !now.Before(other.expires):
			delete(o.all, id)
		case other.from == one.from:
			n++
			if oldest == nil || other.expires.Before(oldest.expires) {
				oldest = other
			}
		}
	}
	if n >= maxOfClient {
		delete(o.all, oldest.id)
	}
	if len(o.all) >= maxOpen {
		return false
	}
	o.all[one.id] = one
	return true
}

// closed forgets those of a client that has gone.
func (o *open) closed(_ context.Context, s *session.Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, one := range o.all {
		if one.from == s.JID() {
			delete(o.all, id)
		}
	}
}
