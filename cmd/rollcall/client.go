package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/config"
)

// An apiFlags says how to reach a running server: by its configuration, or by a URL.
type apiFlags struct {
	configFlag
	URL   string `placeholder:"URL" help:"Where the server's HTTP listener is, instead of what the configuration says."`
	Token string `placeholder:"TOKEN" env:"ROLLCALL_ADMIN_TOKEN" help:"Bearer token, instead of what the configuration says. Better in the environment: ${env}."`
}

// maxAnswer bounds what is read of an answer; that of thousands of hosts fits.
const maxAnswer = 16 << 20

// A client asks one server.
type client struct {
	base   string // without a slash at the end
	token  string
	secret config.Secret // signs requests where there is no token
	http   *http.Client
}

func (f *apiFlags) client() (*client, error) {
	// No proxy from the environment: the server is ours, and the token is for it alone.
	transport := &http.Transport{TLSClientConfig: &tls.Config{}}
	c := &client{base: strings.TrimSuffix(f.URL, "/"), token: f.Token, http: &http.Client{
		Transport: transport, Timeout: 35 * time.Second, // the server answers within 30
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if f.URL != "" {
		u, err := url.Parse(f.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return nil, usage("--url %q is no address of a server; write one such as http://127.0.0.1:5280", f.URL)
		}
		return c, nil
	}
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	if c.token == "" {
		c.token, c.secret = configured(cfg)
	}
	switch {
	case cfg.Listen.HTTP != "":
		c.base, err = baseURL("http", cfg.Listen.HTTP)
	case cfg.Listen.HTTPS != "":
		c.base, err = baseURL("https", cfg.Listen.HTTPS)
		transport.TLSClientConfig = ownCertificate(cfg)
	default:
		err = usage("%s has no listen.http and no listen.https, so the server cannot be asked", f.Config)
	}
	return c, err
}

// configured gives a token or a secret: the admin's, else that of the only host that has one; which of several is meant,
// nobody knows.
func configured(cfg *config.Config) (token string, secret config.Secret) {
	switch {
	case len(cfg.Admin.Tokens) > 0:
		return string(cfg.Admin.Tokens[0]), ""
	case len(cfg.Admin.WebhookSecrets) > 0:
		return "", cfg.Admin.WebhookSecrets[0]
	}
	var tokens, secrets []config.Secret
	for _, h := range cfg.Hosts {
		tokens, secrets = append(tokens, h.AdminTokens...), append(secrets, h.AdminWebhookSecrets...)
	}
	switch {
	case len(tokens) == 1:
		return string(tokens[0]), ""
	case len(tokens) == 0 && len(secrets) == 1:
		return "", secrets[0]
	}
	return "", ""
}

// baseURL is where a listener of this machine is reached. An address of every interface is reached as localhost.
func baseURL(scheme, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", usage("the configuration leaves the port of %s to the system; say --url", scheme)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// ownCertificate trusts the configured certificate, self-signed or not, as that of the first host.
func ownCertificate(cfg *config.Config) *tls.Config {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(cfg.TLS.Cert); err == nil { // if not, the handshake says what is missing
		pool.AppendCertsFromPEM(pem)
	}
	return &tls.Config{ServerName: cfg.Hosts[0].Name, RootCAs: pool}
}

// authorize adds the token, or else a signature, or else nothing: the server may listen to its own machine.
func (c *client) authorize(req *http.Request, body []byte) error {
	switch {
	case c.token != "":
		req.Header.Set("Authorization", "Bearer "+c.token)
	case c.secret != "":
		id, now := rand.Text(), time.Now()
		signature, err := admin.Sign(c.secret, id, now, body)
		if err != nil {
			return err
		}
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
		req.Header.Set("webhook-signature", signature)
	}
	return nil
}

// do sends a request and decodes the answer into out. An answer other than 200 is an error with its message.
func (c *client) do(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := c.authorize(req, body); err != nil {
		return err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("no server answers at %s (%w); is rollcall serve running?", c.base, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", c.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		var why struct{ Message string }
		if json.Unmarshal(b, &why) != nil || why.Message == "" {
			why.Message = "is there another program at this address?"
		}
		return fmt.Errorf("%s answers %s: %s", c.base, resp.Status, why.Message)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s does not answer as rollcall does: %w", c.base, err)
	}
	return nil
}

// printJSON prints an answer as it is, but for its layout.
func (c *client) printJSON(env *environment, path string) error {
	var raw json.RawMessage
	if err := c.do(env.ctx, http.MethodGet, path, nil, &raw); err != nil {
		return err
	}
	pretty, err := json.MarshalIndent(raw, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "%s\n", pretty)
	return err
}

// stranger says that somebody answers, and not as the server would.
func (c *client) stranger() error {
	return fmt.Errorf("%s does not answer as rollcall does; is there another program at this address?", c.base)
}
