package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	urlpath "path"
	"slices"
	"strings"

	"rollcall/internal/jid"
)

// This file holds what is asked of the keys about HTTP and certificates.

// DefaultDirectory is Let's Encrypt's.
const DefaultDirectory = "https://acme-v02.api.letsencrypt.org/directory"

// acmeProblems are those of a configuration with tls.acme.email.
func (c *Config) acmeProblems() (ps []problem) {
	a := c.TLS.ACME
	if c.TLS.Cert != "" {
		ps = append(ps, problem{[]string{"tls.acme.email", "tls.cert", "tls.key"}, errors.New(
			"is set, and tls.cert too; certificates come from one of the two")})
	}
	if a.Storage == "" && c.DataDir == "" {
		ps = append(ps, problem{[]string{"tls.acme.storage", "tls.acme.email", "data_dir"}, errors.New(
			`is missing, and data_dir is ""; certificates must be kept, for authorities give few of them`)})
	}
	if c.Listen.HTTP == "" && c.Listen.HTTPS == "" && c.Listen.C2STLS == "" {
		ps = append(ps, problem{[]string{"tls.acme.email", "listen.https", "listen.c2s_tls", "listen.http"}, errors.New(
			"needs listen.https, listen.c2s_tls or listen.http: there the authority looks whether a domain is yours")})
	}
	if a.Directory != DefaultDirectory {
		return ps // an authority of one's own may certify any name
	}
	for i, h := range c.Hosts {
		if h.Name != "" && !public(h.Name) {
			ps = append(ps, problem{[]string{HostKey(i, "name"), "tls.acme.email", "tls.acme.directory"}, fmt.Errorf(
				"is %q, for which Let's Encrypt gives no certificate; use a name from the public DNS, or tls.cert", h.Name)})
		}
	}
	return ps
}

// public says whether a domain may be known all over the Internet.
func public(domain string) bool {
	return net.ParseIP(strings.Trim(domain, "[]")) == nil && strings.Contains(strings.Trim(domain, "."), ".") &&
		!strings.HasSuffix(domain, ".localhost") && !strings.HasSuffix(domain, ".local")
}

// ACMEDomains lists what certificates are wanted for: every host, then tls.acme.domains, each once.
func (c *Config) ACMEDomains() (domains []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			domains = append(domains, name)
		}
	}
	for _, h := range c.Hosts {
		add(h.Name)
	}
	for _, d := range c.TLS.ACME.Domains {
		add(strings.ToLower(d))
	}
	return domains
}

// checkWebhookURL accepts where events are posted.
func checkWebhookURL(s string) (string, error) {
	u, err := url.Parse(s)
	if s != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "") {
		return "", errors.New(`is no URL to post to; write one such as "https://app.example.com/hooks", without a user or a fragment`)
	}
	return s, nil
}

func checkEvent(s string) error {
	if !slices.Contains(Events, s) {
		return fmt.Errorf("has %q, which is no event; allowed is one of %s%s", s, quoted(Events), didYouMean(s, Events))
	}
	return nil
}

func checkEmail(s string) (string, error) {
	if a, err := mail.ParseAddress(s); s != "" && (err != nil || a.Address != s) {
		return "", fmt.Errorf(`is %q, which is no address for mail; write one such as "admin@example.com"`, s)
	}
	return s, nil
}

func checkDomain(s string) error {
	if _, err := jid.Domainpart(s); err != nil {
		return fmt.Errorf(`has %q, which is no domain: %w; write one such as "chat.example.com"`, s, err)
	}
	return nil
}

func checkDirectory(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("is %q, which is no https URL; write one such as %q", s, DefaultDirectory)
	}
	return s, nil
}

// checkPublicURL keeps no slash at the end.
func checkPublicURL(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(strings.ReplaceAll(s, "{host}", "host.example"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf(`is %q; write scheme and host, and a path if there is one, such as "https://chat.example.com"`, s)
	}
	return strings.TrimRight(s, "/"), nil
}

// reserved are paths that are taken, whatever is configured.
var reserved = []string{"/admin/", "/roster_admin/", "/console/", "/healthz/", "/xmpp-websocket/", "/http-bind/", "/.well-known/"}

// checkFilesPath adds the slash at the end.
func checkFilesPath(s string) (string, error) {
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "{}%?#\\ \x00") || urlpath.Clean(s) != strings.TrimSuffix(s, "/") && s != "/" {
		return "", fmt.Errorf(`is %q; write the path of a URL with a slash at both ends, such as "/files/", or "/"`, s)
	}
	if !strings.HasSuffix(s, "/") {
		s += "/"
	}
	for _, r := range reserved {
		if strings.HasPrefix(s, r) {
			return "", fmt.Errorf("is %q, which the server itself uses; take another", s)
		}
	}
	return s, nil
}

func checkFileName(s string) error {
	if s == "" || strings.HasPrefix(s, ".") || strings.ContainsAny(s, "/\\\x00") {
		return fmt.Errorf(`has %q, which is no file's name; write one such as "index.html"`, s)
	}
	return nil
}

func checkHeader(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", errors.New("has a character that cannot be in a header; write it in one line of ASCII")
	}
	return s, nil
}

func checkContact(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Opaque == "" && u.Host == "" && u.Path == "" {
		return fmt.Errorf(`has %q, which is no URI; write one such as "mailto:admin@example.com", "xmpp:john@chat.example.com" or "https://example.com/help"`, s)
	}
	return nil
}
