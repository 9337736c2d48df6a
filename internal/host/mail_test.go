package host

import (
	"context"
	"log/slog"

	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

func TestTraits(t *testing.T) {
	for xml, want := range map[string]Traits{
		`<body>x</body>`: HasBody | HasContent,
		`<active xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread>`:   IsChatting,
		`<received xmlns='urn:xmpp:receipts' id='1'/>`:                                IsChatting | HasContent,
		`<body>x</body><private xmlns='urn:xmpp:carbons:2'/>`:                         HasBody | HasContent | NotCopied,
		`<store xmlns='urn:xmpp:hints'/><no-permanent-store xmlns='urn:xmpp:hints'/>`: HasContent | NotArchived,
		`<no-store xmlns='urn:xmpp:hints'/><no-copy xmlns='urn:xmpp:hints'/>`:         NotStored | NotCopied,
		`<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x>`:       IsInvitation | HasContent,
		`<x xmlns='http://jabber.org/protocol/muc#user'/><body>x</body>`:              IsRoomPrivate | HasBody | HasContent,
		`<x xmlns='jabber:x:conference' jid='a@b'/>`:                                  IsInvitation | HasContent,
		`<event xmlns='http://jabber.org/protocol/pubsub#event'/>`:                    0,
		`<origin-id xmlns='urn:xmpp:sid:0' id='1'/><delay xmlns='urn:xmpp:delay'/>`:   0,
		`<subject>x</subject>`: HasContent,
		``:                     0,
	} {
		el, err := xmlstream.ParseElement([]byte("<message xmlns='jabber:client'>"+xml+"</message>"), xmlstream.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := traitsOf(el); got != want {
			t.Errorf("%s: %b, want %b", xml, got, want)
		}
	}
}

// What only servers may say is taken out of what clients send, all of it (attack cases 27 and 30), and nothing else.
func TestForged(t *testing.T) {
	h := newHost(t)
	const kept = `<body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='1'/><stanza-id xmlns='urn:xmpp:sid:0' id='2' by='room@else.where'/>` +
		`<delay xmlns='urn:xmpp:delay' from='else.where' stamp='2026-01-01T00:00:00Z'/><private xmlns='urn:xmpp:carbons:2'/>`
	for _, forged := range []string{
		`<stanza-id xmlns='urn:xmpp:sid:0' id='2' by='marie@localhost'/>`,
		`<stanza-id xmlns='urn:xmpp:sid:0' id='2' by='MARIE@LocalHost'/>`,
		`<stanza-id xmlns='urn:xmpp:sid:0' id='2' by='nobody@localhost/x'/><stanza-id xmlns='urn:xmpp:sid:0' id='2' by='localhost'/>`,
		`<stanza-id xmlns='urn:xmpp:sid:0' id='2' by=''/><stanza-id xmlns='urn:xmpp:sid:0' id='2' by='@'/>`,
		`<delay xmlns='urn:xmpp:delay' from='localhost' stamp='2026-01-01T00:00:00Z'/>`,
		`<received xmlns='urn:xmpp:carbons:2'/><sent xmlns='urn:xmpp:carbons:2'/>`,
		`<result xmlns='urn:xmpp:mam:2' id='1'/>`,
	} {
		el, err := xmlstream.ParseElement([]byte("<message xmlns='jabber:client'>"+forged+kept+forged+"</message>"), xmlstream.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		h.purge(el)
		want, _ := xmlstream.ParseElement([]byte("<message xmlns='jabber:client'>"+kept+"</message>"), xmlstream.Limits{})
		if el.String() != want.String() {
			t.Errorf("%s left %s", forged, el)
		}
	}
}

// quick is a mailbox that takes no time, and in which nothing waits.
type quick struct {
	store.Mailbox
	last store.ID
}

func (q *quick) Append(entries []store.Entry, done func([]store.ID, error)) {
	ids := make([]store.ID, len(entries))
	for i := range ids {
		q.last++
		ids[i] = q.last
	}
	done(ids, nil)
}
func (q *quick) Waiting(context.Context, string, string, store.ID, int) (store.Page, error) {
	return store.Page{}, nil
}
func (q *quick) Delivered(_, _ string, _ []store.ID, done func(error)) { done(nil) }

// storing is a host whose messages are stored, and in archives where that is asked for; john writes to marie.
func storing(t testing.TB, archived bool) (h *Host, john *session.Session) {
	t.Helper()
	uids, err := NewUIDs(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	archive := Feature{Stages: map[Stage]StanzaHandler{Archived: func(_ context.Context, p *Passage) (bool, error) {
		if archived {
			p.Archive(Sender | Recipient)
		}
		return false, nil
	}}}
	h, err = New(t.Context(), NewRegistry(), Options{Name: "localhost", SessionsPerUser: 10, OutboxBytes: 1 << 20, StanzaBytes: 256 << 10,
		Features: []Feature{archive}, Mail: Mail{Box: &quick{}, Lasts: true, Limit: 100, UIDs: uids}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	john, marie := bind(t, h, "john", sink{}), bind(t, h, "marie", sink{})
	marie.SetAvailable(0)
	h.arrived(marie)
	return h, john
}

// What a message takes from its sender until it is written and taken out of the store, the store's own aside: beside the path of
// TestMessageAllocations a hold of what its sender is told, the entries, a letter, and the news of its delivery; in an archive
// the sender's entry and the id that the recipient is told.
func TestStoredMessageAllocations(t *testing.T) {
	for archived, most := range map[bool]float64{false: 23, true: 32} {
		synctest.Test(t, func(t *testing.T) {
			h, john := storing(t, archived)
			els := make([]*xmlstream.Element, 0, 300)
			for range cap(els) {
				els = append(els, message())
			}
			i := 0
			if n := testing.AllocsPerRun(200, func() {
				h.Receive(john, els[i])
				i++
				synctest.Wait()
			}); n > most {
				t.Errorf("%v allocations, archived: %v", n, archived)
			}
			h.Stop(t.Context(), &stanza.StreamError{Condition: stanza.SystemShutdown})
		})
	}
}

func BenchmarkMessageStored(b *testing.B) {
	h, john := storing(b, false)
	el := message()
	b.ReportAllocs()
	for b.Loop() {
		h.Receive(john, el)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := NewMemory(3*memoryCost + 100)
	add := func(user string, limit int) (err error) {
		m.Append([]store.Entry{{Host: "localhost", Username: user, At: time.Now(), Stanza: []byte("<message/>"), Undelivered: true, Limit: limit}},
			func(_ []store.ID, e error) { err = e })
		return err
	}
	if err := add("a", 1); err != nil {
		t.Fatal(err)
	}
	if err := add("a", 1); err == nil {
		t.Error("a second one")
	}
	for _, user := range []string{"b", "c"} {
		if err := add(user, 1); err != nil {
			t.Error(err)
		}
	}
	if err := add("d", 1); err == nil {
		t.Error("more than there is room for")
	}
	page, err := m.Waiting(t.Context(), "localhost", "a", 0, 10)
	if err != nil || len(page.Messages) != 1 {
		t.Fatal(page, err)
	}
	m.Delivered("localhost", "a", []store.ID{page.Messages[0].ID}, nil)
	if err := add("d", 1); err != nil {
		t.Error(err)
	}
}

func TestWireWith(t *testing.T) {
	id := payload.StanzaID("marie@localhost", "10").AppendXML(nil, ns.Client)
	for _, el := range []*xmlstream.Element{xmlstream.New(ns.Client, "message", "id", "/>"), message()} {
		w := stanza.NewWire(el)
		got, err := w.With(id).Element(xmlstream.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := el.Clone().Append(xmlstream.New(ns.SID, "stanza-id", "id", "10", "by", "marie@localhost"))
		if got.String() != want.String() {
			t.Errorf("%s instead of %s", got, want)
		}
		if w.String() != stanza.NewWire(el).String() {
			t.Error("it has changed")
		}
	}
}
