package vcard

import (
	"context"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// ofProfiles makes the feature for a host whose profiles are the application's.
func (v vcards) ofProfiles() host.Feature {
	return host.Feature{
		Name:  "vcard",
		Disco: host.Disco{Host: []string{ns.VCard}, Account: []string{ns.VCard}},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToSelf, stanza.TypeGet): func(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
				return v.profile(iq, iq.From.Bare(), stanza.NewError(stanza.ItemNotFound, ""))
			},
			key(host.ToSelf, stanza.TypeSet): func(context.Context, *host.IQ) (*xmlstream.Element, error) {
				return nil, stanza.NewError(stanza.NotAllowed, "profiles are managed by the application")
			},
			key(host.ToAccount, stanza.TypeGet): v.contactsProfile,
			key(host.ToAccount, stanza.TypeSet): refuse,
		},
	}
}

// contactsProfile is for those who have the account among their contacts; to others there is no such user.
func (v vcards) contactsProfile(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	none := stanza.NewError(stanza.ServiceUnavailable, "")
	if !v.opts.Lists(iq.From.Bare(), iq.To) {
		return nil, none
	}
	return v.profile(iq, iq.To, none)
}

func (v vcards) profile(iq *host.IQ, whose jid.JID, none *stanza.Error) (*xmlstream.Element, error) {
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		card, err := v.opts.Profiles(ctx, whose.Local())
		switch {
		case err != nil: // unknown is not empty: a client is to ask again
			v.opts.Log.Debug("a profile is not known", "user", whose.String(), "error", err)
			return nil, stanza.NewError(stanza.RemoteServerTimeout, "the profile is not known just now; try again later")
		case card == nil:
			return nil, none
		}
		return card, nil
	})
}
