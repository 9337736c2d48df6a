package server_test

import (
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
	"rollcall/internal/server"
)

// Attack case 60: what keeps a server from starting is said without the secrets that it was configured with: those in the file, in
// files that it names, and in the URL of a database that is not there.
func TestCanariesAtTheStart(t *testing.T) {
	const host = "[[host]]\nname = 'localhost'\n"
	dir := t.TempDir()
	certtest.New(t, "localhost").Write(t, dir)
	for name, text := range map[string]string{
		"canary.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(canarySigning)})),
		"short.key":  "-----BEGIN PRIVATE KEY-----\n" + canarySigning,
		"secret.jwk": `{"kty": "oct", "k": "` + canarySigning + `"}`,
		"lines":      canaryToken + "\nx y" + canaryToken + "\n",
		"none":       "postgres:/" + canaryPassword + "@",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ROLLCALL_CANARY", canaryToken+" x")
	for _, text := range []string{
		"database.url = 'postgres://rollcall:" + canaryPassword + "@127.0.0.1:1/rollcall'\n" + host,
		"database.url = 'postgres://rollcall:" + canaryPassword + "@127.0.0.1:1/rollcall?sslmode=" + canaryQuery + "'\n" + host,
		"database.url = 'postgres://rollcall:" + canaryPassword + "%zz@127.0.0.1/rollcall'\n" + host,
		"database.url = 'mysql://rollcall:" + canaryPassword + "@127.0.0.1/rollcall'\n" + host,
		"database.url_file = 'none'\n" + host,
		"tls = { cert = 'cert.pem', key = 'canary.key' }\n" + host,
		"tls = { cert = 'cert.pem', key = 'short.key' }\n" + host,
		"tls = { cert = 'canary.key', key = 'canary.key' }\n" + host,
		"admin.client_ca = 'canary.key'\n" + host,
		"admin.token = 'x " + canaryToken + "'\n" + host,
		"admin.token = ['" + canaryToken + "', 7]\n" + host,
		"admin.token_file = 'lines'\n" + host,
		"admin.token_env = 'ROLLCALL_CANARY'\n" + host,
		"admin.webhook_secret = '" + canaryToken + "'\n" + host,
		"admin.tokens = '" + canaryToken + "'\n" + host,
		"admin.token = '" + canaryToken + "\n" + host,
		host + "auth = { method = 'jwt', jwt.key_file = 'canary.key' }\n",
		host + "auth = { method = 'jwt', jwt.key_file = 'secret.jwk' }\n",
		host + "auth = { method = 'jwt', jwt.secret = '" + canaryToken + "' }\n",
		host + "auth = { method = 'http', url = 'http://127.0.0.1:1/auth', credentials = '" + canaryCredentials + "' }\n",
		host + "auth = { method = 'http', url = 'http://x:" + canaryPassword + "@127.0.0.1:1/auth' }\n",
		host + "roster = { url = 'http://x:" + canaryPassword + "@127.0.0.1:1/%s' }\n",
		host + "roster = { url = 'http://127.0.0.1:1/%s', token = '" + canaryRoster + " x' }\n",
		host + "webhooks = { url = 'http://x:" + canaryPassword + "@127.0.0.1:1/', secret = '" + canaryWebhook + "' }\n",
		host + "webhooks = { url = 'http://127.0.0.1:1/', secret = 'x" + canaryWebhook + "' }\n",
		host + "profile = { url = 'http://x:" + canaryPassword + "@127.0.0.1:1/%s', token = '" + canaryProfileKey + " x' }\n",
	} {
		var log buffer
		cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), []byte("data_dir = ''\n"+text))
		if err == nil {
			_, err = server.New(t.Context(), cfg, server.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				Version: "test", LeaveMemory: true})
		}
		if err == nil {
			t.Errorf("the server would start with\n%s", text)
			continue
		}
		look(t, "the log of "+strings.SplitN(text, "'", 2)[0], log.String())
		look(t, "what is said of "+strings.SplitN(text, "'", 2)[0], fmt.Sprintf("%v %+v", err, err))
	}
}
