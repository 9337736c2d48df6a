package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Accounts that Prosody has exported are imported beside a server that runs, and their users sign in with the passwords that they had.
// The files are what prosody-migrator 0.12.3 has written (internal/transfer/testdata/prosody).
func TestImportFromProsody(t *testing.T) {
	t.Parallel()
	r := start(t)
	folder := filepath.Join("..", "internal", "transfer", "testdata", "prosody")
	if out, err := exec.Command(binary, "user", "import", "-c", r.config, folder).CombinedOutput(); err != nil {
		t.Fatalf("rollcall user import: %v\n%s", err, out)
	}
	for user, password := range map[string]string{"john": "secret1", "marie": "secret2"} {
		c := slixmppSTARTTLS.open(t, r, user, password)
		c.wait("signed in", func(e event) bool { return e.Event == "online" })
		wrong := slixmppTLS.open(t, r, user, "secret3")
		wrong.wait("refused", func(e event) bool { return e.Event == "auth-failed" && e.Condition == "not-authorized" })
	}
}
