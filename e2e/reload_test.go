package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The configuration is read again a hundred times, every third time with a mistake in it, while contacts change and messages go
// back and forth: nobody is disconnected, no notification fails, and no message is lost.
func TestReload(t *testing.T) {
	t.Parallel()
	r := start(t, "john", "marie")
	r.service.set("john", `{"marie@localhost": {}}`)
	r.service.set("marie", `{"john@localhost": {}}`)
	john, marie := slixmppTLS.signIn(t, r, "john"), xmppjsWSS.signIn(t, r, "marie")
	for _, c := range []*client{john, marie} {
		c.roster()
		c.available("there")
	}
	john.sees(marie, "there")
	marie.sees(john, "there")

	text, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 100
	for i := range rounds {
		config := strings.Replace(string(text), "/contacts/%s", fmt.Sprintf("/contacts/%%s?round=%d", i), 1)
		says, times := `msg="configuration read again"`, i-i/3+1
		if i%3 == 2 {
			config += "roster.tiemout = \"1s\"\n"
			says, times = "did you mean timeout", i/3+1
		}
		if err := os.WriteFile(r.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		john.says(fmt.Sprintf("message %d", i), marie)
		r.change("john", fmt.Sprintf(`{"marie@localhost": {"name": "Marie %d"}}`, i))
		john.pushed(item{JID: "marie@localhost", Name: fmt.Sprintf("Marie %d", i), Subscription: "both"})
		r.process.waitCount(t, says, times)
	}
	if strings.Contains(r.process.output.String(), "session closed") {
		t.Error("a session has ended")
	}
}
