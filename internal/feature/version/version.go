// Package version tells which software a host runs (XEP-0092 v1.1). The operating system is left out: it helps nobody
// but an attacker.
package version

import (
	"context"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// New makes the feature.
func New(name, version string) host.Feature {
	tell := func(context.Context, *host.IQ) (*xmlstream.Element, error) {
		return xmlstream.New(ns.Version, "query").Append(
			xmlstream.New(ns.Version, "name").AppendText(name),
			xmlstream.New(ns.Version, "version").AppendText(version)), nil
	}
	return host.Feature{
		Name:  "version",
		Disco: host.Disco{Host: []string{ns.Version}},
		IQ: map[host.IQKey]host.IQHandler{
			{Target: host.ToHost, Type: stanza.TypeGet, Space: ns.Version, Local: "query"}: tell,
		},
	}
}
