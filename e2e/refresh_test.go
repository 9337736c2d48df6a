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

	change := func(what, roster string, want item) {
		t.Helper()
		r.change("john", roster)
		for _, c := range johns {
			t.Log(what, c.label)
			c.pushed(want)
		}
	}

	change("added", `{"marie@localhost": {"name": "Marie"}}`,
		item{JID: "marie@localhost", Name: "Marie", Subscription: "both"})
	for _, c := range johns {
		c.sees(marie, "there")
	}
	marie.sees(desk, "desk")
	marie.sees(phone, "phone")

	change("renamed", `{"marie@localhost": {"name": "Marie Curie"}}`,
		item{JID: "marie@localhost", Name: "Marie Curie", Subscription: "both"})
	change("regrouped", `{"marie@localhost": {"name": "Marie Curie", "groups": ["Lab", "Friends"]}}`,
		item{JID: "marie@localhost", Name: "Marie Curie", Groups: []string{"Friends", "Lab"}, Subscription: "both"})
	for _, c := range johns {
		c.quiet("presence") // a new name or group says nothing about presence
	}
	marie.quiet("presence")

	r.change("john", `{"marie@localhost": {"name": "Marie Curie", "groups": ["Lab", "Friends"]}}`)
	for _, c := range johns {
		c.quiet("push") // nothing changed
	}

	change("removed", `{}`, item{JID: "marie@localhost", Subscription: "remove"})
	for _, c := range johns {
		c.seesGone(marie)
	}
	marie.seesGone(desk)
	marie.seesGone(phone)
	if got := desk.roster(); len(got) != 0 {
		t.Errorf("the roster still has %v", got)
	}
}

// A notification names many users; those who are offline count as updated and get the new roster when they come.
func TestRefreshMany(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	r.service.set("john", `{}`)
	r.service.set("marie", `{}`)
	marie := slixmppTLS.signIn(t, r, "marie")
	marie.roster()

	r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
	r.service.set("marie", `{"john@localhost": {"name": "John"}}`)
	if got := r.notify("john", "marie"); got.Updated != 2 || got.Errors != 0 {
		t.Errorf("refresh of john and marie: %+v, want two updates", got)
	}
	marie.pushed(item{JID: "john@localhost", Name: "John", Subscription: "both"})
	john := xmppjsWSS.signIn(t, r, "john")
	if got := john.roster()["marie@localhost"].Name; got != "Marie" {
		t.Errorf("John's Marie is called %q", got)
	}
}
