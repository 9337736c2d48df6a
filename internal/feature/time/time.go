// Package time tells the host's time (XEP-0202 v2.0).
package time

import (
	"context"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// New makes the feature; now is the clock.
func New(now func() time.Time) host.Feature {
	tell := func(context.Context, *host.IQ) (*xmlstream.Element, error) {
		t := now()
		return xmlstream.New(ns.Time, "time").Append(
			xmlstream.New(ns.Time, "tzo").AppendText(t.Format("-07:00")),
			xmlstream.New(ns.Time, "utc").AppendText(t.UTC().Format("2006-01-02T15:04:05Z"))), nil
	}
	return host.Feature{
		Name:  "time",
		Disco: host.Disco{Host: []string{ns.Time}},
		IQ: map[host.IQKey]host.IQHandler{
			{Target: host.ToHost, Type: stanza.TypeGet, Space: ns.Time, Local: "time"}: tell,
		},
	}
}
