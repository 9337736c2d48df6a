package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

// slixmpp prefers a user's certificate, made as docs/sign-in.md says, to the password; with one of an authority that is
// not the host's it needs the password.
func TestUsersCertificate(t *testing.T) {
	t.Parallel()
	ours, theirs := t.TempDir(), t.TempDir()
	certifiedUsers(t, ours, "john")
	certifiedUsers(t, theirs, "john")
	r := startAs(t, fmt.Sprintf("auth.client_ca = %q", filepath.Join(ours, "users-ca.pem")))
	r.addUser("john")
	r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
	for name, direct := range map[string]bool{"STARTTLS": false, "direct TLS": true} {
		t.Run(name, func(t *testing.T) {
			by := func(dir string) kind {
				return slixmppCertified("slixmpp with a certificate over "+name, direct, filepath.Join(dir, "john.pem"), filepath.Join(dir, "john.key"))
			}
			for given, want := range map[string]string{password: "SCRAM-SHA-256", "wrong horse": "not-authorized"} {
				if got := signInResult(t, by(theirs), r, "john", given); got != want {
					t.Errorf("with a certificate of somebody else's: %s, want %s", got, want)
				}
			}
			c := by(ours).signIn(t, r, "john")
			if got := c.roster()["marie@localhost"].Name; got != "Marie" {
				t.Errorf("the contact is %q", got)
			}
			c.quit()
		})
	}
}
