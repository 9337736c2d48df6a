package e2e

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// go-sendxmpp, a command-line tool that signs in, sends one message and leaves, reaches a user who is online.
func TestGoSendxmpp(t *testing.T) {
	t.Parallel()
	path := program(t, "go-sendxmpp", "go-sendxmpp")
	r := start(t, "john", "marie")
	r.service.set("john", `{}`)
	r.service.set("marie", `{}`)
	marie := xmppjsWSS.signIn(t, r, "marie")
	marie.available("there")
	marie.sees(marie, "there")

	for name, args := range map[string][]string{
		"STARTTLS":   {"-j", "localhost:" + strconv.Itoa(r.c2s)},
		"direct TLS": {"-t", "-j", "localhost:" + strconv.Itoa(r.c2sTLS)},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			args = append(args, "-u", "john@localhost", "-p", password, "marie@localhost")
			cmd := exec.CommandContext(ctx, path, args...)
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+r.ca, "HOME="+t.TempDir())
			cmd.Stdin = strings.NewReader("backup done: " + name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go-sendxmpp: %v\n%s", err, out)
			}
			marie.hears("john@localhost/", "backup done: "+name)
		})
	}
}
