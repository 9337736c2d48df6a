package contacts

import (
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// What presence says of a user's picture (XEP-0153 v1.1.1), where the server has the picture: then clients need not know it, nor
// when it has changed, and the server says it in their place. Where the picture is the application's, what clients say does not
// count. Where it is what a client has published (XEP-0398 v1.0.0, section 5) a client may say that there is to be none.

// update is what the server says of the user's picture in a presence of a client's; nil where that stays as it is.
func (a *account) update(said *xmlstream.Element) *xmlstream.Element {
	hash, known := a.feature.opts.Photo(a.jid.Local())
	if !a.feature.opts.PhotoOfClients {
		return photo(hash, known)
	}
	switch x := said.Child(ns.VCardUpdate, "x"); {
	// "Services MUST include the hash on behalf of their users in every available presence that does not contain an empty photo
	// element"; "empty x elements MUST be overwritten".
	case declines(x):
		return nil
	case known || x != nil && x.Child(ns.VCardUpdate, "photo") == nil:
		return photo(hash, true)
	}
	return nil
}

func declines(x *xmlstream.Element) bool {
	if x == nil {
		return false
	}
	said := x.Child(ns.VCardUpdate, "photo")
	return said != nil && said.Text() == ""
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

// withUpdate is a presence with another update element; nil: with none.
func withUpdate(said, x *xmlstream.Element) *xmlstream.Element {
	return said.Without(ns.VCardUpdate, "x").Append(x)
}

// withPhoto gives a resource's presence with what is known of the user's picture. It is called by the owner, as PhotoChanged's
// work is: so nothing that becomes known in between is missed.
func (a *account) withPhoto(r *resource, p *host.Passage) *host.Passage {
	if a.feature.opts.Photo == nil {
		return p
	}
	x := a.update(p.Element)
	r.photo, r.declines = "", x == nil && declines(p.Element.Child(ns.VCardUpdate, "x"))
	if x == nil {
		return p
	}
	r.photo = x.String()
	return p.With(withUpdate(p.Element, x))
}

// directPhoto puts the picture into a presence that is sent to somebody: "the hash MUST also be injected into directed presences".
// The application's picture is for contacts, who are told anyway.
func (a *account) directPhoto(p *host.Passage) {
	if a.feature.opts.Photo == nil || !a.feature.opts.PhotoOfClients || p.Type != "" {
		return
	}
	if x := a.update(p.Element); x != nil {
		*p = *p.With(withUpdate(p.Element, x))
	}
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
			if r.presence != nil && !r.declines && r.photo != now {
				a.sayAnew(r)
			}
		}
	})
}

// sayAnew sends a resource's presence once more, with the picture as it is known now.
func (a *account) sayAnew(r *resource) {
	w := r.presence.Wire()
	el, err := w.Element(xmlstream.Limits{Bytes: w.Len() + 4096, Children: w.Len()})
	if err != nil {
		return // it came from a client, within limits that are narrower
	}
	a.available(r.session.Context(), r, r.presence.With(withUpdate(el, nil)))
}
