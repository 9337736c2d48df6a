package carbons

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/host/hosttest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

type town struct {
	registry *host.Registry
	hosts    map[string]*host.Host
}

func inTown(t *testing.T, test func(t *testing.T, w town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := town{host.NewRegistry(), map[string]*host.Host{}}
		for _, name := range []string{"localhost", "else.where"} {
			w.hosts[name] = hosttest.New(t, w.registry, host.Options{Name: name, Features: []host.Feature{New(w.registry)}})
		}
		test(t, w)
	})
}

type client struct {
	*hosttest.Line
	*session.Session
	host *host.Host
}

func (w town) arrive(t *testing.T, local, domain, resource string, wants bool) client {
	t.Helper()
	l := &hosttest.Line{}
	h := w.hosts[domain]
	s, err := h.Bind(t.Context(), local, resource, l)
	if err != nil {
		t.Fatal(err)
	}
	c := client{l, s, h}
	if wants {
		c.says("<iq type='set' id='on'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		c.Fresh()
	}
	return c
}

func (c client) says(xml string) {
	el, err := xmlstream.ParseElement([]byte(strings.Replace(xml, " ", " xmlns='"+ns.Client+"' ", 1)), xmlstream.Limits{})
	if err != nil {
		panic(err)
	}
	c.host.Receive(c.Session, el)
}

// Whatever marie's two clients are and want, and wherever a message is addressed: a client that wants copies has each message once,
// itself or as a copy; one that wants none has it if it is for it; and nobody is taken for anybody else.
func TestEachClientHasItOnce(t *testing.T) {
	const absent, negative, low, high = -200, -1, 0, 1
	for _, there := range [][2]int{{absent, low}, {low, low}, {low, high}, {negative, low}, {negative, absent}, {high, negative}} {
		for wants := range 4 {
			for _, domain := range []string{"localhost", "else.where"} {
				for _, to := range []string{"", "/0", "/1", "/gone"} {
					inTown(t, func(t *testing.T, w town) {
						var marie [2]client
						for i := range marie {
							marie[i] = w.arrive(t, "marie", domain, fmt.Sprint(i), wants>>i&1 == 1)
							if there[i] != absent {
								marie[i].SetAvailable(there[i])
							}
						}
						phone, pc, quiet := w.arrive(t, "john", "localhost", "phone", true), w.arrive(t, "john", "localhost", "pc", true), w.arrive(t, "john", "localhost", "quiet", false)
						namesake := w.arrive(t, "john", "else.where", "pc", true)
						phone.says("<message type='chat' to='marie@" + domain + to + "' id='m'><body>hello</body></message>")
						what := fmt.Sprintf("%v, %b, %s%s", there, wants, domain, to)

						top := max(there[0], there[1])
						for i, c := range marie {
							direct := to == "/"+fmt.Sprint(i) || (to == "" || to == "/gone") && top >= 0 && there[i] == top
							copied := !direct && wants>>i&1 == 1
							if (to == "" || to == "/gone") && top < 0 && there[i] == absent {
								copied = false // refused, or it waits for this one
							}
							refused := (to == "" || to == "/gone") && top < 0
							got := strings.Join(c.Fresh(), "")
							if n := strings.Count(got, "<body>"); n != boolToInt(direct || copied && !refused) {
								t.Errorf("%s: marie/%d has it %d times: %s", what, i, n, got)
							}
							if strings.Contains(got, "<received xmlns='urn:xmpp:carbons:2'>") != (copied && !refused) || strings.Contains(got, "<sent") {
								t.Errorf("%s: marie/%d: %s", what, i, got)
							}
						}
						refused := (to == "" || to == "/gone") && top < 0
						if got := strings.Join(pc.Fresh(), ""); strings.Count(got, "<sent xmlns='urn:xmpp:carbons:2'>") != boolToInt(!refused) || strings.Contains(got, "<received") {
							t.Errorf("%s: john/pc: %s", what, got)
						}
						if got := strings.Join(phone.Fresh(), ""); strings.Contains(got, ns.Carbons) {
							t.Errorf("%s: john/phone: %s", what, got)
						}
						if got := append(quiet.Fresh(), namesake.Fresh()...); got != nil {
							t.Errorf("%s: others: %s", what, got)
						}
					})
				}
			}
		}
	}
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// XEP-0386: "If the client included a XEP-0280 <enable/> element in the requested features, Message Carbons MUST be enabled at this
// point."
func TestBoundWithCarbons(t *testing.T) {
	inTown(t, func(t *testing.T, w town) {
		h := w.hosts["localhost"]
		if got := strings.Join(h.Inline(), " "); got != ns.Carbons {
			t.Errorf("announced: %s", got)
		}
		john := w.arrive(t, "john", "localhost", "x", false)
		for asked, want := range map[string]bool{"enable": true, "disable": false, "": false} {
			b := host.InlineBind{}
			if asked != "" {
				b.Asked = []*xmlstream.Element{xmlstream.New(ns.Carbons, asked)}
			}
			l := &hosttest.Line{}
			s, bound, err := h.BindInline(t.Context(), "john", b, l)
			if err != nil || len(bound) != 0 {
				t.Fatal(bound, err)
			}
			john.says("<message type='chat' to='john@localhost/x'><body>note</body></message>")
			if got := strings.Join(l.Fresh(), ""); strings.Contains(got, "<body>note</body>") != want {
				t.Errorf("%q: came %s", asked, got)
			}
			s.Close(nil)
			<-s.Ended()
		}
	})
}

// When nobody wants copies any more, messages are not led past this feature: not after a client has switched them off, nor when it
// has gone, however often it has said what.
func TestNobodyWantsCopies(t *testing.T) {
	inTown(t, func(t *testing.T, w town) {
		john, marie := w.arrive(t, "john", "localhost", "x", true), w.arrive(t, "marie", "else.where", "x", true)
		for range 3 {
			john.says("<iq type='set' id='on'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
			marie.says("<iq type='set' id='on'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		}
		if !w.registry.CopiesWanted() {
			t.Error("nobody wants any")
		}
		for range 3 {
			john.says("<iq type='set' id='off'><disable xmlns='urn:xmpp:carbons:2'/></iq>")
		}
		if !w.registry.CopiesWanted() {
			t.Error("marie still does")
		}
		marie.Close(nil)
		<-marie.Ended()
		marie.says("<iq type='set' id='late'><enable xmlns='urn:xmpp:carbons:2'/></iq>") // was on its way
		if w.registry.CopiesWanted() {
			t.Error("nobody is there who wants any")
		}
	})
}

// Only so many messages are remembered for the errors that may answer them, and an error is known by whom it is from, too.
func TestErrorsAreRemembered(t *testing.T) {
	inTown(t, func(t *testing.T, w town) {
		john, pc := w.arrive(t, "john", "localhost", "x", false), w.arrive(t, "john", "localhost", "pc", true)
		marie, eve := w.arrive(t, "marie", "else.where", "x", false), w.arrive(t, "eve", "localhost", "x", false)
		for i := range remembered + 1 {
			john.says(fmt.Sprintf("<message type='chat' to='marie@else.where/x' id='%d'><body>?</body></message>", i))
		}
		pc.Fresh()
		for id, want := range map[int]int{0: 0, 1: 1, remembered: 1} {
			eve.says(fmt.Sprintf("<message type='error' to='john@localhost/x' id='%d'><error type='cancel'/></message>", id))
			if got := pc.Fresh(); len(got) != 0 {
				t.Errorf("%d: eve's: %s", id, got)
			}
			marie.says(fmt.Sprintf("<message type='error' to='john@localhost/x' id='%d'><error type='cancel'/></message>", id))
			if got := pc.Fresh(); len(got) != want {
				t.Errorf("%d: %s", id, got)
			}
		}
	})
}

// What stands in a copy is escaped once, as in the message itself (attack case 9).
func TestSpecialCharactersInCopies(t *testing.T) {
	inTown(t, func(t *testing.T, w town) {
		const odd = `a'b"<c>&d`
		escaped := string(xmlstream.AppendEscaped(nil, odd))
		john, pc := w.arrive(t, "john", "localhost", "x", false), w.arrive(t, "john", "localhost", odd, true)
		w.arrive(t, "marie", "localhost", odd, false)
		john.says("<message type='chat' to='marie@localhost/" + escaped + "' id='" + escaped + "'><body>" + escaped + "</body></message>")
		got := pc.Fresh()
		if len(got) != 1 {
			t.Fatal(got)
		}
		el, err := xmlstream.ParseElement([]byte(strings.Replace(got[0], " ", " xmlns='"+ns.Client+"' ", 1)), xmlstream.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		m := el.Child(ns.Carbons, "sent").Child(ns.Forward, "forwarded").Child(ns.Client, "message")
		if el.Attr("to") != "john@localhost/"+odd || m.Attr("id") != odd || m.Attr("to") != "marie@localhost/"+odd || m.Child(ns.Client, "body").Text() != odd {
			t.Errorf("%s", got)
		}
	})
}

// A message that has waited behind others, for a client that takes long for them, is copied with the time at which it came (XEP-0297).
func TestCopyOfWhatHasWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := host.NewRegistry()
		h := hosttest.New(t, r, host.Options{Features: []host.Feature{New(r)}, Mail: host.Mail{Box: host.NewMemory(1 << 20), Lasts: true, Limit: 100}})
		w := town{r, map[string]*host.Host{"localhost": h}}
		john := w.arrive(t, "john", "localhost", "x", false)
		say := func(id int) {
			john.says(fmt.Sprintf("<message type='chat' to='marie@localhost' id='%d'><body>hello</body></message>", id))
		}
		const before = 30
		for i := range before {
			say(i)
		}
		away, slow := w.arrive(t, "marie", "localhost", "away", true), w.arrive(t, "marie", "localhost", "slow", false)
		away.SetAvailable(-1)
		slow.Manage(false, 0, 0)
		slow.SetAvailable(0)
		slow.says("<presence id='p'/>") // what waits is sent
		came := strings.Count(strings.Join(slow.Fresh(), ""), "<body>")
		if came == 0 || came == before {
			t.Fatalf("%d came", came)
		}
		say(before)
		time.Sleep(15 * time.Second)
		if err := slow.Acknowledged(slow.Line, uint32(came)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slow.Fresh(), ""); strings.Count(got, "<delay ") != before+1-came {
			t.Errorf("came: %s", got)
		}
		got := strings.Join(away.Fresh(), "")
		if strings.Count(got, "<received ") != 1 || !strings.Contains(got, "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2000-01-01T00:00:00.000Z'/><message ") {
			t.Errorf("copies: %s", got)
		}
	})
}

func BenchmarkCopied(b *testing.B) {
	r := host.NewRegistry()
	h := hosttest.New(b, r, host.Options{Features: []host.Feature{New(r)}})
	bind := func(local, resource string) *session.Session {
		s, err := h.Bind(b.Context(), local, resource, sink{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	john := bind("john", "x")
	bind("marie", "x").SetAvailable(0)
	for _, local := range []string{"john", "marie"} {
		on, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='set' id='1'><enable xmlns='urn:xmpp:carbons:2'/></iq>"), xmlstream.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		h.Receive(bind(local, "pc"), on)
	}
	el, err := xmlstream.ParseElement([]byte("<message xmlns='jabber:client' to='marie@localhost' type='chat' id='m1'>"+
		"<body>Are you coming on Saturday?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"), xmlstream.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.Receive(john, el)
	}
}

type sink struct{}

func (sink) Send([]stanza.Wire) error { return nil }
func (sink) End(*stanza.StreamError)  {}
func (sink) Abort()                   {}
func (sink) Info() session.ConnInfo   { return session.ConnInfo{Transport: "sink"} }
