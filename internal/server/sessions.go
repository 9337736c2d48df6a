package server

import (
	"context"

	"rollcall/internal/admin"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// sessions shows the admin API the sessions of a host.
type sessions struct {
	host     *host.Host
	registry *host.Registry
}

// List implements admin.Sessions.
func (s sessions) List(user string) []admin.SessionInfo {
	var all []*session.Session
	if user == "" {
		all = s.host.Sessions()
	} else if account, err := jid.New(user, s.host.Name(), ""); err == nil {
		all = s.registry.Sessions(account)
	}
	list := make([]admin.SessionInfo, 0, len(all))
	for _, one := range all {
		info := one.Info()
		priority, available := one.Available()
		list = append(list, admin.SessionInfo{
			JID: one.JID().String(), Transport: info.Transport, Remote: info.RemoteAddr, Secure: info.Secure,
			TLS: info.TLSVersion, Cipher: info.Cipher, Since: one.Since().UTC(), Available: available, Priority: priority,
			Idle: int64(one.Idle().Seconds()), Detached: one.Detached(),
		})
	}
	return list
}

// End implements admin.Sessions. The stream error is policy-violation (RFC 6120 section 4.9.3.14): unlike reset it does
// not ask the client to come back at once, and unlike conflict it does not say that somebody else took its place.
func (s sessions) End(ctx context.Context, full string) bool {
	j, err := jid.Parse(full)
	if err != nil {
		return false
	}
	one := s.registry.Session(j)
	if one == nil {
		return false
	}
	one.Close(&stanza.StreamError{Condition: stanza.StreamPolicyViolation, Text: "ended by an operator"})
	select {
	case <-one.Ended():
	case <-ctx.Done():
	}
	return true
}
