package e2e

import "testing"

// What a user of slixmpp says and hears shows at the user's xmpp.js, and the other way round; and only there (XEP-0280).
func TestCarbons(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	john, marie := friends(t, r, slixmppTLS, slixmppSTARTTLS)
	tablet, quiet := xmppjsWSS.signIn(t, r, "john"), xmppjsTLS.signIn(t, r, "john")
	for _, c := range []*client{john, tablet} {
		c.send(command{Do: "carbons"})
		c.wait("the answer", func(e event) bool { return e.Event == "carbons-done" })
	}

	john.says("from the phone", marie)
	tablet.copied("sent", john.jid, marie.jid, "from the phone")
	marie.says("to the phone", john)
	tablet.copied("received", marie.jid, john.jid, "to the phone")
	tablet.says("from the tablet", marie)
	john.copied("sent", tablet.jid, marie.jid, "from the tablet")
	marie.says("to the tablet", tablet)
	john.copied("received", marie.jid, tablet.jid, "to the tablet")
	john.says("to myself", tablet)
	for _, c := range []*client{john, tablet, quiet, marie} {
		c.quiet("copy")
	}
}

// copied waits for a copy.
func (c *client) copied(kind, from, to, body string) {
	c.t.Helper()
	c.wait("a copy of "+body, func(e event) bool {
		return e.Event == "copy" && e.Type == kind && e.From == from && e.To == to && e.Body == body
	})
}
