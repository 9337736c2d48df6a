package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Every client signs in over every transport with SCRAM and gets the roster as the service has it.
func TestSignIn(t *testing.T) {
	t.Parallel()
	r := start(t, "john")
	r.service.set("john", `{
		"marie@localhost":   {"name": "Marie <& co>", "groups": ["Friends", "Café"]},
		"michael@localhost": {"name": "Michael", "groups": {"Work": true, "Gone": false}, "subscription": "to"},
		"anna@localhost":    {}
	}`)
	want := map[string]item{
		"marie@localhost": {
			JID: "marie@localhost", Name: "Marie <& co>", Groups: []string{"Café", "Friends"}, Subscription: "both",
		},
		"michael@localhost": {
			JID: "michael@localhost", Name: "Michael", Groups: []string{"Work"}, Subscription: "to",
		},
		"anna@localhost": {JID: "anna@localhost", Subscription: "both"},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := k.signIn(t, r, "john")
			if diff := cmp.Diff(want, c.roster(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("roster (-want +got):\n%s", diff)
			}
			c.quit()
		})
	}
}

// A wrong password is refused as such, and the client can tell it from a broken server.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	r := start(t, "john")
	for _, k := range []kind{slixmppSTARTTLS, xmppjsWSS} {
		t.Run(k.name, func(t *testing.T) {
			c := k.open(t, r, "john", "wrong horse")
			e := c.wait("a refusal", func(e event) bool { return e.Event == "auth-failed" || e.Event == "online" })
			if e.Event != "auth-failed" || e.Condition != "not-authorized" {
				t.Errorf("got %s %s, want auth-failed not-authorized", e.Event, e.Condition)
			}
		})
	}
}

// A user name that is more than ASCII letters signs in, and reaches the service as one path segment.
func TestAwkwardUserName(t *testing.T) {
	t.Parallel()
	users := map[string]kind{
		"andré": slixmppTLS, // not xmpp.js, which writes SCRAM messages in Latin-1
		"50%":   slixmppTLS,
		"a?b#c": xmppjsTLS,
		"...":   xmppjsWSS,
	}
	r := start(t, slices.Collect(maps.Keys(users))...)
	for user, k := range users {
		r.service.set(user, fmt.Sprintf(`{"marie@localhost": {"name": "Marie of %s"}}`, user))
		t.Run(user, func(t *testing.T) {
			c := k.signIn(t, r, user)
			if got := c.roster()["marie@localhost"].Name; got != "Marie of "+user {
				t.Errorf("Marie is called %q", got)
			}
			c.quit()
		})
	}
}
