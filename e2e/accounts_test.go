package e2e

import (
	"slices"
	"testing"
)

// A user of slixmpp changes the password (XEP-0077): the new one is taken at once, the old one no more, and the client stays.
func TestPasswordChange(t *testing.T) {
	t.Parallel()
	const other = "battery staple 17"
	r := start(t, "john", "marie")
	john, marie := friends(t, r, slixmppSTARTTLS, xmppjsWSS)
	john.send(command{Do: "password", Body: other})
	john.wait("the answer", func(e event) bool { return e.Event == "password-done" })
	marie.says("still there?", john)

	old := slixmppTLS.open(t, r, "john", password)
	old.wait("refused", func(e event) bool { return e.Event == "auth-failed" && e.Condition == "not-authorized" })
	tablet := slixmppTLS.open(t, r, "john", other)
	tablet.wait("signed in", func(e event) bool { return e.Event == "online" && e.Mechanism == "SCRAM-SHA-256" })
}

// Somebody without an account has slixmpp make one (XEP-0077), signs in on the same stream with SCRAM, changes the password, and removes
// the account; whose name nobody else gets.
func TestRegistration(t *testing.T) {
	t.Parallel()
	const other = "battery staple 17"
	service := startService(t)
	r := startWith(t, "", service.rosterURL()+"\"\nauth.registration = true\nauth.removal = true\nauth.client_names = \"xmpp", "john")
	r.service = service
	refused := func(c *client, condition string) {
		t.Helper()
		c.wait("refused", func(e event) bool { return e.Event == "not-registered" && e.Condition == condition })
	}
	for _, direct := range []bool{false, true} {
		registers := openSlixmpp(direct, "register")
		user := map[bool]string{false: "carol", true: "dave"}[direct]
		refused(registers(t, r, "john", password), "conflict")
		refused(registers(t, r, "admin", password), "not-acceptable")
		c := registers(t, r, user, password)
		c.wait("an account", func(e event) bool {
			return e.Event == "registered" && slices.Equal(e.JIDs, []string{"password", "username"})
		})
		c.wait("signed in", func(e event) bool { return e.Event == "online" && e.Mechanism == "SCRAM-SHA-256" })
		refused(registers(t, r, user, "another password"), "conflict")

		c.send(command{Do: "password", Body: other})
		c.wait("the answer", func(e event) bool { return e.Event == "password-done" })
		tablet := slixmppTLS.open(t, r, user, other)
		tablet.wait("signed in", func(e event) bool { return e.Event == "online" })
		tablet.send(command{Do: "cancel"})
		tablet.wait("the answer", func(e event) bool { return e.Event == "cancel-done" })
		for _, out := range []*client{tablet, c} {
			out.wait("the end", func(e event) bool { return e.Event == "stream-error" && e.Condition == "not-authorized" })
		}
		gone := slixmppTLS.open(t, r, user, other)
		gone.wait("refused", func(e event) bool { return e.Event == "auth-failed" && e.Condition == "not-authorized" })
		refused(registers(t, r, user, password), "conflict")
	}
}
