package e2e

import (
	"fmt"
	"slices"
	"testing"

	"rollcall/internal/store/storetest"
)

// What a user's client keeps at the server is there for the user's other client, and after the server has died: a vCard (XEP-0054),
// private XML (XEP-0049), and private nodes (XEP-0402 by XEP-0223); in SQLite and in PostgreSQL, which starts anew as well.
func TestWhatUsersKeep(t *testing.T) {
	t.Parallel()
	keeper := slixmppWith("slixmpp that keeps", "keeps")
	has := func(c *client, want string) {
		t.Helper()
		c.send(command{Do: "kept"})
		if e := c.wait("what is kept", func(e event) bool { return e.Event == "kept" }); !slices.Equal(e.JIDs, []string{want, want, want}) {
			t.Errorf("%s finds %q, want %q", c.label, e.JIDs, want)
		}
	}
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		t.Run(database, func(t *testing.T) {
			tables, again := "", func() {}
			if database == "PostgreSQL" {
				server := storetest.Start(t, true)
				tables = fmt.Sprintf("[database]\nurl = %q\n", server.Schema(t))
				again = func() { server.Crash(t); server.Start(t) }
			}
			s := startService(t)
			r := startWith(t, tables, s.rosterURL(), "john")
			r.service = s
			john := keeper.signIn(t, r, "john")
			for _, name := range []string{"The Orcard", "The Orchard \u2013 <\U0001F34E>"} {
				john.send(command{Do: "keep", Body: name})
				john.wait("the answers", func(e event) bool { return e.Event == "keep-done" })
				tablet := keeper.signIn(t, r, "john")
				has(tablet, name)
				tablet.quit()
			}
			r.kill()
			john.closed()
			again()
			r.run()
			has(keeper.signIn(t, r, "john"), "The Orchard \u2013 <\U0001F34E>")
		})
	}
}

// What a user of slixmpp listens to (XEP-0118 by XEP-0163) is heard by the contacts who may know, at once and when they come
// later, over a restart of the server; and no more when the application says that they are contacts no longer.
func TestPersonalEventing(t *testing.T) {
	t.Parallel()
	curious, old := slixmppWith("slixmpp with PEP", "pep"), slixmppWith("slixmpp with photos in vCards", "photos")
	r := start(t, "john", "marie")
	john, marie := friends(t, r, curious, curious)
	play := func(title string) {
		t.Helper()
		john.send(command{Do: "tune", Body: title})
		john.wait("the answer", func(e event) bool { return e.Event == "tune-done" })
	}
	hears := func(c *client, title string) {
		t.Helper()
		c.wait("the tune "+title, func(e event) bool { return e.Event == "tune" && e.From == "john@localhost" && e.Body == title })
	}
	marie.settle() // she has said what she wants to hear of
	play("Music for \"Love's Labors Lost\"")
	hears(marie, "Music for \"Love's Labors Lost\"")
	hears(john, "Music for \"Love's Labors Lost\"")

	// A picture (XEP-0084) is in the vCard and in presence, and one in a vCard (XEP-0153) is an avatar (XEP-0398).
	shows := func(hash, typ string) {
		t.Helper()
		marie.wait("the avatar", func(e event) bool {
			return e.Event == "avatar" && e.From == "john@localhost" && e.Body == hash && e.Type == typ
		})
		marie.wait("the photo in presence", func(e event) bool { return e.Event == "presence" && e.From == john.jid && e.Photo == hash })
		marie.send(command{Do: "picture", To: "john@localhost"})
		if e := marie.wait("the picture", func(e event) bool { return e.Event == "picture" }); !slices.Equal(e.JIDs, []string{hash, hash}) {
			t.Errorf("marie finds %q, want twice %s", e.JIDs, hash)
		}
	}
	john.send(command{Do: "avatar", Body: "iVBORw0KGgo="})
	john.wait("the answer", func(e event) bool { return e.Event == "avatar-done" })
	shows("4caece539b039b16e16206ea2478f8c5ffb2ca05", "image/png")
	desk := old.signIn(t, r, "john")
	desk.send(command{Do: "photo", Body: "R0lGODlhAQABAAAAACw="})
	desk.wait("the answer", func(e event) bool { return e.Event == "photo-done" })
	shows("470f22af41a0856eff4fa6dd8b394a81149cfbd6", "image/gif")
	desk.quit()

	marie.quit()
	john.seesGone(marie)
	r.process.stop(t)
	john.closed()
	r.run()
	marie = curious.signIn(t, r, "marie")
	marie.roster()
	marie.available("back")
	hears(marie, "Music for \"Love's Labors Lost\"") // though john is not there

	john = curious.signIn(t, r, "john")
	john.roster()
	john.available("here")
	john.sees(marie, "back")
	r.change("john", `{}`)
	marie.seesGone(john)
	play("Something private")
	hears(john, "Something private")
	marie.quiet("tune")
}
