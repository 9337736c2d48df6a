// Package ping answers XMPP pings (XEP-0199 v2.0) to the host and to the sender's own account.
package ping

import (
	"context"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// New makes the feature.
func New() host.Feature {
	pong := func(context.Context, *host.IQ) (*xmlstream.Element, error) { return nil, nil }
	return host.Feature{
		Name:  "ping",
		Disco: host.Disco{Host: []string{ns.Ping}, Account: []string{ns.Ping}},
		IQ: map[host.IQKey]host.IQHandler{
			{Target: host.ToHost, Type: stanza.TypeGet, Space: ns.Ping, Local: "ping"}: pong,
			{Target: host.ToSelf, Type: stanza.TypeGet, Space: ns.Ping, Local: "ping"}: pong,
		},
	}
}
