package host

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a connection that takes everything and says so.
type sink struct{ got chan string }

func (s sink) Send(ws []stanza.Wire) error {
	if s.got != nil {
		for _, w := range ws {
			s.got <- w.String()
		}
	}
	return nil
}
func (sink) End(*stanza.StreamError) {}
func (sink) Abort()                  {}
func (sink) Info() session.ConnInfo  { return session.ConnInfo{Transport: "sink"} }

func newHost(t testing.TB, features ...Feature) *Host {
	h, err := New(t.Context(), NewRegistry(), Options{Name: "localhost", Features: features, SessionsPerUser: 10,
		OutboxBytes: 1 << 20, StanzaBytes: 256 << 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Stop(context.Background(), &stanza.StreamError{Condition: stanza.SystemShutdown}) })
	return h
}

func bind(t testing.TB, h *Host, local string, c session.Conn) *session.Session {
	s, err := h.Bind(t.Context(), local, "x", c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func iq(id string) *xmlstream.Element {
	return xmlstream.New(ns.Client, "iq", "type", "get", "id", id).Append(xmlstream.New("urn:q", "question"))
}

// Whatever a handler does, a request is answered once: an error of ours, one for the sender, a late answer and a second one.
func TestEachRequestIsAnsweredOnce(t *testing.T) {
	answer := map[string]func(*IQ) (*xmlstream.Element, error){
		"empty":  func(*IQ) (*xmlstream.Element, error) { return nil, nil },
		"inner":  func(*IQ) (*xmlstream.Element, error) { return nil, errors.New("the password is hunter2") },
		"stanza": func(*IQ) (*xmlstream.Element, error) { return nil, stanza.NewError(stanza.Forbidden, "") },
		"both": func(iq *IQ) (*xmlstream.Element, error) {
			iq.Defer()
			return nil, nil
		},
		"twice": func(iq *IQ) (*xmlstream.Element, error) {
			a := iq.Defer()
			a.Send(nil, nil)
			a.Send(nil, errors.New("again"))
			return nil, ErrDeferred
		},
	}
	want := map[string]string{
		"empty":  "<iq type='result' id='empty' to='john@localhost/x'/>",
		"inner":  "<iq type='error' id='inner' to='john@localhost/x'><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
		"stanza": "<iq type='error' id='stanza' to='john@localhost/x'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
		"both":   "<iq type='result' id='both' to='john@localhost/x'/>",
		"twice":  "<iq type='result' id='twice' to='john@localhost/x'/>",
	}
	h := newHost(t, Feature{Name: "test", IQ: map[IQKey]IQHandler{
		{ToSelf, "get", "urn:q", "question"}: func(_ context.Context, iq *IQ) (*xmlstream.Element, error) { return answer[iq.ID](iq) },
	}})
	c := sink{make(chan string)}
	s := bind(t, h, "john", c)
	for id := range answer {
		h.Receive(s, iq(id))
		if got := <-c.got; got != want[id] {
			t.Errorf("%s: %s", id, got)
		}
	}
	h.Receive(s, iq("unknown").SetAttr("to", "localhost"))
	if got := <-c.got; got != "<iq type='error' id='unknown' from='localhost' to='john@localhost/x'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>" {
		t.Errorf("something came twice, or else: %s", got)
	}
}

// A fault in a feature ends the session that met it, and no other.
func TestPanicEndsOneSession(t *testing.T) {
	h := newHost(t, Feature{Name: "test", IQ: map[IQKey]IQHandler{
		{ToSelf, "get", "urn:q", "question"}: func(context.Context, *IQ) (*xmlstream.Element, error) { panic("fault") },
	}})
	john, marie := bind(t, h, "john", sink{}), bind(t, h, "marie", sink{})
	h.Receive(john, iq("1"))
	<-john.Ended()
	if marie.Context().Err() != nil {
		t.Error("the other session has ended")
	}
	if n := h.SessionCount(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestTwoFeaturesForOneRequestPanicAtStart(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it went unnoticed")
		}
	}()
	f := Feature{IQ: map[IQKey]IQHandler{{ToHost, "get", "urn:q", "question"}: nil}}
	newIndex([]Feature{f, f})
}

func TestNoSessionAfterStop(t *testing.T) {
	h := newHost(t)
	bind(t, h, "john", sink{})
	h.Stop(t.Context(), &stanza.StreamError{Condition: stanza.SystemShutdown})
	if _, err := h.Bind(t.Context(), "john", "y", sink{}); err == nil {
		t.Error("a session was bound")
	}
	if n := h.SessionCount(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func message() *xmlstream.Element {
	el, err := xmlstream.ParseElement([]byte("<message xmlns='jabber:client' to='marie@localhost' type='chat' id='m1'>"+
		"<body>Are you coming on Saturday?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"), xmlstream.Limits{})
	if err != nil {
		panic(err)
	}
	return el
}

// A message's way through the server takes few allocations: its head, its passage, and the bytes that go out; the parser has
// left room for the attributes that it is stamped with. Beside them are those of the writer, which are not of the path.
func TestMessageAllocations(t *testing.T) {
	h := newHost(t)
	john, marie := bind(t, h, "john", sink{}), bind(t, h, "marie", sink{})
	marie.SetAvailable(0)
	els := make([]*xmlstream.Element, 0, 300)
	for range cap(els) {
		els = append(els, message())
	}
	i := 0
	if n := testing.AllocsPerRun(200, func() {
		h.Receive(john, els[i])
		i++
	}); n > 8 {
		t.Errorf("%v allocations", n)
	}
}

// The same from the bytes that a client sends: four more, for the element (xmlstream.TestAllocations).
func TestMessageAllocationsFromBytes(t *testing.T) {
	h := newHost(t)
	john, marie := bind(t, h, "john", sink{}), bind(t, h, "marie", sink{})
	marie.SetAvailable(0)
	sent := []byte("<message xmlns='jabber:client' to='marie@localhost' type='chat' id='m1'><body>Are you coming on Saturday?</body></message>")
	if n := testing.AllocsPerRun(200, func() {
		el, err := xmlstream.ParseElement(sent, xmlstream.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		h.Receive(john, el)
	}); n > 12 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMessage(b *testing.B) {
	h := newHost(b)
	john, marie := bind(b, h, "john", sink{}), bind(b, h, "marie", sink{})
	marie.SetAvailable(0)
	el := message()
	b.ReportAllocs()
	for b.Loop() {
		h.Receive(john, el)
	}
}

// A small stanza that would be huge when its namespaces are written where they belong ends its sender's session, and
// reaches nobody.
func TestAmplification(t *testing.T) {
	h := newHost(t)
	john, marie := bind(t, h, "john", sink{}), bind(t, h, "marie", sink{})
	doc := "<message xmlns='jabber:client' to='marie@localhost/x'><x xmlns='urn:y' xmlns:p='" + strings.Repeat("n", 3000) + "'>" +
		strings.Repeat("<p:a/>", 4000) + "</x></message>"
	// The reader refuses such a stanza too, unless its limit is as wide as here.
	el, err := xmlstream.ParseElement([]byte(doc), xmlstream.Limits{Bytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	h.Receive(john, el)
	<-john.Ended()
	var serr *stanza.StreamError
	if !errors.As(context.Cause(john.Context()), &serr) || serr.Condition != stanza.StreamPolicyViolation {
		t.Errorf("the sender's session: %v", context.Cause(john.Context()))
	}
	if marie.Context().Err() != nil {
		t.Error("the recipient's session has ended")
	}
}

// A session that is just ending takes nothing: the message goes to the next best.
func TestMessageToTheNextBest(t *testing.T) {
	h := newHost(t)
	john := bind(t, h, "john", sink{})
	alive := sink{make(chan string, 1)}
	best, err := h.Bind(t.Context(), "marie", "best", sink{})
	if err != nil {
		t.Fatal(err)
	}
	next, err := h.Bind(t.Context(), "marie", "next", alive)
	if err != nil {
		t.Fatal(err)
	}
	best.Close(nil)
	<-best.Ended()
	h.online.add(best, 10) // as it is between its end and its teardown
	best.SetAvailable(5)
	next.SetAvailable(0)
	h.Receive(john, message())
	if got := <-alive.got; !strings.Contains(got, "Saturday") {
		t.Errorf("got %s", got)
	}
	h.online.remove(best)
}
