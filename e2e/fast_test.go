package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// signedIn is what the client made with go-xmpp says of itself.
type signedIn struct{ JID, Mechanism, Token, TokenMechanism string }

// goXMPP signs john in on direct TLS.
func (r *rollcall) goXMPP(path string, args ...string) (got signedIn, failure string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	args = append([]string{"-host", "127.0.0.1:" + strconv.Itoa(r.c2sTLS), "-ca", r.ca, "-user", "john@localhost",
		"-client", "0b1f6a0e-0f4d-4f7c-8d3a-6b6a4a3f9a11"}, args...)
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return got, string(out)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		r.t.Fatalf("%v in %q", err, out)
	}
	return got, ""
}

// go-xmpp signs in by SASL2 with channel binding, checks what it was offered (XEP-0474), has its resource bound inline, and
// gets a token with which it signs in again in one round trip (XEP-0484): after a restart, and until the password changes.
func TestFAST(t *testing.T) {
	t.Parallel()
	path := program(t, "the client made with go-xmpp", "bin/goxmpp")
	r := start(t, "john")
	first, failure := r.goXMPP(path, "-password", password)
	if failure != "" {
		t.Fatal(failure)
	}
	if first.Mechanism != "SCRAM-SHA-256-PLUS" || first.TokenMechanism != "HT-SHA-256-EXPR" || first.Token == "" ||
		!strings.HasPrefix(first.JID, "john@localhost/goxmpp/") {
		t.Fatalf("signed in as %+v", first)
	}
	byToken := []string{"-password", "wrong horse", "-token", first.Token, "-token-mechanism", first.TokenMechanism}
	for _, when := range []string{"by its token", "after a restart"} {
		got, failure := r.goXMPP(path, byToken...)
		if failure != "" {
			t.Fatalf("%s: %s", when, failure)
		}
		if got.Mechanism != "HT-SHA-256-EXPR" || got.JID != first.JID {
			t.Errorf("%s: %+v, want the address %s", when, got, first.JID)
		}
		r.kill()
		r.run()
	}
	if _, failure := r.goXMPP(path, "-password", "wrong horse", "-token", first.Token[1:]+"x", "-token-mechanism", first.TokenMechanism); failure == "" {
		t.Error("another token signs in")
	}
	r.changePassword("john", "battery staple")
	if _, failure := r.goXMPP(path, byToken...); !strings.Contains(failure, "has expired") {
		t.Errorf("after the password has changed: %s", failure)
	}
	second, failure := r.goXMPP(path, "-password", "battery staple")
	if failure != "" || second.Token == "" || second.Token == first.Token {
		t.Fatalf("with the new password: %+v %s", second, failure)
	}
	byToken = []string{"-password", "wrong horse", "-token", second.Token, "-token-mechanism", second.TokenMechanism}
	if _, failure := r.goXMPP(path, append(byToken, "-invalidate")...); failure != "" {
		t.Errorf("a token is used for the last time: %s", failure)
	}
	if _, failure := r.goXMPP(path, byToken...); failure == "" {
		t.Error("a token that its client has done with signs in")
	}
}

func (r *rollcall) changePassword(user, password string) {
	r.t.Helper()
	cmd := exec.Command(binary, "user", "passwd", "-c", r.config, user+"@localhost")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("rollcall user passwd: %v\n%s", err, out)
	}
}

// xmpp.js comes back by a token, as web clients do: to the session that it had when its WebSocket was lost, with the same round
// trip (XEP-0198 in SASL2), and to a new one when the server has died. When the password has changed, the token is worth nothing,
// and the password that it has is wrong.
func TestComingBackByToken(t *testing.T) {
	t.Parallel()
	r := start(t, "john")
	r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
	persistent := kind{"xmpp.js that comes back", "", "SCRAM-SHA-1", openXMPPJS("wss://localhost:%d/xmpp-websocket",
		func(r *rollcall) int { return r.https }, "reconnect")}
	john := persistent.signIn(t, r, "john")
	john.roster()
	back := func(kind string) event {
		t.Helper()
		e := john.wait("its return", func(e event) bool { return e.Event == "online" || e.Event == "auth-failed" })
		if e.Event != "online" || e.Mechanism != "HT-SHA-256-NONE" || e.Type != kind {
			t.Errorf("it is back as %+v, want by its token, %q", e, kind)
		}
		return e
	}
	john.send(command{Do: "cut"})
	if e := back("resumed"); e.JID != john.jid {
		t.Errorf("the session that goes on is %s, not %s", e.JID, john.jid)
	}
	r.change("john", `{"marie@localhost": {"name": "Marie Curie"}}`)
	john.pushed(item{JID: "marie@localhost", Name: "Marie Curie", Subscription: "both"})

	r.kill()
	r.run()
	back("")
	if got := john.roster()["marie@localhost"].Name; got != "Marie Curie" {
		t.Errorf("the contact is %q", got)
	}

	r.changePassword("john", "battery staple")
	john.send(command{Do: "cut"})
	if e := john.wait("the end", func(e event) bool { return e.Event == "online" || e.Event == "auth-failed" }); e.Condition != "not-authorized" {
		t.Errorf("after the password has changed: %+v", e)
	}
}
