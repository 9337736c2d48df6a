package vcard

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Photos has users' pictures where these are kept as avatars (XEP-0398 v1.0.0).
type Photos interface {
	// Photo gives the picture of an account to somebody, data nil when there is none, or none for them. kept is false where the account
	// has never had one there.
	Photo(ctx context.Context, account, somebody jid.JID) (typ string, data []byte, kept bool, err error)
	// SetPhoto has a picture for one that a client has written, no data for none. It is stored when SetPhoto returns.
	SetPhoto(ctx context.Context, client jid.JID, typ string, data []byte) error
}

// withPhoto puts the picture into a vCard, nil for none, as somebody may see it.
func (v vcards) withPhoto(ctx context.Context, account, somebody jid.JID, card *xmlstream.Element) (*xmlstream.Element, error) {
	if v.opts.Photos == nil {
		return card, nil
	}
	typ, data, kept, err := v.opts.Photos.Photo(ctx, account, somebody.Bare())
	switch {
	case err != nil:
		return nil, err
	case !kept && card != nil && somebody.Bare() == account:
		return card, v.adopt(ctx, somebody, card)
	case !kept:
		return card, nil
	}
	element := func(name, text string) *xmlstream.Element { return xmlstream.New(ns.VCard, name).AppendText(text) }
	if card != nil {
		if _, stale := photo(card); data != nil || stale != nil {
			card = without(card)
		}
	}
	if data != nil {
		if card == nil {
			card = xmlstream.New(ns.VCard, "vCard")
		}
		card.Append(element("PHOTO", "").Append(element("TYPE", typ), element("BINVAL", base64.StdEncoding.EncodeToString(data))))
	}
	return card, nil
}

// adopt makes an avatar of a photo that came into the vCard before there was this conversion, or with an import: when its user's client
// reads it, as those do that know photos of vCards alone, at each sign-in.
func (v vcards) adopt(ctx context.Context, client jid.JID, card *xmlstream.Element) error {
	typ, data := photo(card)
	if data == nil {
		return nil
	}
	return v.opts.Photos.SetPhoto(ctx, client, typ, data)
}

// takePhoto takes the picture out of a vCard that a client has written, and gives what of it is to be kept. A photo that is only an
// address, or cannot be read, stays where it is.
func (v vcards) takePhoto(ctx context.Context, client jid.JID, card *xmlstream.Element) (*xmlstream.Element, error) {
	if v.opts.Photos == nil {
		return card, nil
	}
	typ, data := photo(card)
	if err := v.opts.Photos.SetPhoto(ctx, client, typ, data); err != nil {
		return nil, err
	}
	if data == nil {
		return card, nil
	}
	return without(card), nil
}

// photo reads the picture; data is nil when there is none. "Any whitespace characters MUST be ignored"; and where the type is not that of
// the data "the processing application MUST adhere to the content type of the actual image data" (XEP-0153 sections 4.6 and 5).
func photo(card *xmlstream.Element) (typ string, data []byte) {
	p := card.Child(ns.VCard, "PHOTO")
	if p == nil || p.Child(ns.VCard, "BINVAL") == nil {
		return "", nil
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p.Child(ns.VCard, "BINVAL").Text()), ""))
	if err != nil || len(data) == 0 {
		return "", nil
	}
	if seen := http.DetectContentType(data); strings.HasPrefix(seen, "image/") {
		return seen, data
	}
	if t := p.Child(ns.VCard, "TYPE"); t != nil && strings.HasPrefix(t.Text(), "image/") && len(t.Text()) < 128 {
		return t.Text(), data
	}
	return "", nil
}

// without is a vCard without a photo.
func without(card *xmlstream.Element) *xmlstream.Element { return card.Without(ns.VCard, "PHOTO") }
