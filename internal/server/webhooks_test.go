package server_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/xmpptest"
)

// hooked plays with a server whose application is told of events.
func hooked(t *testing.T, more []string, play func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, told func(what string, want ...string))) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("john", `{"marie@localhost": {}}`)
		service.Set("marie", `{"john@localhost": {}}`)
		w, err := xmpptest.Start(t, service, xmpptest.Options{HostConfig: append([]string{
			`webhooks.url = "http://app/hooks"`, `webhooks.secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"`}, more...)})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		told := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			got := service.Told()
			slices.Sort(got) // of several users, in any order
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: the application was told (-want +got)\n%s", what, diff)
			}
		}
		told("when the server has started", `server.started {"host":"localhost"}`)
		play(t, w, service, told)
	})
}

const (
	johnOnline  = `user.online {"host":"localhost","jid":"john@localhost","user":"john"}`
	johnOffline = `user.offline {"host":"localhost","jid":"john@localhost","user":"john"}`
)

// A user is online with the first session that is available, and until the last one is so no more.
func TestHookPresence(t *testing.T) {
	hooked(t, nil, func(t *testing.T, w *xmpptest.World, _ *xmpptest.Service, told func(string, ...string)) {
		phone := arrive(t, w, "john", "phone")
		told("signed in")
		phone.send("<presence/>")
		told("available", johnOnline)
		phone.send("<presence><show>away</show></presence>")
		desk := arrive(t, w, "john", "desk")
		desk.send("<presence/>")
		phone.send("<presence type='unavailable'/>")
		told("another session, and the first unavailable")
		phone.send("<presence/>")
		desk.send("</stream:stream>")
		told("the second gone")
		phone.Close()
		told("all gone", johnOffline)
	})
}

// A session that has lost its connection is online until nobody comes back to it.
func TestHookLostConnection(t *testing.T) {
	hooked(t, nil, func(t *testing.T, w *xmpptest.World, _ *xmpptest.Service, told func(string, ...string)) {
		john := arrive(t, w, "john", "phone")
		john.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/>")
		told("available", johnOnline)
		john.Close()
		told("connection lost")
		time.Sleep(11 * time.Minute)
		told("not resumed", johnOffline)
	})
}

func TestHookMessage(t *testing.T) {
	const message = "<message to='marie@localhost' type='chat' id='m1'><body>Canary</body></message>"
	for _, bodies := range []bool{false, true} {
		config := `webhooks.events = ["message.offline"]`
		body := ""
		if bodies {
			config += "\nwebhooks.bodies = true"
			body = `"body":"Canary",`
		}
		synctest.Test(t, func(t *testing.T) {
			service := xmpptest.NewService()
			service.Set("john", `{"marie@localhost": {}}`)
			service.Set("marie", `{"john@localhost": {}}`)
			w, err := xmpptest.Start(t, service, xmpptest.Options{HostConfig: []string{
				`webhooks.url = "http://app/hooks"`, `webhooks.secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"`, config}})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			john := arrive(t, w, "john", "phone")
			defer john.Close()
			john.send("<presence/>" + message +
				"<message to='marie@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>" +
				"<message to='marie@localhost' type='headline'><body>News</body></message>")
			want := []string{`message.offline {` + body + `"from":"john@localhost","host":"localhost","id":"m1","jid":"marie@localhost","user":"marie"}`}
			if diff := cmp.Diff(want, service.Told()); diff != "" {
				t.Errorf("the application was told (-want +got)\n%s", diff)
			}
			marie := arrive(t, w, "marie", "phone")
			defer marie.Close()
			marie.send("<presence/>")
			john.send(message)
			if got := service.Told(); len(got) != 0 {
				t.Errorf("of a message that arrived it was told %q", got)
			}
			if strings.Contains(w.Log(), "Canary") {
				t.Error("the log has a message")
			}
		})
	}
}

// Whoever is online, a change is told once; that nothing has changed is not.
func TestHookRoster(t *testing.T) {
	hooked(t, []string{`webhooks.events = ["roster.applied", "server.started"]`}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, told func(string, ...string)) {
		john := arrive(t, w, "john", "phone")
		defer john.Close()
		john.send("<presence/>")
		service.Set("john", `{"anna@localhost": {}, "bert@localhost": {"name": "Bert"}}`)
		for range 2 {
			if status, _, err := w.Notify("", "", `["john"]`); status != 200 || err != nil {
				t.Fatal(status, err)
			}
		}
		synctest.Wait()
		got := service.Told()
		if len(got) != 1 || !strings.HasPrefix(got[0], `roster.applied {"added":2,"changed":0,"contacts":2,"host":"localhost","jid":"john@localhost","removed":1,"user":"john","version":"`) {
			t.Errorf("told %q", got)
		}
		told("no more")
	})
}

// An application that was down is told when it is back, in order.
func TestHookLater(t *testing.T) {
	hooked(t, nil, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, told func(string, ...string)) {
		service.Answer("/hooks", "503")
		john := arrive(t, w, "john", "phone")
		john.send("<presence/>")
		john.Close()
		time.Sleep(time.Minute)
		told("while it is down")
		service.Answer("/hooks", xmpptest.Fine)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{johnOnline, johnOffline}, service.Told()); diff != "" {
			t.Errorf("when it was back (-want +got)\n%s", diff)
		}
	})
}
