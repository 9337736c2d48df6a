package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// smack is the Java library of many Android clients. It keeps rosters in a folder between sessions.
func smack(store string) kind {
	return kind{"Smack over STARTTLS", "", "SCRAM-SHA-1", func(t *testing.T, r *rollcall, user, password string) *client {
		java := program(t, "Java", "java")
		folder := filepath.Join("bin", "smack")
		if _, err := os.Stat(filepath.Join(folder, "SmackClient.class")); err != nil {
			missing(t, "Smack")
		}
		options := slixmppOptions(r, false, user, password)
		options["store"] = store
		paths := folder + string(os.PathListSeparator) + filepath.Join(folder, "*")
		return open(t, user, exec.Command(java, "-XX:TieredStopAtLevel=1", "-cp", paths, "SmackClient"), options)
	}}
}

// In Smack's roster the application's contacts are as the application has them: with groups, renamed, in other groups, gone; when
// that happens while it watches, while its network is away, and while it is not there, when it is told no more than what changed.
func TestSmack(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	store := t.TempDir()
	phone := smack(store)
	friend := func(name string, groups ...string) item {
		return item{JID: "marie@localhost", Name: name, Groups: groups, Subscription: "both"}
	}
	john, marie := friends(t, r, phone, xmppjsWSS)
	whole := func(c *client) bool {
		return slices.ContainsFunc(c.settle(), func(e event) bool { return e.Event == "whole" })
	}
	if !whole(john) {
		t.Error("the first roster did not come")
	}

	anna := item{JID: "anna@localhost", Name: "Anna", Subscription: "to"}
	r.change("john", `{"marie@localhost": {"name": "Marie <& Co> \"é\"", "groups": ["Work", "Friends"]}, "anna@localhost": {"name": "Anna", "subscription": "to"}}`)
	john.pushed(friend(`Marie <& Co> "é"`, "Friends", "Work"))
	john.pushed(anna)
	r.change("john", `{"marie@localhost": {"name": "Marie", "groups": ["Work", "Chess"]}, "anna@localhost": {"name": "Anna", "subscription": "to"}}`)
	john.pushed(friend("Marie", "Chess", "Work"))
	r.change("john", `{"marie@localhost": {"name": "Marie"}}`)
	john.pushed(friend("Marie"))
	john.pushed(item{JID: "anna@localhost", Subscription: "remove"})
	if got := john.roster(); len(got) != 1 || got["marie@localhost"].Name != "Marie" || len(got["marie@localhost"].Groups) != 0 {
		t.Errorf("Smack's roster: %+v", got)
	}

	john.says("Hello, Marie", marie)
	marie.says("Bonjour", john)
	john.send(command{Do: "archive", To: "marie@localhost"})
	if e := john.wait("the archive", func(e event) bool { return e.Event == "archive" }); !slices.Equal(e.Bodies, []string{"Hello, Marie", "Bonjour"}) {
		t.Errorf("the archive has %q", e.Bodies)
	}
	john.send(command{Do: "carbons"})
	john.wait("the answer", func(e event) bool { return e.Event == "carbons-done" })
	tablet := xmppjsWSS.signIn(t, r, "john")
	tablet.says("from the tablet", marie)
	john.copied("sent", tablet.jid, marie.jid, "from the tablet")
	tablet.quit()

	john.send(command{Do: "cut"})
	if e := john.wait("its return", func(e event) bool { return e.Event == "online" }); e.Type != "resumed" || e.JID != john.jid {
		t.Errorf("it is back as %+v, want the session %s", e, john.jid)
	}
	r.change("john", `{"marie@localhost": {"name": "Marie Curie"}}`)
	john.pushed(friend("Marie Curie"))

	john.quit()
	marie.seesGone(john)
	r.change("john", `{"marie@localhost": {"name": "Marie Curie", "groups": ["Physics"]}, "anna@localhost": {"name": "Anna", "subscription": "to"}}`)
	john = phone.signIn(t, r, "john")
	john.wait("Marie in another group", func(e event) bool { // it may see her as the folder has her, before or after
		return e.Event == "push" && e.JID == "marie@localhost" && slices.Equal(e.Groups, []string{"Physics"})
	})
	john.pushed(anna)
	if got := john.roster(); len(got) != 2 {
		t.Errorf("Smack's roster: %+v", got)
	}
	if whole(john) {
		t.Error("the roster came as a whole, to a client that has one")
	}
	john.quit()
}
