package host

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// switched is a feature that is on, if a client asks for it as its resource is bound, before anything reaches it.
func switched(on map[string]bool) Feature {
	return Feature{Name: "switched", Inline: []Inline{
		{Var: "urn:test:switch", Space: "urn:test:switch", Bound: func(_ context.Context, s *session.Session, asked *xmlstream.Element) *xmlstream.Element {
			on[s.JID().Resource()] = asked != nil && asked.Local == "on"
			return nil
		}},
		{Bound: func(context.Context, *session.Session, *xmlstream.Element) *xmlstream.Element {
			return xmlstream.New("urn:test:always", "always")
		}},
	}}
}

func bindInline(t *testing.T, h *Host, b InlineBind) (*client, string) {
	t.Helper()
	c := &client{line: &line{}}
	s, bound, err := h.BindInline(t.Context(), "john", b, c.line)
	if err != nil {
		t.Fatal(err)
	}
	c.Session = s
	text := ""
	for _, el := range bound {
		text += el.String()
		if id := el.Attr("id"); id != "" {
			c.id = id
		}
	}
	return c, text
}

func TestBindInline(t *testing.T) {
	on := map[string]bool{}
	bubble(t, Options{Features: []Feature{switched(on)}}, func(t *testing.T, h *Host) {
		if got := strings.Join(h.Inline(), " "); got != "urn:test:switch" {
			t.Errorf("announced: %s", got)
		}
		c, bound := bindInline(t, h, InlineBind{Tag: "phone", Client: "one", Asked: []*xmlstream.Element{
			xmlstream.New("urn:test:other", "x"), xmlstream.New("urn:test:switch", "on"), xmlstream.New("urn:test:switch", "off")}})
		if c.JID().Resource() != "phone/one" || bound != "<always xmlns='urn:test:always'/>" || !on["phone/one"] || c.Managed() {
			t.Errorf("%s with %s, %v", c.JID(), bound, on)
		}
		c, bound = bindInline(t, h, InlineBind{Manage: &Management{Resume: true, Max: time.Second, Credential: password}})
		if !strings.Contains(bound, "<enabled ") || !strings.Contains(bound, " max='1'") || len(c.JID().Resource()) != 24 || on[c.JID().Resource()] {
			t.Errorf("%s with %s, %v", c.JID(), bound, on)
		}
		expect(t, c.heard()) // that it is managed was told by who bound it
		c.lost()
		next := &line{}
		if _, _, err := h.ResumeInline(t.Context(), "john", Resumption{ID: c.id, Credential: password + 1}, next); err == nil {
			t.Error("resumed with another password")
		}
		c.says(h, "<message to='nobody@localhost'/>") // an old connection that has more to say
		s, handled, err := h.ResumeInline(t.Context(), "john", Resumption{ID: c.id, Credential: password}, next)
		if err != nil || s != c.Session || handled != 1 {
			t.Errorf("resumed with %v, %d stanzas handled", err, handled)
		}
		if got := next.heard(); strings.Contains(got, "resumed") || !strings.Contains(got, "<r ") {
			t.Errorf("on the new connection: %s", got)
		}
	})
}

// What a client calls itself must not keep it out.
func TestOddTags(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, h *Host) {
		for tag, want := range map[string]string{
			"": "one", "a b": "a b/one", "a/b": "a/b/one", "\u200e": "one", strings.Repeat("a", maxTag): strings.Repeat("a", maxTag) + "/one",
			strings.Repeat("a", maxTag+1): "one", "\xff": "one",
		} {
			if got := h.resource(InlineBind{Tag: tag, Client: "one"}); got != want {
				t.Errorf("%.70q: %q, want %q", tag, got, want)
			}
		}
	})
}

// A client that comes back without resuming its session has lost it; what waited for it goes on to its new one, or where
// messages go that nobody takes.
func TestEarlierSessionsOfAClientEnd(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, h *Host) {
		first, _ := bindInline(t, h, InlineBind{Tag: "old", Client: "one", Manage: &Management{Resume: true, Credential: password}})
		first.SetAvailable(0)
		first.lost()
		message := xmlstream.New(ns.Client, "message", "from", "marie@localhost/x", "id", "m")
		first.Send(stanza.NewWire(message))
		other, _ := bindInline(t, h, InlineBind{Tag: "old", Client: "two"})
		bystander, _ := bindInline(t, h, InlineBind{})

		second, _ := bindInline(t, h, InlineBind{Tag: "old", Client: "one"})
		if second.JID() != first.JID() {
			t.Errorf("bound as %s, before that as %s", second.JID(), first.JID())
		}
		expect(t, second.heard(), " id='m'")
		third, _ := bindInline(t, h, InlineBind{Tag: "new", Client: "one"})
		synctest.Wait()
		for name, s := range map[string]*client{"first": first, "second": second} {
			if s.Context().Err() == nil {
				t.Errorf("the %s session lives", name)
			}
		}
		for name, s := range map[string]*client{"other": other, "bystander": bystander, "third": third} {
			if s.Context().Err() != nil {
				t.Errorf("the %s session has ended", name)
			}
		}
	})
}
