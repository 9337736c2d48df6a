package e2e

import "testing"

// Each change in the service reaches every interested client as a push, and presence follows it both ways.
func TestRefresh(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	r.service.set("john", `{}`)
	r.service.set("marie", `{}`)

	desk := slixmppSTARTTLS.signIn(t, r, "john")
	desk.roster()
	desk.available("desk")
	phone := xmppjsWSS.signIn(t, r, "john")
	phone.roster()
	phone.available("phone")
	phone.sees(desk, "desk")
	marie := xmppjsTLS.signIn(t, r, "marie")
	marie.roster()
	marie.available("there")
	marie.sees(marie, "there")
	johns := []*client{desk, phone}
	for _, c := range johns {
		c.settle()
	}

	// The application makes them friends: it changes both lists and tells of both.
	r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
	r.service.set("marie", `{"john@localhost": {"name": "John"}}`)
	if got := r.notify("john", "marie"); got.Status != "ok" || got.Updated != 2 || got.Errors != 0 {
		t.Errorf("refresh of john and marie: %+v, want two updates", got)
	}
	marie.pushed(item{JID: "john@localhost", Name: "John", Subscription: "both"})
	marie.sees(desk, "desk")
	marie.sees(phone, "phone")
	for _, c := range johns {
		c.pushed(item{JID: "marie@localhost", Name: "Marie", Subscription: "both"})
		c.sees(marie, "there")
		c.settle()
	}
	marie.settle()

	r.change("john", `{"marie@localhost": {"name": "Marie Curie"}}`)
	for _, c := range johns {
		c.pushed(item{JID: "marie@localhost", Name: "Marie Curie", Subscription: "both"})
	}
	r.change("john", `{"marie@localhost": {"name": "Marie Curie", "groups": ["Lab", "Friends"]}}`)
	for _, c := range johns {
		c.pushed(item{JID: "marie@localhost", Name: "Marie Curie", Groups: []string{"Friends", "Lab"}, Subscription: "both"})
		c.quiet("presence") // a new name or group says nothing about presence
	}
	marie.quiet("presence")

	r.change("john", `{"marie@localhost": {"name": "Marie Curie", "groups": ["Lab", "Friends"]}}`)
	for _, c := range johns {
		c.quiet("push") // nothing changed
	}

	r.change("john", `{}`)
	for _, c := range johns {
		c.pushed(item{JID: "marie@localhost", Subscription: "remove"})
		c.seesGone(marie)
	}
	marie.seesGone(desk)
	marie.seesGone(phone)
	if got := desk.roster(); len(got) != 0 {
		t.Errorf("the roster still has %v", got)
	}
}

// A notification may name users who are offline: they count as updated, and find the new roster when they come.
func TestRefreshOffline(t *testing.T) {
	t.Parallel()
	r := start(t, "john")
	r.service.set("john", `{}`)
	john := slixmppTLS.signIn(t, r, "john")
	john.roster()
	john.quit()
	r.change("john", `{"marie@localhost": {"name": "Marie"}}`)
	john = xmppjsWSS.signIn(t, r, "john")
	if got := john.roster()["marie@localhost"].Name; got != "Marie" {
		t.Errorf("John's Marie is called %q", got)
	}
}
