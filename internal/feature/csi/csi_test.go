package csi

import (
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/host"
	"rollcall/internal/host/hosttest"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// XEP-0386: "If the client included a XEP-0352 <active/> or <inactive/> element, the session must begin in that state."
func TestSessionBeginsInactive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hosttest.New(t, host.NewRegistry(), host.Options{Features: []host.Feature{New()}, Idle: 10})
		if got := strings.Join(h.Inline(), " "); got != ns.CSI {
			t.Errorf("announced: %s", got)
		}
		for asked, waits := range map[string]bool{"inactive": true, "active": false, "": false} {
			b := host.InlineBind{}
			if asked != "" {
				b.Asked = []*xmlstream.Element{xmlstream.New(ns.CSI, asked)}
			}
			l := &hosttest.Line{}
			s, bound, err := h.BindInline(t.Context(), "john", b, l)
			if err != nil || len(bound) != 0 {
				t.Fatal(bound, err)
			}
			s.Send(stanza.NewWire(xmlstream.New(ns.Client, "presence", "from", "marie@localhost/x")))
			if got := l.Fresh(); (got == nil) != waits {
				t.Errorf("%q: came %q", asked, got)
			}
		}
	})
}
