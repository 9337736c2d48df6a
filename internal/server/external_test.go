package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/internal/auth"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
	"rollcall/internal/ns"
	"rollcall/internal/server"
	"rollcall/internal/store"
)

// TestSignInByCertificate asks a whole server, over real connections: one host wants certificates, one does not.
func TestSignInByCertificate(t *testing.T) {
	dir := t.TempDir()
	own, ca, other := certtest.New(t, "localhost", "plain.example"), certtest.NewCA(t, "ours"), certtest.NewCA(t, "another")
	own.Write(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "users.pem"), ca.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), []byte(`
data_dir = "data"
listen = { c2s = "127.0.0.1:0", c2s_tls = "127.0.0.1:0", http = "127.0.0.1:0" }
tls = { cert = "cert.pem", key = "key.pem" }
[[host]]
name = "localhost"
auth = { method = "accounts", client_ca = "users.pem", client_names = "email" }
roster.url = "http://127.0.0.1:1/%s"
[[host]]
name = "plain.example"
roster.url = "http://127.0.0.1:1/%s"
`))
	if err != nil {
		t.Fatal(err)
	}
	addAccount(t, cfg, "john")
	s := start(t, cfg, slog.New(slog.DiscardHandler))

	good, unknown := ca.Issue(t, x509.ExtKeyUsageClientAuth, "john@localhost"), ca.Issue(t, x509.ExtKeyUsageClientAuth, "anna@localhost")
	foreign := other.Issue(t, x509.ExtKeyUsageClientAuth, "john@localhost")
	sessions := tls.NewLRUClientSessionCache(8)
	// dial gives a client within TLS, by either port, and whether it was asked for a certificate.
	dial := func(direct bool, host string, cert tls.Certificate) (*c2stest.Peer, bool) {
		asked := false
		c := &tls.Config{RootCAs: own.Pool(), ServerName: host, ClientSessionCache: sessions,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return &cert, nil
			}}
		port := "c2s"
		if direct {
			port = "c2s_tls"
		}
		conn, err := net.Dial("tcp", s.Addr(port).String())
		if err != nil {
			t.Fatal(err)
		}
		p := c2stest.NewStream(t, conn)
		if !direct {
			p.Open(host)
			p.Send("<starttls xmlns='" + ns.TLS + "'/>")
			p.Expect("<proceed xmlns='" + ns.TLS + "'/>")
		}
		secure := tls.Client(conn, c)
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		p.Secure(secure)
		return p, asked
	}
	external := func(p *c2stest.Peer, host string) bool {
		f := p.Open(host)
		old := strings.Contains(f.Child(ns.SASL, "mechanisms").String(), ">EXTERNAL<")
		if strings.Contains(f.Child(ns.SASL2, "authentication").String(), ">EXTERNAL<") != old {
			t.Errorf("one profile offers it and the other does not: %s", f)
		}
		return old
	}
	for _, direct := range []bool{false, true} {
		name := fmt.Sprintf("direct %v: ", direct)
		p, asked := dial(direct, "localhost", good)
		if !asked || !external(p, "localhost") {
			t.Fatal(name + "it is not offered to who has a certificate")
		}
		p.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response/><bind xmlns='urn:xmpp:bind:0'/></authenticate>")
		if el := p.Receive(); !strings.Contains(el.String(), "<authorization-identifier>john@localhost/") {
			t.Errorf("%sreceived %s", name, el)
		}
		p, _ = dial(direct, "localhost", good) // RFC 6120's profile, where TLS is resumed
		if !external(p, "localhost") {
			t.Fatal(name + "it is not offered again")
		}
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='EXTERNAL'>am9obkBsb2NhbGhvc3Q=</auth>")
		p.Expect("<success xmlns='" + ns.SASL + "'/>")

		sessions = tls.NewLRUClientSessionCache(8) // a resumed one is john's
		p, _ = dial(direct, "localhost", unknown)
		p.Open("localhost")
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='EXTERNAL'>=</auth>")
		if el := p.Receive(); el.First() == nil || el.First().Local != "not-authorized" {
			t.Errorf("%ssomebody without an account: %s", name, el)
		}
		if p, asked := dial(direct, "plain.example", good); asked || external(p, "plain.example") {
			t.Error(name + "a host that wants no certificates asks for one, or takes it")
		}
		sessions = tls.NewLRUClientSessionCache(8)
		for who, cert := range map[string]tls.Certificate{"another CA's": foreign, "none": {}} {
			if p, _ := dial(direct, "localhost", cert); external(p, "localhost") {
				t.Errorf("%s%s: offered", name, who)
			}
			sessions = tls.NewLRUClientSessionCache(8)
		}
	}
	// The certificate is for one host, whatever the TLS was for.
	if p, _ := dial(true, "localhost", good); external(p, "plain.example") {
		t.Error("it is offered on a host that wants none")
	}
}

// Over HTTPS a certificate is for the API: whoever has one that would sign a user in elsewhere is not asked for it in vain
// there, and does not sign in with it.
func TestCertificatesSignNobodyInOverHTTPS(t *testing.T) {
	dir := t.TempDir()
	own, ca := certtest.New(t, "localhost"), certtest.NewCA(t, "ours")
	own.Write(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "users.pem"), ca.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	for admin, asks := range map[string]bool{"": false, "[admin]\nclient_ca = 'users.pem'": true} {
		cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), []byte(`
data_dir = ""
listen = { c2s = "", http = "", https = "127.0.0.1:0" }
tls = { cert = "cert.pem", key = "key.pem" }
`+admin+`
[[host]]
name = "localhost"
auth = { method = "jwt", client_ca = "users.pem", client_names = "email", jwt.secret = "canary secret of more than 32 bytes" }
roster.url = "http://127.0.0.1:1/%s"
`))
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, cfg, slog.New(slog.DiscardHandler))
		cert, asked := ca.Issue(t, x509.ExtKeyUsageClientAuth, "john@localhost"), false
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own.Pool(), ServerName: "localhost",
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return &cert, nil
			}}}
		t.Cleanup(transport.CloseIdleConnections)
		client, at := &http.Client{Transport: transport}, "https://"+s.Addr("https").String()
		for name, p := range map[string]*c2stest.Peer{"WebSocket": c2stest.NewWebSocket(t, at+"/xmpp-websocket", client, nil),
			"BOSH": c2stest.NewBOSH(t, at+"/http-bind", client)} {
			if f := p.Open("localhost").String(); strings.Contains(f, ">EXTERNAL<") || !strings.Contains(f, ">OAUTHBEARER<") {
				t.Errorf("%s: %s", name, f)
			}
		}
		if asked != asks {
			t.Errorf("asked for a certificate: %v, want %v", asked, asks)
		}
	}
}

func addAccount(t *testing.T, cfg *config.Config, user string) {
	t.Helper()
	st, err := server.OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	c, err := auth.MakeCredentials("pencil")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.AddAccount(t.Context(), "localhost", user, store.Credentials{SHA1: store.Keys(c.SHA1), SHA256: store.Keys(c.SHA256)}); err != nil {
		t.Fatal(err)
	}
}
