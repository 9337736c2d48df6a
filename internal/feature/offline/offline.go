// Package offline says that messages wait for users who are offline (XEP-0160 v1.0.1). They do so in host: what waits and
// what is in somebody's hands are one thing there (host/mail.go).
package offline

import "rollcall/internal/host"

// New makes the feature.
func New() host.Feature {
	return host.Feature{Name: "offline", Disco: host.Disco{Host: []string{"msgoffline"}}}
}
