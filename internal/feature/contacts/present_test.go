package contacts

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"
	"unique"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Those who are online are found wherever they stand in a roster, in its order, and only in the direction that is asked for.
func TestAmong(t *testing.T) {
	var items []rosterdoc.Item
	for i := range 3*lookupBatch + 7 {
		items = append(items, rosterdoc.Item{JID: jid.MustParse(fmt.Sprintf("u%05d@localhost", i)), Subscription: rosterdoc.Subscription(i % 4)})
	}
	r := rosterdoc.Build(items)
	var p present
	var want []jid.JID
	for _, i := range []int{0, 1, 2, 3, lookupBatch - 1, lookupBatch, lookupBatch + 2, 2*lookupBatch + 3, len(items) - 1} {
		p.add(unique.Make(items[i].JID))
		if items[i].Subscription.Has(rosterdoc.From) {
			want = append(want, items[i].JID)
		}
	}
	p.add(unique.Make(jid.MustParse("stranger@localhost")))
	p.add(unique.Make(items[2].JID))
	if got := slices.Collect(p.among(r, rosterdoc.From)); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	p.remove(unique.Make(items[2].JID))
	want = slices.DeleteFunc(want, func(j jid.JID) bool { return j == items[2].JID })
	if got := slices.Collect(p.among(r, rosterdoc.From)); !slices.Equal(got, want) {
		t.Errorf("when one has gone: found %v, want %v", got, want)
	}
	if got := slices.Collect(p.among(nil, rosterdoc.From)); len(got) > 0 {
		t.Errorf("found %v in no roster", got)
	}
}

// book is a service.
type book map[string]*rosterdoc.Roster

func (b book) Fetch(_ context.Context, r rosterhttp.Request) (rosterhttp.Result, error) {
	return rosterhttp.Result{Roster: b[r.User], MaxAge: -1, StaleIfError: -1}, nil
}

// deaf is a client's connection that counts the stanzas that are sent.
type deaf struct{ got chan int }

func (d deaf) Send(ws []stanza.Wire) error { d.got <- len(ws); return nil }
func (deaf) End(*stanza.StreamError)       {}
func (deaf) Abort()                        {}
func (deaf) Info() session.ConnInfo        { return session.ConnInfo{} }
func (d deaf) await(n int) {
	for n > 0 {
		n -= <-d.got
	}
}

// A change of status goes to ten contacts who are online, whatever the size of the roster.
func BenchmarkPresence(b *testing.B) {
	for _, size := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const friends = 10
			service, names, _ := friendsOf(size, friends)
			h, _, sessions, d := signIn(b, service, names)
			el := xmlstream.New(ns.Client, "presence").Append(xmlstream.New(ns.Client, "status").AppendText("at lunch"))
			b.ReportAllocs()
			for b.Loop() {
				h.Receive(sessions[0], el.Clone())
				d.await(1 + friends)
			}
		})
	}
}

// friendsOf makes the rosters of "me", who has so many contacts, and of those of them who are to be online, me first.
func friendsOf(size, friends int) (service book, online []string, items []rosterdoc.Item) {
	me := rosterdoc.Item{JID: jid.MustParse("me@localhost"), Subscription: rosterdoc.Both}
	service, online = book{}, []string{"me"}
	for i := range size {
		name := fmt.Sprintf("u%05d", i)
		items = append(items, rosterdoc.Item{JID: jid.MustParse(name + "@localhost"), Subscription: rosterdoc.Both})
		if i%(size/friends) == 0 {
			online = append(online, name)
			service[name] = rosterdoc.Build([]rosterdoc.Item{me})
		}
	}
	service["me"] = rosterdoc.Build(items)
	return service, online, items
}

// Presence is serialized once, however many get it: what it takes for each of them is the address and the writer's.
func TestPresenceAllocations(t *testing.T) {
	const friends = 50
	service, names, _ := friendsOf(friends, friends)
	h, _, sessions, d := signIn(t, service, names)
	el := xmlstream.New(ns.Client, "presence").Append(xmlstream.New(ns.Client, "status").AppendText("at lunch"))
	if n := testing.AllocsPerRun(100, func() {
		h.Receive(sessions[0], el.Clone())
		d.await(1 + friends)
	}); n > 6*friends {
		t.Errorf("%v allocations for %d deliveries", n, friends)
	}
}

// A change of one contact of 50 is fetched, applied and pushed with few allocations, none of them for the other contacts;
// the document is not among them, for this service has none.
func TestPushAllocations(t *testing.T) {
	service, names, items := friendsOf(50, 1)
	h, engine, sessions, d := signIn(t, service, names)
	h.Receive(sessions[0], xmlstream.New(ns.Client, "iq", "type", "get", "id", "1").Append(xmlstream.New(ns.Roster, "query")))
	d.await(1)
	with, without := rosterdoc.Build(items), rosterdoc.Build(items[:49])
	if n := testing.AllocsPerRun(100, func() {
		with, without = without, with
		service["me"] = with
		if r := engine.Refresh(t.Context(), []string{"me"}); r[0].Kind != roster.Changed {
			t.Fatalf("%+v", r[0])
		}
		d.await(1)
	}); n > 32 {
		t.Errorf("%v allocations", n)
	}
}

// signIn makes a host and an available session for each name; all but the first have the first as their one contact.
func signIn(b testing.TB, service book, names []string) (*host.Host, *roster.Engine, []*session.Session, deaf) {
	log := slog.New(slog.DiscardHandler)
	engine := roster.New(b.Context(), roster.Options{Source: service, MaxAge: time.Hour, LoginWait: time.Second, Waiting: 4, Log: log})
	registry := host.NewRegistry()
	h, err := host.New(b.Context(), registry, host.Options{Name: "localhost", SessionsPerUser: 2, OutboxBytes: 1 << 20, StanzaBytes: 1 << 20,
		Log: log, Features: []host.Feature{New(Options{Host: "localhost", Engine: engine, Registry: registry, Directory: NewDirectory()})}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Stop(context.Background(), &stanza.StreamError{Condition: stanza.SystemShutdown}) })
	d := deaf{make(chan int, 1024)}
	var sessions []*session.Session
	for i, name := range names {
		s, err := h.Bind(b.Context(), name, "x", d)
		if err != nil {
			b.Fatal(err)
		}
		h.Receive(s, xmlstream.New(ns.Client, "presence"))
		sessions = append(sessions, s)
		if i == 0 {
			d.await(1)
		} else {
			d.await(3) // the two see each other as well
		}
	}
	return h, engine, sessions, d
}
