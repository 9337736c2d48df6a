package check

import (
	"encoding/xml"
	"strings"

	"rollcall/internal/rosterdoc"
)

// An event is something that happened while a change was waited for: "changed" ends the wait; "unchanged", "failed",
// "other" (a notification about somebody else) and "refused" do not.
type event struct {
	Event   string `json:"event"`
	Request string `json:"request"`
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Pushes  []push `json:"pushes,omitempty"`
}

// A push is what a client is sent of one change.
type push struct {
	Change string `json:"change"` // added, removed or changed
	Item   string `json:"item"`   // the element of RFC 6121 section 2.1.6
}

func pushes(changes []rosterdoc.Change) (all []push) {
	for _, c := range changes {
		all = append(all, push{c.Kind.String(), itemXML(c)})
	}
	return all
}

// itemXML is the item of a roster push: as it is now, or with subscription='remove'.
func itemXML(c rosterdoc.Change) string {
	if c.Kind == rosterdoc.Removed {
		return "<item jid='" + escaped(c.Old.JID.String()) + "' subscription='remove'/>"
	}
	i := c.New
	s := "<item jid='" + escaped(i.JID.String()) + "'"
	if i.Name != "" {
		s += " name='" + escaped(i.Name) + "'"
	}
	s += " subscription='" + i.Subscription.String() + "'"
	if i.Ask {
		s += " ask='subscribe'"
	}
	if len(i.Groups) == 0 {
		return s + "/>"
	}
	s += ">"
	for _, g := range i.Groups {
		s += "<group>" + escaped(g) + "</group>"
	}
	return s + "</item>"
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

func (f *follower) emit(v any) {
	if f.print.err == nil {
		f.print.err = writeJSON(f.print.out, v)
	}
}

// tell shows an event.
func (f *follower) tell(e event) {
	if f.o.JSON {
		f.emit(e)
		return
	}
	p := f.print
	p.printf("\n%s\n", p.colored("\x1b[1m", printable(e.Request)))
	switch e.Event {
	case "changed":
		p.printf("  fetched again; each client of %s would get:\n", printable(f.user))
		for _, push := range e.Pushes {
			p.printf("  %s  %s\n", p.colored("\x1b[32m", push.Change), printable(push.Item))
		}
		return
	case "failed":
		p.printf("  %s  %s\n", p.colored("\x1b[1;31m", "FAIL"), printable(e.Error))
	case "refused":
		p.printf("  %s  %s\n", p.colored("\x1b[1;31m", "FAIL"), printable(e.Hint))
		return
	}
	p.printf("  %s\n", printable(e.Hint))
}
