package server_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"rollcall/internal/auth"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
	"rollcall/internal/ns"
	"rollcall/internal/server"
	"rollcall/internal/xmlstream"
)

// doors is a server with a host for each method, for the attack cases that are tried at each way in.
type doors struct {
	*server.Server
	own   certtest.Pair
	johns map[string]*scram.Client // by hash: they hash the password once for each salt
}

const pluses, scrams = "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS ", "SCRAM-SHA-256 SCRAM-SHA-1"

// offered is what the hosts offer within TLS; over BOSH, whose connections are many, there is nothing to bind to, and no -PLUS.
var offered = map[string]string{"localhost": pluses + scrams + " PLAIN", "keys.example": pluses + scrams, "app.example": "PLAIN",
	"jwt.example": "OAUTHBEARER PLAIN", "guests.example": "ANONYMOUS", "open.example": "PLAIN"}

func newDoors(t *testing.T) *doors {
	c, err := auth.MakeCredentials("pencil")
	if err != nil {
		t.Fatal(err)
	}
	written := func(k auth.Keys) string {
		text := base64.StdEncoding.EncodeToString
		return text(k.Salt) + "|" + text(k.StoredKey) + "|" + text(k.ServerKey)
	}
	keys := "==MULTI_SCRAM==,10000,===SHA1===" + written(c.SHA1) + ",==SHA256==" + written(c.SHA256)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, keys) }))
	t.Cleanup(app.Close)
	dir := t.TempDir()
	w := &doors{own: certtest.New(t, slices.Collect(maps.Keys(offered))...), johns: map[string]*scram.Client{}}
	w.own.Write(t, dir)
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), fmt.Appendf(nil, `
data_dir = "data"
listen = { c2s = "127.0.0.1:0", c2s_tls = "127.0.0.1:0", http = "", https = "127.0.0.1:0" }
tls = { cert = "cert.pem", key = "key.pem" }
limits.failed_sign_ins = 10000
[[host]]
name = "localhost"
auth = { method = "accounts", plain = true }
[[host]]
name = "keys.example"
auth = { method = "http", scram = true, url = "%[1]s" }
[[host]]
name = "app.example"
auth = { method = "http", url = "%[1]s" }
[[host]]
name = "jwt.example"
auth = { method = "jwt", jwt.secret = "0123456789abcdef0123456789abcdef" }
[[host]]
name = "guests.example"
auth.method = "anonymous"
[[host]]
name = "open.example"
auth.method = "open"
`, app.URL))
	if err != nil {
		t.Fatal(err)
	}
	for name, hash := range map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256} {
		if w.johns[name], err = hash.NewClient("john", "pencil", ""); err != nil {
			t.Fatal(err)
		}
	}
	addAccount(t, cfg, "john")
	w.Server = start(t, cfg, slog.New(slog.DiscardHandler))
	return w
}

// entrances are those with TLS.
var entrances = []string{"STARTTLS", "direct TLS", "WebSocket", "BOSH"}

// enter connects a client, and gives the connection within TLS.
func (w *doors) enter(t *testing.T, entrance, host string) (p *c2stest.Peer, secure *tls.Conn) {
	t.Helper()
	cfg := &tls.Config{RootCAs: w.own.Pool(), ServerName: host}
	port := map[string]string{"STARTTLS": "c2s", "direct TLS": "c2s_tls"}[entrance]
	if port == "" {
		transport := &http.Transport{DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, network, address)
			if err == nil {
				secure = c.(*tls.Conn)
			}
			return c, err
		}}
		t.Cleanup(transport.CloseIdleConnections)
		web, url := &http.Client{Transport: transport}, "https://"+w.Addr("https").String()
		if entrance == "BOSH" {
			return c2stest.NewBOSH(t, url+"/http-bind", web), nil
		}
		p = c2stest.NewWebSocket(t, url+"/xmpp-websocket", web, nil)
		return p, secure
	}
	conn, err := net.Dial("tcp", w.Addr(port).String())
	if err != nil {
		t.Fatal(err)
	}
	p = c2stest.NewStream(t, conn)
	if entrance == "STARTTLS" {
		p.Open(host)
		p.Send("<starttls xmlns='" + ns.TLS + "'/>")
		p.Expect("<proceed xmlns='" + ns.TLS + "'/>")
	}
	secure = tls.Client(conn, cfg)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	p.Secure(secure)
	return p, secure
}

// A profile is how SASL is spoken: as RFC 6120 has it, or as XEP-0388 does.
type profile struct{ name, space string }

var profiles = []profile{{"SASL", ns.SASL}, {"SASL2", ns.SASL2}}

func (f profile) begin(mechanism, initial, inline string) string {
	data := base64.StdEncoding.EncodeToString([]byte(initial))
	if f.space == ns.SASL2 {
		return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='" + mechanism + "'><initial-response>" + data + "</initial-response>" + inline + "</authenticate>"
	}
	return "<auth xmlns='" + ns.SASL + "' mechanism='" + mechanism + "'>" + data + "</auth>"
}

func (f profile) respond(data string) string {
	return "<response xmlns='" + f.space + "'>" + base64.StdEncoding.EncodeToString([]byte(data)) + "</response>"
}

// outcome is the condition of a failure of this profile, or what came instead.
func (f profile) outcome(el *xmlstream.Element) string {
	if el.Is(f.space, "failure") && el.First().Space == ns.SASL {
		return el.First().Local
	}
	return el.Local
}

// names lists the mechanisms of a profile in stream features.
func (f profile) names(features *xmlstream.Element) string {
	local := map[string]string{ns.SASL: "mechanisms", ns.SASL2: "authentication"}[f.space]
	var names []string
	if list := features.Child(f.space, local); list != nil {
		for el := range list.Elements() {
			if el.Local == "mechanism" {
				names = append(names, el.Text())
			}
		}
	}
	return strings.Join(names, " ")
}

// Attack case 18 at each way in: both profiles offer the same, and refuse all else, tokens of clients (FAST) that are not there too.
func TestEveryWayInRefusesWhatItDoesNotOffer(t *testing.T) {
	w := newDoors(t)
	known := strings.Fields(pluses + scrams + " PLAIN OAUTHBEARER EXTERNAL ANONYMOUS DIGEST-MD5 SCRAM-SHA-512 HT-SHA-256-NONE HT-SHA-256-EXPR plain")
	for host, want := range offered {
		for _, entrance := range entrances {
			t.Run(host+" "+entrance, func(t *testing.T) {
				fast := ""
				if host == "localhost" {
					fast = "HT-SHA-256-NONE HT-SHA-256-EXPR"
				}
				if entrance == "BOSH" {
					want, fast = strings.TrimPrefix(want, pluses), strings.TrimSuffix(fast, " HT-SHA-256-EXPR")
				}
				for _, mechanism := range known {
					p, _ := w.enter(t, entrance, host)
					features := p.Open(host)
					for _, f := range profiles {
						if got := f.names(features); got != want {
							t.Fatalf("%s offers %q, want %q", f.name, got, want)
						}
						if slices.Contains(strings.Fields(want), mechanism) {
							continue
						}
						p.Send(f.begin(mechanism, "", ""))
						if got := f.outcome(p.Receive()); got != auth.InvalidMechanism {
							t.Errorf("%s, %s: %s", f.name, mechanism, got)
						}
					}
					if !slices.Contains(strings.Fields(fast), mechanism) && !slices.Contains(strings.Fields(want), mechanism) {
						p, _ := w.enter(t, entrance, host)
						p.Open(host)
						p.Send(profiles[1].begin(mechanism, "", "<fast xmlns='urn:xmpp:fast:0'/>"))
						if got := profiles[1].outcome(p.Receive()); got != auth.InvalidMechanism {
							t.Errorf("%s as a token: %s", mechanism, got)
						}
					}
				}
			})
		}
	}
}

// A forgery is an exchange with SCRAM that is wrong in one thing. bound says which binding the client says to have.
type forgery struct {
	bind  func(scram.ChannelBinding) scram.ChannelBinding // nil: as it is
	first func(string) string
	final func(final, before string) string // before is the final message of another exchange
	plus  bool                              // for the -PLUS mechanisms alone
	want  string
}

var forgeries = map[string]forgery{
	"nothing": {want: "success"},
	// Attack case 19.
	"y though -PLUS was offered": {first: func(s string) string { _, rest, _ := strings.Cut(s, ","); return "y," + rest }, want: "see below"},
	"tls-unique": {plus: true, want: auth.NotAuthorized, bind: func(b scram.ChannelBinding) scram.ChannelBinding {
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSUnique, Data: b.Data}
	}},
	"another connection's": {plus: true, want: auth.NotAuthorized, bind: func(b scram.ChannelBinding) scram.ChannelBinding {
		return scram.ChannelBinding{Type: b.Type, Data: make([]byte, len(b.Data))}
	}},
	"of the other type": {plus: true, want: auth.NotAuthorized, bind: func(b scram.ChannelBinding) scram.ChannelBinding {
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: b.Data}
	}},
	// Attack case 20.
	"an empty nonce":          {first: func(s string) string { at := strings.Index(s, ",r="); return s[:at+3] }, want: auth.MalformedRequest},
	"m= first":                {first: func(s string) string { return strings.Replace(s, ",n=", ",m=x,n=", 1) }, want: auth.MalformedRequest},
	"m= at the end":           {final: func(s, _ string) string { return strings.Replace(s, ",p=", ",m=x,p=", 1) }, want: auth.MalformedRequest},
	"a nonce cut":             {final: func(s, _ string) string { at := strings.Index(s, ",p="); return s[:at-1] + s[at:] }, want: auth.NotAuthorized},
	"the final of before":     {final: func(_, before string) string { return before }, want: auth.NotAuthorized},
	"the final message first": {first: func(string) string { return "c=biws,r=abc,p=AAAA" }, want: auth.MalformedRequest},
	"the first message twice": {final: func(string, string) string { return "n,,n=john,r=abc" }, want: auth.MalformedRequest},
	"another proof":           {final: func(s, _ string) string { at := strings.Index(s, ",p="); return s[:at] + flipped(s[at:]) }, want: auth.NotAuthorized},
}

// flipped changes a bit of a proof.
func flipped(proof string) string {
	b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(proof, ",p="))
	b[0] ^= 1
	return ",p=" + base64.StdEncoding.EncodeToString(b)
}

// Attack cases 19 and 20 at each way in that has SCRAM: four mechanisms, two sources of keys, two profiles, four entrances.
func TestSCRAMIsNotForgedAtAnyWayIn(t *testing.T) {
	w := newDoors(t)
	for _, host := range []string{"localhost", "keys.example"} {
		for _, entrance := range entrances {
			for _, f := range profiles {
				for _, mechanism := range strings.Fields(pluses + scrams) {
					if entrance == "BOSH" && strings.HasSuffix(mechanism, "-PLUS") {
						continue
					}
					t.Run(strings.Join([]string{host, entrance, f.name, mechanism}, " "), func(t *testing.T) {
						_, before := w.scram(t, entrance, host, f, mechanism, forgeries["nothing"], "")
						for name, forged := range forgeries {
							plus := strings.HasSuffix(mechanism, "-PLUS")
							switch {
							case forged.plus && !plus:
								continue
							case forged.want == "see below" && plus:
								forged.want = auth.MalformedRequest
							case forged.want == "see below": // over BOSH it was not offered, but then the proof is of another message
								forged.want = auth.NotAuthorized
							}
							if got, _ := w.scram(t, entrance, host, f, mechanism, forged, before); got != forged.want {
								t.Errorf("%s: %s, want %s", name, got, forged.want)
							}
						}
					})
				}
			}
		}
	}
}

// scram runs an exchange, and gives the condition of its failure, or "success", and the last message of the client.
func (w *doors) scram(t *testing.T, entrance, host string, f profile, mechanism string, forged forgery, before string) (outcome, final string) {
	t.Helper()
	p, conn := w.enter(t, entrance, host)
	p.Open(host)
	client := w.johns[strings.TrimSuffix(mechanism, "-PLUS")]
	c := client.NewConversation()
	if strings.HasSuffix(mechanism, "-PLUS") {
		state := conn.ConnectionState()
		key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			t.Fatal(err)
		}
		binding := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: key}
		if forged.bind != nil {
			binding = forged.bind(binding)
		}
		c = client.NewConversationWithChannelBinding(binding)
	}
	first, err := c.Step("")
	if err != nil {
		t.Fatal(err)
	}
	sent := first
	if forged.first != nil {
		sent = forged.first(first)
	}
	p.Send(f.begin(mechanism, sent, ""))
	el := p.Receive()
	if !el.Is(f.space, "challenge") {
		return f.outcome(el), ""
	}
	challenge, err := base64.StdEncoding.DecodeString(el.Text())
	if err != nil {
		t.Fatal(err)
	}
	if final, err = c.Step(string(challenge)); err != nil {
		t.Fatal(err)
	}
	sent = final
	if forged.final != nil {
		sent = forged.final(final, before)
	}
	p.Send(f.respond(sent))
	return f.outcome(p.Receive()), final
}
