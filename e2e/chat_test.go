package e2e

import "testing"

// friends signs two users in who know each other, and waits until each sees the other.
func friends(t *testing.T, r *rollcall, johns, maries kind) (john, marie *client) {
	t.Helper()
	r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
	r.service.set("marie", `{"john@localhost": {"name": "John"}}`)
	john = johns.signIn(t, r, "john")
	john.roster()
	john.available("here")
	john.sees(john, "here")
	marie = maries.signIn(t, r, "marie")
	marie.roster()
	marie.available("there")
	marie.sees(john, "here")
	john.sees(marie, "there")
	return john, marie
}

// Two users of different clients see each other come and go, and talk.
func TestChat(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	pairs := [][2]kind{{slixmppSTARTTLS, xmppjsWSS}, {xmppjsTLS, slixmppTLS}, {xmppjsWS, xmppjsSTARTTLS}}
	for _, p := range pairs {
		t.Run(p[0].name+" and "+p[1].name, func(t *testing.T) {
			john, marie := friends(t, r, p[0], p[1])

			john.says("Hello, Marie", marie)
			marie.says("Bonjour ! <b>&amp;</b> ]]> \U0001F44B\n\ttwo lines", john)
			john.send(command{Do: "message", To: "marie@localhost", Body: "to every Marie"})
			marie.hears(john.jid, "to every Marie")

			marie.send(command{Do: "presence", Show: "away", Status: "lunch"})
			john.sees(marie, "lunch")
			marie.quit()
			john.seesGone(marie)
			john.quit()
		})
	}
}

// A client that dies without a word is seen to leave.
func TestCrashedClient(t *testing.T) {
	t.Parallel()
	// xmpp.js uses stream management, so that its session outlives the crash by this much.
	s := startService(t)
	r := startWith(t, "[limits]\nresume = \"1s\"\n", s.rosterURL(), "john", "marie")
	r.service = s
	for _, k := range []kind{slixmppSTARTTLS, xmppjsWSS} {
		t.Run(k.name, func(t *testing.T) {
			john, marie := friends(t, r, slixmppTLS, k)
			if err := marie.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			john.seesGone(marie)
			john.quit()
		})
	}
}
