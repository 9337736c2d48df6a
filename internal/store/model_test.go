package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A model is an archive and a mailbox in a slice: what a Store must do, in the simplest way.
type model struct {
	all []Message // in the order of their ids
}

// append is what Append does, with the ids that the Store gave.
func (m *model) append(entries []Entry, ids []ID) {
	for i, e := range entries {
		e.Limit, e.Known = 0, Anybody
		m.all = append(m.all, Message{ids[i], e})
	}
}

// full says whether Append must refuse entries.
func (m *model) full(entries []Entry) bool {
	for _, e := range entries {
		if e.Undelivered && e.Limit > 0 && len(m.waiting(e.Host, e.Username, 0)) >= e.Limit {
			return true
		}
	}
	return false
}

func (m *model) of(host, username string, keep func(Message) bool) (found []Message) {
	for _, x := range m.all {
		if x.Host == host && x.Username == username && keep(x) {
			found = append(found, x)
		}
	}
	return found
}

func (m *model) waiting(host, username string, after ID) []Message {
	return m.of(host, username, func(x Message) bool { return x.Undelivered && x.ID > after })
}

func (m *model) messages(host, username string, q Query) []Message {
	return m.of(host, username, func(x Message) bool {
		return x.Archived && (q.With == "" || x.With == q.With) && (q.Resource == "" || x.Resource == q.Resource) &&
			(q.Start.IsZero() || !x.At.Before(q.Start)) && (q.End.IsZero() || !x.At.After(q.End)) &&
			(q.After == 0 || x.ID > q.After) && (q.Before == 0 || x.ID < q.Before) &&
			(q.IDs == nil || slices.Contains(q.IDs, x.ID)) && x.Kind&q.Mask == q.Bits&q.Mask
	})
}

func page(found []Message, limit int, last bool) Page {
	p := Page{Messages: found, More: len(found) > limit}
	if p.More && last {
		p.Messages = found[len(found)-limit:]
	} else if p.More {
		p.Messages = found[:limit]
	}
	return p
}

func (m *model) delivered(host, username string, ids []ID) {
	for i, x := range m.all {
		if x.Host == host && x.Username == username && slices.Contains(ids, x.ID) {
			m.all[i].Undelivered = false
		}
	}
	m.sweep()
}

func (m *model) trim(host, username string, before time.Time, keep int) (gone int) {
	archive := m.messages(host, username, Query{})
	old := slices.IndexFunc(archive, func(x Message) bool { return !x.At.Before(before) })
	if old < 0 {
		old = len(archive)
	}
	for i, x := range archive {
		if keep >= 0 && i < len(archive)-keep || i < old {
			j := slices.IndexFunc(m.all, func(y Message) bool { return y.ID == x.ID })
			m.all[j].Archived = false
			gone++
		}
	}
	m.sweep()
	return gone
}

func (m *model) sweep() {
	m.all = slices.DeleteFunc(m.all, func(x Message) bool { return !x.Archived && !x.Undelivered })
}

// appendWait appends and waits.
func appendWait(s *Store, entries ...Entry) (ids []ID, err error) {
	told := make(chan struct{})
	s.Append(entries, func(i []ID, e error) {
		ids, err = i, e
		close(told)
	})
	<-told
	return ids, err
}

// Whatever is done to messages, and whatever the clock does meanwhile, the store has what the model has.
func TestMessagesModel(t *testing.T) {
	fewer(t)
	everyKind(t, func(t *testing.T, s *Store) {
		clock := noon
		s.now = func() time.Time { return clock }
		var last ID
		rapid.Check(t, func(r *rapid.T) {
			m := &model{}
			host := fmt.Sprintf("h%d.example", hosts.Add(1))
			user := rapid.SampledFrom([]string{"john", "marie"})
			r.Repeat(map[string]func(*rapid.T){
				"clock": func(r *rapid.T) {
					jump := rapid.SampledFrom([]time.Duration{time.Microsecond, time.Second, time.Hour, -time.Hour, 24 * 365 * time.Hour, -24 * 365 * time.Hour})
					clock = clock.Add(jump.Draw(r, "jump"))
				},
				"append": func(r *rapid.T) {
					entries := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) Entry { return drawEntry(r, host, clock) }), 1, 3).Draw(r, "entries")
					if limited := rapid.IntRange(-1, len(entries)-1).Draw(r, "limited"); limited >= 0 && entries[limited].Undelivered {
						entries[limited].Limit = rapid.IntRange(1, 4).Draw(r, "limit")
					}
					ids, err := appendWait(s, entries...)
					if m.full(entries) {
						if !errors.Is(err, ErrLimit) {
							r.Fatalf("Append: %v, want ErrLimit", err)
						}
						return
					}
					if err != nil {
						r.Fatal(err)
					}
					for _, id := range ids {
						if id <= last {
							r.Fatalf("id %d after %d", id, last)
						}
						last = id
					}
					m.append(entries, ids)
				},
				"delivered": func(r *rapid.T) {
					u := user.Draw(r, "user")
					ids := append(drawIDs(r, m.all), 1)
					s.Delivered(host, u, ids, nil)
					m.delivered(host, u, ids)
				},
				"trim": func(r *rapid.T) {
					u, keep := user.Draw(r, "user"), rapid.IntRange(-1, 8).Draw(r, "keep")
					before := rapid.SampledFrom([]time.Time{{}, noon, clock, clock.Add(-time.Minute)}).Draw(r, "before")
					// What is delivered is taken out first, for both.
					if err := s.writer.settle(t.Context()); err != nil {
						r.Fatal(err)
					}
					gone, err := s.TrimMessages(t.Context(), host, u, before, keep)
					if want := m.trim(host, u, before, keep); gone != want || err != nil {
						r.Fatalf("TrimMessages: %d, %v; want %d", gone, err, want)
					}
				},
				"": func(r *rapid.T) { compare(t.Context(), r, s, m, host, user.Draw(r, "user"), drawQuery(r, m, clock)) },
			})
		})
	})
}

func drawEntry(r *rapid.T, host string, clock time.Time) Entry {
	e := Entry{
		Host: host, Username: rapid.SampledFrom([]string{"john", "marie"}).Draw(r, "username"),
		With:     rapid.SampledFrom([]string{"ann@a.example", "bob@b.example", "é@c.example"}).Draw(r, "with"),
		Resource: rapid.SampledFrom([]string{"", "phone"}).Draw(r, "resource"),
		At:       clock.Add(-rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour}).Draw(r, "age")),
		Kind:     rapid.Int64Range(0, 3).Draw(r, "kind"),
		StanzaID: rapid.SampledFrom([]string{"", "id-1"}).Draw(r, "stanza id"),
		Stanza:   rapid.SliceOfN(rapid.Byte(), 1, 10).Draw(r, "stanza"),
	}
	switch rapid.IntRange(0, 2).Draw(r, "where") {
	case 0:
		e.Archived = true
	case 1:
		e.Undelivered = true
	default:
		e.Archived, e.Undelivered = true, true
	}
	return e
}

// drawIDs are some of the ids that there are.
func drawIDs(r *rapid.T, all []Message) []ID {
	ids := []ID{}
	for _, x := range all {
		if rapid.Bool().Draw(r, "this") {
			ids = append(ids, x.ID)
		}
	}
	return ids
}

func drawQuery(r *rapid.T, m *model, clock time.Time) Query {
	id := rapid.SampledFrom(append([]ID{0}, ids(m.all)...))
	at := rapid.SampledFrom([]time.Time{{}, noon, clock, clock.Add(-time.Second), clock.Add(-time.Second + 1), clock.Add(time.Hour)})
	q := Query{
		With:     rapid.SampledFrom([]string{"", "", "ann@a.example", "nobody@a.example"}).Draw(r, "with"),
		Resource: rapid.SampledFrom([]string{"", "", "phone"}).Draw(r, "resource"),
		Start:    at.Draw(r, "start"), End: at.Draw(r, "end"),
		After: id.Draw(r, "after"), Before: id.Draw(r, "before"),
		Mask: rapid.Int64Range(0, 3).Draw(r, "mask"), Limit: rapid.IntRange(1, 6).Draw(r, "limit"), Last: rapid.Bool().Draw(r, "last"),
	}
	q.Bits = q.Mask & rapid.Int64Range(0, 3).Draw(r, "bits")
	if rapid.IntRange(0, 3).Draw(r, "by id") == 0 {
		q.IDs = drawIDs(r, m.all)
	}
	return q
}

func ids(all []Message) (ids []ID) {
	for _, x := range all {
		ids = append(ids, x.ID)
	}
	return ids
}

// compare asks the store and the model the same.
func compare(ctx context.Context, r *rapid.T, s *Store, m *model, host, user string, q Query) {
	check := func(what string, want, got any, err error) {
		if d := cmp.Diff(want, got); d != "" || err != nil {
			r.Fatalf("%s: %v (-want +got):\n%s", what, err, d)
		}
	}
	waiting := m.waiting(host, user, q.After)
	got, err := s.Waiting(ctx, host, user, q.After, q.Limit)
	check("Waiting", page(waiting, q.Limit, false), got, err)
	n, err := s.CountWaiting(ctx, host, user, 3)
	check("CountWaiting", min(len(m.waiting(host, user, 0)), 3), n, err)

	found := m.messages(host, user, q)
	got, err = s.Messages(ctx, host, user, q)
	check(fmt.Sprintf("Messages %+v", q), page(found, q.Limit, q.Last), got, err)
	n, err = s.CountMessages(ctx, host, user, q)
	check("CountMessages", len(found), n, err)

	first, last, err := s.MessageBounds(ctx, host, user)
	if all := m.messages(host, user, Query{}); len(all) > 0 {
		check("first", Mark{all[0].ID, all[0].At}, first, err)
		check("last", Mark{all[len(all)-1].ID, all[len(all)-1].At}, last, err)
	} else if !errors.Is(err, ErrNotFound) {
		r.Fatalf("MessageBounds of none: %v", err)
	}
	var archives, want []string
	for name, err := range s.Archives(ctx, host) {
		if err != nil {
			r.Fatal(err)
		}
		archives = append(archives, name)
	}
	for _, name := range []string{"john", "marie"} {
		if len(m.messages(host, name, Query{})) > 0 {
			want = append(want, name)
		}
	}
	check("Archives", want, archives, nil)
}
