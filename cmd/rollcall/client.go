package main

import (
	"bytes"
	"context"
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
	"strings"
	"time"

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
	base  string // without a slash at the end
	token string
	http  *http.Client
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
		c.token = configuredToken(cfg)
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

// configuredToken is the admin's, else that of the only host that has one: which of several is meant, nobody knows.
func configuredToken(cfg *config.Config) string {
	tokens := cfg.Admin.Tokens
	if len(tokens) == 0 {
		for _, h := range cfg.Hosts {
			tokens = append(tokens, h.AdminTokens...)
		}
		if len(tokens) > 1 {
			return ""
		}
	}
	if len(tokens) == 0 {
		return ""
	}
	return string(tokens[0])
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

// do sends a request and decodes the answer into out. An answer other than 200 is an error with its message.
func (c *client) do(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
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
