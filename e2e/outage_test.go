package e2e

import (
	"net/http"
	"testing"
)

// A service that is broken when a user signs in costs the user the contact list, not the session; when it recovers, the
// list arrives as pushes.
func TestServiceDown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault answer
		kind  kind
	}{
		{"404", answer{http.StatusNotFound, "application/json", `{}`}, slixmppSTARTTLS},
		{"503", answer{http.StatusServiceUnavailable, "text/plain", "try later"}, xmppjsWSS},
		{"HTML", answer{http.StatusOK, "text/html", "<!DOCTYPE html><title>Sign in</title>"}, xmppjsTLS},
		{"hangs up", answer{status: hangUp}, slixmppTLS},
		{"says nothing", answer{status: silence}, xmppjsWS},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// A server that has never had a roster, every time.
			r := start(t, "john", "marie")
			r.service.fail(c.fault)
			john := c.kind.signIn(t, r, "john")
			john.available("waiting")
			john.sees(john, "waiting")
			john.send(command{Do: "roster"})
			e := john.wait("an answer to its roster request", func(e event) bool {
				return e.Event == "roster-error" || e.Event == "roster"
			})
			if e.Event != "roster-error" || e.Type != "wait" || e.Condition != "remote-server-timeout" {
				t.Fatalf("got %+v, want a roster-error of type wait, remote-server-timeout", e)
			}
			john.settle() // the stream is open

			r.service.recover()
			r.notify("john") // whatever comes of it: it shows that the service answers, and nobody waits for the next probe
			r.service.set("marie", `{"john@localhost": {"name": "John"}}`)
			marie := xmppjsTLS.signIn(t, r, "marie")
			marie.roster()
			marie.available("there")
			r.change("john", `{"marie@localhost": {"name": "Marie"}, "anna@localhost": {"name": "Anna"}}`)
			john.pushed(item{JID: "marie@localhost", Name: "Marie", Subscription: "both"})
			john.pushed(item{JID: "anna@localhost", Name: "Anna", Subscription: "both"})
			john.sees(marie, "there")
			marie.sees(john, "waiting")
			if got := john.roster(); len(got) != 2 {
				t.Errorf("roster after the recovery: %v, want two contacts", got)
			}
		})
	}
}

// Nobody has to say that the service is back: the server asks again by itself.
func TestServiceRecoversByItself(t *testing.T) {
	t.Parallel()
	r := start(t, "john")
	r.service.fail(answer{http.StatusInternalServerError, "text/plain", "oops"})
	john := slixmppSTARTTLS.signIn(t, r, "john")
	john.available("waiting")
	john.send(command{Do: "roster"})
	john.wait("a roster error", func(e event) bool { return e.Event == "roster-error" })
	r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
	r.service.recover()
	john.pushed(item{JID: "marie@localhost", Name: "Marie", Subscription: "both"})
}

// A service that breaks while users are online takes nothing away from them.
func TestServiceBreaksLater(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	john, marie := friends(t, r, slixmppSTARTTLS, xmppjsWSS)
	r.service.fail(answer{http.StatusNotFound, "text/html", "<h1>Not found</h1>"})
	if got := r.notify("john", "nobody"); got.Updated+got.Errors != 2 || got.Errors < 1 {
		t.Errorf("refresh while the service is broken: %+v, want an error for john", got)
	}
	john.quiet("push")
	john.says("still here?", marie)
	marie.says("yes", john)
	if got := john.roster()["marie@localhost"].Name; got != "Marie" {
		t.Errorf("John's Marie is called %q", got)
	}
	r.service.recover()
	r.change("john", `{"marie@localhost": {"name": "Marie Curie"}}`)
	john.pushed(item{JID: "marie@localhost", Name: "Marie Curie", Subscription: "both"})
}
