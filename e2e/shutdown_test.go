package e2e

import (
	"strings"
	"testing"
)

// SIGTERM ends every stream with system-shutdown, whatever carries it, and the server exits with 0.
func TestShutdown(t *testing.T) {
	t.Parallel()
	r := start(t, "john")
	r.service.set("john", `{}`)
	var clients []*client
	for _, k := range kinds {
		c := k.signIn(t, r, "john")
		c.roster()
		clients = append(clients, c)
	}
	r.process.terminate(t)
	for _, c := range clients {
		e := c.wait("a stream error", func(e event) bool { return e.Event == "stream-error" })
		if e.Condition != "system-shutdown" {
			t.Errorf("%s: stream error %s, want system-shutdown", c.label, e.Condition)
		}
		c.closed()
	}
	r.process.stop(t) // which wants exit status 0
	if strings.Contains(r.process.output.String(), password) {
		t.Error("the log has a password in it")
	}
}
