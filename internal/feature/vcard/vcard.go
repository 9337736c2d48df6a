// Package vcard has users' vCards (XEP-0054 v1.3.0, vcard-temp).
//
// Mostly a user's clients write one, and everybody who is signed in may read it, as the document's security section has it; of
// what is in it nothing is looked at but its size. On a host whose users' profiles are the application's
// (docs/profile-http.md) vCards are made from these: clients do not write them, and a user reads the own one and those of
// contacts. Nobody asked to have an application's names read by strangers, nor fetched for every name that somebody guesses.
package vcard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Options says how the feature behaves.
type Options struct {
	Host  string       // the virtual host's domain
	Store store.Values // of what clients write; not used with Profiles
	Log   *slog.Logger

	// Profiles gives the vCard of a user as the application has it, nil when there is nothing in it; nil: clients write them.
	// An error says that it is not known just now.
	Profiles func(ctx context.Context, local string) (*xmlstream.Element, error)
	// Lists tells whether somebody has an account among their contacts; for Profiles.
	Lists func(somebody, account jid.JID) bool
	// Photos has the photos of vCards that clients write (XEP-0398); nil: they stay where they are.
	Photos Photos
}

// maxBytes is how large a vCard may be, as it is stored. A photo is a third larger in it than by itself.
const maxBytes = 256 << 10

// Space is where vCards are stored.
const Space = "vcard"

// limits are for reading what was stored: what a client sent within the limits of its stream, with each namespace declared
// where it is used.
var limits = xmlstream.Limits{Bytes: maxBytes, Depth: 2 * xmlstream.DefaultDepth, Attrs: 2 * xmlstream.DefaultAttrs,
	Children: 2 * xmlstream.DefaultChildren}

type vcards struct{ opts Options }

// New makes the feature.
func New(o Options) host.Feature {
	v := vcards{o}
	if o.Profiles != nil {
		return v.ofProfiles()
	}
	account := []string{ns.VCard}
	if o.Photos != nil {
		account = append(account, ns.AvatarConversion)
	}
	return host.Feature{
		Name:  "vcard",
		Disco: host.Disco{Host: []string{ns.VCard}, Account: account},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToSelf, stanza.TypeGet):    v.own,
			key(host.ToSelf, stanza.TypeSet):    v.set,
			key(host.ToAccount, stanza.TypeGet): v.others,
			key(host.ToAccount, stanza.TypeSet): refuse,
		},
	}
}

func key(t host.Target, typ string) host.IQKey {
	return host.IQKey{Target: t, Type: typ, Space: ns.VCard, Local: "vCard"}
}

// "If no vCard exists, the server MUST return a stanza error (which SHOULD be <item-not-found/>)" (section 3.1).
func (v vcards) own(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	return v.get(iq, iq.From.Bare(), stanza.NewError(stanza.ItemNotFound, ""))
}

// "The server MUST return the same error condition in both cases", of no vCard and of no user, "to help prevent directory
// harvesting attacks", and that is service-unavailable (section 3.3).
func (v vcards) others(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	return v.get(iq, iq.To, stanza.NewError(stanza.ServiceUnavailable, ""))
}

func (v vcards) get(iq *host.IQ, whose jid.JID, none *stanza.Error) (*xmlstream.Element, error) {
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		card, err := v.load(ctx, whose)
		if err == nil {
			card, err = v.withPhoto(ctx, whose, iq.From, card)
		}
		switch {
		case err != nil:
			return nil, v.failed(iq, err)
		case card == nil:
			return nil, none
		}
		return card, nil
	})
}

// load reads a vCard; nil when there is none.
func (v vcards) load(ctx context.Context, whose jid.JID) (*xmlstream.Element, error) {
	stored, err := v.opts.Store.Value(ctx, v.key(whose))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return xmlstream.ParseElement(stored, limits)
}

func (v vcards) set(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	card := iq.Payload()
	if n := card.XMLSize(""); n > maxBytes {
		return nil, stanza.NewError(stanza.PolicyViolation, fmt.Sprintf("the vCard has %d bytes, %d are allowed", n, maxBytes))
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		kept, err := v.takePhoto(ctx, iq.From, card)
		if err == nil {
			err = v.opts.Store.SetValue(ctx, v.key(iq.From), kept.AppendXML(nil, ""), 0)
		}
		if err != nil {
			return nil, v.failed(iq, err)
		}
		return nil, nil
	})
}

// failed is what is said of a store that cannot be used now: a client may try again. Other errors are faults of ours.
func (v vcards) failed(iq *host.IQ, err error) error {
	if !store.Passes(err) {
		return err
	}
	v.opts.Log.Warn("a vCard cannot be read or stored", "from", iq.From.String(), "error", err)
	return stanza.NewError(stanza.ResourceConstraint, "vCards cannot be read or stored just now; try again later")
}

// refuse: a set for somebody else "MUST return a stanza error, which SHOULD be <forbidden/> or <not-allowed/>" (section 3.2).
func refuse(context.Context, *host.IQ) (*xmlstream.Element, error) {
	return nil, stanza.NewError(stanza.Forbidden, "")
}

func (v vcards) key(whose jid.JID) store.Key {
	return store.Key{Host: v.opts.Host, Username: whose.Local(), Space: Space}
}
