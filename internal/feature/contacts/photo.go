package contacts

import (
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// What presence says of a user's picture (XEP-0153 v1.1.1), where the picture is the application's: then clients do not know
// when it has changed, and the server says it in their place.

// withPhoto gives a resource's presence with what is known of the user's picture, in place of what the client says of it. It
// is called by the owner, as PhotoChanged's work is: so nothing that becomes known in between is missed.
func (a *account) withPhoto(r *resource, p *host.Passage) *host.Passage {
	if a.feature.opts.Photo == nil {
		return p
	}
	said := *p.Stanza
	said.Element = xmlstream.New(p.Space, p.Local)
	said.Attrs = p.Attrs
	for _, n := range p.Nodes {
		if n.Elem == nil || !n.Elem.Is(ns.VCardUpdate, "x") {
			said.Nodes = append(said.Nodes, n)
		}
	}
	r.said = &host.Passage{Stanza: &said, Host: p.Host, Session: p.Session}
	x := photo(a.feature.opts.Photo(a.jid.Local()))
	r.photo = x.String()
	st := said
	st.Element = &xmlstream.Element{Space: said.Space, Local: said.Local, Attrs: said.Attrs}
	st.Nodes = append(append(st.Nodes, said.Nodes...), xmlstream.Node{Elem: x})
	return &host.Passage{Stanza: &st, Host: p.Host, Session: p.Session}
}

// photo is the update element. "If a client is not yet ready to advertise an image, it MUST send an empty update child element";
// "if there is no avatar image to be advertised, the photo element MUST be empty" (section 4.1).
func photo(hash string, known bool) *xmlstream.Element {
	x := xmlstream.New(ns.VCardUpdate, "x")
	if known {
		x.Append(xmlstream.New(ns.VCardUpdate, "photo").AppendText(hash))
	}
	return x
}

// PhotoChanged has those who see a user's presence know that something else is known of the user's picture. account is a bare
// JID; nothing happens when it is not online.
func (d *Directory) PhotoChanged(account jid.JID) {
	a := d.online(account)
	if a == nil || a.feature.opts.Photo == nil {
		return
	}
	a.user.Post(func() {
		now := photo(a.feature.opts.Photo(a.jid.Local())).String()
		for _, r := range a.resources {
			if r.presence != nil && r.said != nil && r.photo != now {
				a.available(r.session.Context(), r, r.said)
			}
		}
	})
}
