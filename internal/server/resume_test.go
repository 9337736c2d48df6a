package server_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// talk is a client in a test about lost connections.
type talk struct {
	t *testing.T
	*xmpptest.Client
}

func arrive(t *testing.T, w *xmpptest.World, user, resource string) talk {
	t.Helper()
	c, err := w.Connect(t.Context(), user, resource)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return talk{t, c}
}

func (c talk) send(xml string) {
	c.t.Helper()
	if err := c.Send(xml); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
}

// until receives until an element has all these words.
func (c talk) until(words ...string) *xmlstream.Element {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Hour)
	defer cancel()
	for {
		el, err := c.Receive(ctx)
		if err != nil {
			c.t.Fatalf("%v: %v", words, err)
		}
		found := true
		for _, word := range words {
			found = found && strings.Contains(el.String(), word)
		}
		if found {
			return el
		}
	}
}

// friends are two users who see each other; marie's session is managed.
func friends(t *testing.T, test func(t *testing.T, w *xmpptest.World, john, marie talk)) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("john", `{"marie@localhost": {}}`)
		service.Set("marie", `{"john@localhost": {}}`)
		w, err := xmpptest.Start(t, service, xmpptest.Options{Config: []string{"limits.resume = '1m'"}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		john, marie := arrive(t, w, "john", "phone"), arrive(t, w, "marie", "phone")
		defer john.Close()
		defer marie.Close()
		john.send("<presence/>")
		marie.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		marie.until("<enabled ")
		marie.send("<presence/><iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
		john.until("<presence ", "from='marie@localhost/phone'")
		marie.until("<presence ", "from='john@localhost/phone'")
		test(t, w, john, marie)
	})
}

// While her connection is lost, marie stays in everybody's view; then she is gone, and what waited for her goes to her
// other clients, or back.
func TestLostConnectionIsNotResumed(t *testing.T) {
	for _, other := range []bool{false, true} {
		friends(t, func(t *testing.T, w *xmpptest.World, john, marie talk) {
			marie.Close()
			john.send("<message to='marie@localhost/phone' type='chat' id='m1'><body>Are you there?</body></message>" +
				"<iq to='marie@localhost/phone' type='get' id='q1'><query xmlns='jabber:iq:version'/></iq>")
			var tablet talk
			if other {
				tablet = arrive(t, w, "marie", "tablet")
				defer tablet.Close()
				tablet.send("<presence/>")
			}
			time.Sleep(59 * time.Second) // of the bubble's clock
			john.send("<iq type='get' id='barrier'><ping xmlns='urn:xmpp:ping'/></iq>")
			for el := john.until("'"); el.Attr("id") != "barrier"; el = john.until("'") {
				if el.Attr("type") == "unavailable" {
					t.Errorf("too early: %s", el)
				}
			}
			time.Sleep(2 * time.Second)
			john.until("<presence ", "from='marie@localhost/phone'", "type='unavailable'")
			if other {
				john.until("id='q1'", "type='error'", "recipient-unavailable")
				tablet.until("<message ", "id='m1'", "<delay ", "stamp='2000-01-01T00:00:")
			} else {
				back := arrive(t, w, "marie", "laptop")
				defer back.Close()
				back.send("<presence/>")
				back.until("<message ", "id='m1'", "<delay ", "stamp='2000-01-01T00:00:")
			}
		})
	}
}

// A client that comes back as a new session of the same resource gets what waited for the old one.
func TestLostConnectionIsReplaced(t *testing.T) {
	friends(t, func(t *testing.T, w *xmpptest.World, john, marie talk) {
		marie.Close()
		john.send("<message to='marie@localhost/phone' type='chat' id='m1'><body>Are you there?</body></message>")
		again := arrive(t, w, "marie", "phone")
		defer again.Close()
		again.until("<message ", "id='m1'", "<delay ")
	})
}

// Roster pushes wait for a client that has lost its connection (the contract's section 5), and another user's id is of no
// use (attack case 31).
func TestPushesWaitForLostConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("marie", `{}`)
		service.Set("john", `{}`)
		w, err := xmpptest.Start(t, service, xmpptest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		marie := arrive(t, w, "marie", "phone")
		marie.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
		marie.until("id='roster'")
		marie.send("<enable xmlns='urn:xmpp:sm:3' resume='1'/>")
		id := marie.until("<enabled ").Attr("id")
		marie.Close()
		service.Set("marie", `{"john@localhost": {"name": "John"}}`)
		if status, answer, err := w.Notify("", "?detail=1", `["marie"]`); err != nil || status != 200 || !strings.Contains(string(answer), `"changed"`) {
			t.Errorf("%d %s %v", status, answer, err)
		}
		for user, want := range map[string]string{"john": "<item-not-found ", "marie": "name='John'"} {
			c, err := w.SignIn(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			k := talk{t, c}
			k.send("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
			k.until(want)
			c.Close()
		}
	})
}

// What was delivered while the disk could not be told is told when it can (TestWorld, seed 1028).
func TestDeliveredWhileTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := xmpptest.NewDisk(nil)
		service := xmpptest.NewService()
		service.Set("john", "{}")
		service.Set("marie", "{}")
		w, err := xmpptest.Start(t, service, xmpptest.Options{Disk: disk})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		john := arrive(t, w, "john", "phone")
		defer john.Close()
		john.send("<message to='marie@localhost' type='chat' id='m1'><body>Are you there?</body></message>")
		time.Sleep(time.Second) // of the bubble's clock
		disk.Fail(xmpptest.ReadOnly)
		marie := arrive(t, w, "marie", "phone")
		defer marie.Close()
		marie.send("<presence/>")
		marie.until("<message ", "id='m1'")
		for _, resource := range []string{"tablet", "web"} { // when the first comes the disk fails still
			other := arrive(t, w, "marie", resource)
			defer other.Close()
			other.send("<presence/>")
			time.Sleep(time.Second)
			disk.Fail(xmpptest.Works)
		}
		for _, m := range disk.All() {
			if m.Undelivered {
				t.Errorf("still waits: %s", m.Stanza)
			}
		}
	})
}
