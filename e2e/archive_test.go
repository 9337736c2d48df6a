package e2e

import (
	"fmt"
	"slices"
	"testing"

	"rollcall/internal/store/storetest"
)

// What users of slixmpp have said is in their archives (XEP-0313), which another client of theirs reads page by page, forwards and
// backwards, after the server has died as well; what they want left out is left out (XEP-0441). In SQLite and in PostgreSQL.
func TestArchive(t *testing.T) {
	t.Parallel()
	reader := slixmppWith("slixmpp with an archive", "archive")
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		t.Run(database, func(t *testing.T) {
			tables := ""
			if database == "PostgreSQL" {
				tables = fmt.Sprintf("[database]\nurl = %q\n", storetest.Start(t, true).Schema(t))
			}
			s := startService(t)
			r := startWith(t, tables, s.rosterURL(), "john", "marie", "eve")
			r.service = s
			john, marie := friends(t, r, reader, reader)
			var said []string
			for n := range 10 {
				from, to := john, marie
				if n%3 == 2 {
					from, to = marie, john
				}
				said = append(said, fmt.Sprintf("message %d", n))
				from.says(said[n], to)
			}
			reads := func(c *client, with, order string, want ...string) (ids []string) {
				t.Helper()
				c.send(command{Do: "archive", To: with, Show: order})
				e := c.wait("the archive", func(e event) bool { return e.Event == "archive" })
				if !slices.Equal(e.Bodies, want) {
					t.Errorf("%s reads %q, want %q", c.label, e.Bodies, want)
				}
				if with == "" && order == "" && (len(e.Ends) != 2 || e.Ends[0] != e.JIDs[0] || e.Ends[1] != e.JIDs[len(e.JIDs)-1]) {
					t.Errorf("the archive of %s goes from %q to %q", c.label, e.Ends, e.JIDs)
				}
				return e.JIDs
			}
			tablet := reader.signIn(t, r, "john")
			before := reads(tablet, "", "", said...)
			backwards := slices.Clone(said)
			slices.Reverse(backwards)
			reads(marie, "", "reverse", backwards...)

			tablet.send(command{Do: "prefer", Body: "always", JIDs: []string{"marie@localhost"}})
			if e := tablet.wait("the answer", func(e event) bool { return e.Event == "prefer-done" }); e.Body != "always" || !slices.Equal(e.JIDs, []string{"marie@localhost"}) {
				t.Errorf("the server has taken %q, never %q", e.Body, e.JIDs)
			}
			john.says("just between us", marie)
			marie.says("I keep everything", john)
			for _, c := range []*client{john, marie, tablet} {
				c.quit()
			}
			r.kill()
			r.run()
			if after := reads(reader.signIn(t, r, "john"), "marie@localhost", "", said...); !slices.Equal(before, after) {
				t.Errorf("ids were %q and are %q", before, after)
			}
			reads(reader.signIn(t, r, "marie"), "", "", append(said, "just between us", "I keep everything")...)
		})
	}
}
