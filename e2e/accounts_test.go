package e2e

import "testing"

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
