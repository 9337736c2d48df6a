package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// An administrator runs commands with slixmpp (XEP-0133): announces, adds a user, who signs in, disables one, who is out at once,
// and changes a password. A user is forbidden all of it, and so is who is an administrator no more, by rollcall user role beside the server.
func TestAdministration(t *testing.T) {
	t.Parallel()
	const other = "battery staple 17"
	r := start(t, "john", "marie")
	role := func(is string) {
		t.Helper()
		if out, err := exec.Command(binary, "user", "role", "-c", r.config, "john@localhost", is).CombinedOutput(); err != nil {
			t.Fatalf("rollcall user role: %v\n%s", err, out)
		}
	}
	role("admin")
	admin := slixmppWith("slixmpp as an administrator", "admin")
	john, marie := admin.signIn(t, r, "john"), slixmppWith("slixmpp", "admin").signIn(t, r, "marie")
	marie.send(command{Do: "presence"})
	administer := func(c *client, name, want string, fields map[string]any) event {
		t.Helper()
		c.send(command{Do: "administer", Body: name, Fields: fields})
		e := c.wait("what came of "+name, func(e event) bool { return e.Event == "administered" && e.Body == name })
		if e.Condition != want {
			t.Errorf("%s: %s %q, want %s", name, e.Condition, e.JIDs, want)
		}
		return e
	}
	commands := func(c *client) []string {
		t.Helper()
		c.send(command{Do: "commands"})
		return c.wait("the commands", func(e event) bool { return e.Event == "commands" }).JIDs
	}
	if all := commands(john); len(all) != 13 || !slices.Contains(all, "http://jabber.org/protocol/admin#announce") {
		t.Errorf("the commands are %q", all)
	}
	if all := commands(marie); len(all) > 0 {
		t.Errorf("a user is shown %q", all)
	}

	marie.settle() // her presence has been taken
	administer(john, "announce", "completed", map[string]any{"announcement": "Down at noon.\nBack at one."})
	marie.wait("the announcement", func(e event) bool {
		return e.Event == "message" && e.From == "localhost" && e.Type == "headline" && e.Body == "Down at noon.\nBack at one."
	})

	administer(john, "add-user", "completed", map[string]any{"accountjid": "carol@localhost", "password": password, "password-verify": password})
	carol := slixmppTLS.signIn(t, r, "carol")
	administer(john, "disable-user", "completed", map[string]any{"accountjids": []string{"carol@localhost"}})
	carol.wait("the end", func(e event) bool { return e.Event == "stream-error" && e.Condition == "not-authorized" })
	slixmppTLS.open(t, r, "carol", password).wait("refused", func(e event) bool { return e.Event == "auth-failed" && e.Condition == "account-disabled" })
	administer(john, "reenable-user", "completed", map[string]any{"accountjids": []string{"carol@localhost"}})
	administer(john, "change-user-password", "completed", map[string]any{"accountjid": "carol@localhost", "password": other})
	slixmppTLS.open(t, r, "carol", other).wait("signed in", func(e event) bool { return e.Event == "online" })

	if e := administer(john, "get-online-users-num", "completed", nil); len(e.JIDs) > 0 {
		t.Errorf("it is noted %q", e.JIDs)
	}
	administer(marie, "add-user", "forbidden", nil)
	role("user")
	administer(john, "announce", "forbidden", nil)
	r.hasNoSecret(password, other, "Down at noon")
}

// The same with Converse.js, in the commands that its settings show.
func TestConverseAdministers(t *testing.T) {
	t.Parallel()
	chromium, nodejs, dist, artifacts := converseNeeds(t)
	r := start(t, "alice", "bob")
	r.service.set("alice", "{}")
	if out, err := exec.Command(binary, "user", "role", "-c", r.config, "alice@localhost", "admin").CombinedOutput(); err != nil {
		t.Fatalf("rollcall user role: %v\n%s", err, out)
	}
	bob := slixmppTLS.signIn(t, r, "bob")
	bob.send(command{Do: "presence"})
	bob.settle()
	site := startSite(t, r, dist, "websocket", "register")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	visit := exec.CommandContext(ctx, nodejs, "clients/converse_administers.mjs", fmt.Sprintf("https://localhost:%d", site.port), "alice", password, chromium, artifacts)
	out, err := visit.CombinedOutput()
	t.Logf("the visit:\n%s", out)
	if err != nil {
		t.Fatalf("the visit failed: %v", err)
	}
	bob.wait("the announcement", func(e event) bool {
		return e.Event == "message" && e.Type == "headline" && e.Body == "Down at noon.\nBack at one."
	})
	bob.wait("the end", func(e event) bool { return e.Event == "stream-error" && e.Condition == "not-authorized" })
	slixmppTLS.open(t, r, "carol", password).wait("signed in", func(e event) bool { return e.Event == "online" })
	r.hasNoSecret(password, "Down at noon")
}
