package e2e

import (
	"slices"
	"testing"
)

// A user of slixmpp (XEP-0191) blocks somebody on one device, has the other device hear of it, and unblocks.
func TestBlocking(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	john, marie := friends(t, r, slixmppSTARTTLS, xmppjsWSS)
	tablet := slixmppTLS.signIn(t, r, "john")
	for _, c := range []*client{john, tablet} {
		c.blocklist()
	}

	john.send(command{Do: "block", JIDs: []string{"marie@localhost"}})
	john.wait("the answer", func(e event) bool { return e.Event == "block-done" })
	tablet.wait("the push", func(e event) bool {
		return e.Event == "blocked" && slices.Equal(e.JIDs, []string{"marie@localhost"})
	})
	marie.seesGone(john)
	john.seesGone(marie)
	tablet.blocklist("marie@localhost")

	marie.send(command{Do: "message", To: john.jid, Body: "hello?"})
	marie.refused(john.jid, "service-unavailable")
	john.send(command{Do: "message", To: marie.jid, Body: "no"})
	john.refused(marie.jid, "not-acceptable")
	john.available("busy")
	john.quiet("message")
	marie.quiet("message")

	tablet.send(command{Do: "unblock", JIDs: []string{"marie@localhost"}})
	tablet.wait("the answer", func(e event) bool { return e.Event == "unblock-done" })
	john.wait("the push", func(e event) bool {
		return e.Event == "unblocked" && slices.Equal(e.JIDs, []string{"marie@localhost"})
	})
	marie.sees(john, "busy")
	john.sees(marie, "there")
	marie.says("hello again", john)
	john.blocklist()
}

// blocklist asks for the list and compares it.
func (c *client) blocklist(want ...string) {
	c.t.Helper()
	c.send(command{Do: "blocklist"})
	if e := c.wait("its list", func(e event) bool { return e.Event == "blocklist" }); !slices.Equal(e.JIDs, want) {
		c.t.Errorf("%s has blocked %q, want %q", c.label, e.JIDs, want)
	}
}

// refused waits for the error that answers a message.
func (c *client) refused(from, condition string) {
	c.t.Helper()
	c.wait("its message refused", func(e event) bool {
		return e.Event == "message" && e.Type == "error" && e.From == from && e.Condition == condition
	})
}
