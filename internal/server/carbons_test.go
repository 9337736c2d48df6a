package server_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// A session that has lost its connection goes on getting copies, has them when it is resumed, and gets more then.
func TestResumedSessionGetsCopies(t *testing.T) {
	friends(t, func(t *testing.T, w *xmpptest.World, john, marie talk) {
		tablet := arrive(t, w, "marie", "tablet")
		defer tablet.Close()
		tablet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		id := tablet.until("<enabled ").Attr("id")
		tablet.send("<iq type='set' id='on'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		tablet.until("id='on'")
		tablet.Close()
		john.send("<message to='marie@localhost/phone' type='chat' id='m1'><body>Are you there?</body></message>")
		marie.send("<message to='john@localhost/phone' type='chat' id='m2'><body>I am.</body></message>")
		time.Sleep(30 * time.Second) // of the bubble's clock

		c, err := w.SignIn(t.Context(), "marie")
		if err != nil {
			t.Fatal(err)
		}
		again := talk{t, c}
		defer again.Close()
		again.send("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='1'/>")
		again.until("<resumed ")
		copied := func(el *xmlstream.Element) string {
			t.Helper()
			if from := el.Attr("from"); from != "marie@localhost" {
				t.Errorf("a copy from %s", from)
			}
			return el.First().Local + el.First().First().First().Attr("id")
		}
		var got []string
		for range 2 {
			got = append(got, copied(again.until("<message ")))
		}
		john.send("<message to='marie@localhost/phone' type='chat' id='m3'><body>Good.</body></message>")
		got = append(got, copied(again.until("<message ")))
		if s := strings.Join(got, " "); s != "receivedm1 sentm2 receivedm3" {
			t.Errorf("copies: %s", s)
		}
	})
}
