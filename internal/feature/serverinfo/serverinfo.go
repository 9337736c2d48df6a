// Package serverinfo tells whom to turn to about a host (XEP-0157 v1.1.1): addresses for each purpose, in the host's answer to
// service discovery (XEP-0128 v1.0.1). "Providing or advertising contact addresses may open those addresses to unwanted
// communication", so there are those that are configured, and no others.
package serverinfo

import (
	"maps"
	"slices"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/xmlstream"
)

// New makes the feature. addresses has URIs by what they are for: "abuse", "admin", "feedback", "sales", "security", "status" or
// "support".
func New(addresses map[string][]string) host.Feature {
	form := payload.Form{Type: payload.FormResults, Kind: ns.ServerInfo}
	for _, purpose := range slices.Sorted(maps.Keys(addresses)) {
		form.Fields = append(form.Fields, payload.Field{Var: purpose + "-addresses", Type: "list-multi", Values: addresses[purpose]})
	}
	f := host.Feature{Name: "serverinfo"}
	if len(form.Fields) > 0 {
		f.Disco.HostForms = []*xmlstream.Element{form.Element()}
	}
	return f
}
