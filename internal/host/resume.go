package host

import (
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Resume goes on, on a new connection, with a session of a user that has an id (XEP-0198 section 5); nil when there is
// none, whoever else has it. handled is how many stanzas the client has handled; the error is about it, and then the
// session is given as well.
func (h *Host) Resume(local, id string, handled uint32, c session.Conn) (*session.Session, error) {
	for _, s := range h.online.of(local) {
		if !s.ResumedBy(id) {
			continue
		}
		if ok, err := s.Resume(c, handled); ok {
			return s, err
		}
	}
	return nil, nil
}

// redirect deals with what waited for a session whose client did not come back: messages go to the session that has
// taken its resource, or to the account's others, or where a message goes that nobody takes; requests are answered with an
// error; presence, and what the server itself had to say, is over.
func (h *Host) redirect(s *session.Session, left []session.Left) {
	for _, l := range left {
		el, err := l.Wire.Element(xmlstream.Limits{Bytes: expansion*h.opts.StanzaBytes + 4096})
		if err != nil {
			h.log.Error("an undelivered stanza cannot be read back", "jid", s.JID().String(), "error", err)
			continue
		}
		st, err := stanza.Parse(el)
		if err != nil || el.Attr("from") == "" { // what is from nobody is from the server itself
			continue
		}
		if st.From, err = jid.Parse(el.Attr("from")); err != nil {
			continue // cannot be: it was written here
		}
		p := &Passage{Stanza: st, Host: h}
		switch {
		case st.Kind == stanza.Message && st.Type != stanza.TypeError && st.Type != stanza.TypeHeadline:
			h.redirectMessage(p, s, l.At)
		case p.IsRequest():
			h.replyError(p, stanza.NewError(stanza.RecipientUnavailable, "the recipient has lost its connection"))
		}
	}
}

// redirectMessage sends a message on its way again, with the time at which it was first sent (XEP-0203).
func (h *Host) redirectMessage(p *Passage, s *session.Session, at time.Time) {
	if p.Element.Child(ns.Delay, "delay") == nil {
		p.Element.Append(xmlstream.New(ns.Delay, "delay", "from", h.Name(), "stamp", at.UTC().Format("2006-01-02T15:04:05.000Z")))
	}
	if heir := s.Heir(); heir != nil && heir.Send(stanza.NewWire(p.Element)) {
		return
	}
	p.To = s.JID().Bare()
	p.SetAttr("to", p.To.String())
	h.messageToBare(h.ctx, p, h.online.of(s.JID().Local()))
}
