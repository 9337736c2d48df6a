package host

import (
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Waited makes what is stored of a message that has waited for an account at another server; false when it is none that waits
// here, or comes from nobody. The message is changed.
func Waited(account jid.JID, message *xmlstream.Element) (store.Entry, bool) {
	from, err := jid.Parse(message.Attr("from"))
	if err != nil || from.IsZero() {
		return store.Entry{}, false
	}
	if to, err := jid.Parse(message.Attr("to")); err != nil || to.Bare() != account {
		message.SetAttr("to", account.String())
	}
	at := sinceDelay(message, account.Domain())
	st, err := stanza.Parse(message)
	if err != nil || st.Kind != stanza.Message {
		return store.Entry{}, false
	}
	p := Passage{Stanza: st}
	if p.traits = traitsOf(message); !p.storable() {
		return store.Entry{}, false
	}
	return p.entry(account, p.Wire(), at), true
}

// sinceDelay takes out the note that the account's server has kept a message, which is made anew as it is delivered, and tells since when it
// has; the time of another note when there is none, else now.
func sinceDelay(message *xmlstream.Element, domain string) time.Time {
	since, own := payload.DelayOf(message, domain)
	kept := message.Nodes[:0:0]
	for _, n := range message.Nodes {
		if n.Elem != nil && n.Elem.Is(ns.Delay, "delay") {
			at, err := payload.ParseTime(n.Elem.Attr("stamp"))
			if !own && since.IsZero() && err == nil {
				since = at
			}
			if n.Elem.Attr("from") == domain {
				continue
			}
		}
		kept = append(kept, n)
	}
	message.Nodes = kept
	if since.IsZero() {
		return time.Now().UTC().Truncate(time.Microsecond)
	}
	return since.Truncate(time.Microsecond)
}

// Waiting shows a message that waits, as other servers read it.
func Waiting(m store.Message) (*xmlstream.Element, error) {
	el, err := stanza.Stored(m.Stanza, stanza.Message).Element(xmlstream.Limits{Bytes: len(m.Stanza) + 4096, Children: len(m.Stanza)})
	if err != nil {
		return nil, err
	}
	return el.Append(payload.Delay(m.Host, m.At, "")), nil
}
