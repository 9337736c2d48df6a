package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// Here is what a web developer is told when something went wrong: what it looks like, and what to do.

// unreachable says why no answer came.
func unreachable(a *answer, cfg Config) string {
	u, err := url.Parse(a.url)
	if err != nil {
		return "the URL is none"
	}
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	text := a.err.Error()
	switch {
	case a.err == errSlow:
		return fmt.Sprintf("no answer came in %s; rollcall gives up after %s: does something else block the service, or a firewall the way?", shortly(a.took), shortly(cfg.Timeout))
	case errors.As(a.err, &dns):
		return fmt.Sprintf("there is no machine called %s, as far as this one knows: is the name in the URL right?", u.Hostname())
	case errors.Is(a.err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: is your service running, and is the port right?", u.Host)
	case errors.As(a.err, &name):
		return fmt.Sprintf("the service's certificate is not for %s (%v)", u.Hostname(), name)
	case errors.As(a.err, &authority), errors.As(a.err, &certificate):
		return fmt.Sprintf("the service's certificate is not trusted (%v): rollcall trusts what this system trusts", a.err)
	case errors.As(a.err, &noTLS), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the service does not speak TLS at this port: write http:// instead of https://"
	case strings.Contains(text, "malformed HTTP"):
		return "what answers there does not speak HTTP: is it the right port? If it speaks TLS, write https://"
	case errors.Is(a.err, io.EOF), errors.Is(a.err, io.ErrUnexpectedEOF), errors.Is(a.err, syscall.ECONNRESET):
		return "the service closed the connection without an answer: has it crashed? Look into its log"
	case errors.Is(a.err, syscall.EHOSTUNREACH), errors.Is(a.err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way to %s from here", u.Host)
	}
	return fmt.Sprintf("the request failed (%v)", a.err)
}

// statusHint is for a status that has no roster.
func statusHint(a *answer, cfg Config) string {
	code := statusText(a.status)
	switch {
	case a.status == http.StatusNotModified:
		return "your service answers 304 Not Modified to a request that has no If-None-Match: the first time it must send the roster"
	case a.status >= 300 && a.status < 400:
		return redirectHint(a)
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return credentialHint(a, cfg)
	case a.status == http.StatusNotFound:
		return fmt.Sprintf("your service answers 404 for %s: either it does not know %[1]s (check somebody who exists), or this is not the path of the contacts. "+
			"To rollcall a 404 is a failure and not an empty list; who has no contacts is answered with {} or 204", cfg.User)
	case a.status == http.StatusMethodNotAllowed:
		return "your service does not take " + a.method + " at this path: rollcall asks with " + a.method
	case a.status == http.StatusNotAcceptable:
		return "your service does not want to answer a request that has Accept: application/json"
	case a.status == http.StatusBadRequest && strings.Contains(string(a.body), "HTTPS"):
		return "the service speaks TLS at this port: write https:// instead of http://"
	case a.status == http.StatusTooManyRequests:
		return "your service limits the rate of requests: exempt rollcall, which asks for many users at a time (roster.concurrency)"
	case a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout || a.status == http.StatusServiceUnavailable:
		return fmt.Sprintf("%s: a proxy before your service does not reach it, or the service is not ready%s", code, a.says())
	case a.status >= 500:
		return fmt.Sprintf("your service fails with %s: look into its log%s", code, a.says())
	case a.status >= 200 && a.status < 300:
		return fmt.Sprintf("your service answers %s: a roster is answered with 200, or 204 when it is empty", code)
	}
	return fmt.Sprintf("your service refuses the request with %s%s", code, a.says())
}

// redirectHint is for a redirect, which rollcall does not follow: the token is for the configured service alone.
func redirectHint(a *answer) string {
	here, err := url.Parse(a.url)
	location := a.header.Get("Location")
	if err != nil || location == "" {
		return fmt.Sprintf("your service redirects (%s), and rollcall does not follow", statusText(a.status))
	}
	there, err := here.Parse(location)
	if err != nil {
		return fmt.Sprintf("your service redirects to %q, which is no URL; rollcall does not follow redirects", excerpt(location))
	}
	to := excerpt(there.String())
	switch {
	case looksLikeLogin(there.Path):
		return fmt.Sprintf("your service sends rollcall to %s, a login page as it seems: this URL must answer without a session; let rollcall in by its token (roster.token)", to)
	case there.Scheme != here.Scheme && there.Host == here.Host:
		return fmt.Sprintf("your service redirects to %s: rollcall does not follow; begin the URL with %s://", to, there.Scheme)
	case there.Host == here.Host && strings.TrimSuffix(there.Path, "/") == strings.TrimSuffix(here.Path, "/"):
		return fmt.Sprintf("your service redirects to %s: rollcall does not follow; mind the slash at the end of the URL", to)
	}
	return fmt.Sprintf("your service redirects to %s: rollcall does not follow; if that is the right place, put it into the URL", to)
}

func looksLikeLogin(s string) bool {
	s = strings.ToLower(s)
	for _, word := range []string{"login", "log-in", "signin", "sign-in", "sign_in", "/auth", "oauth", "sso"} {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

func credentialHint(a *answer, cfg Config) string {
	wants := ""
	if scheme, _, _ := strings.Cut(a.header.Get("WWW-Authenticate"), " "); scheme != "" && !strings.EqualFold(scheme, "Bearer") {
		wants = fmt.Sprintf(" It asks for %s; rollcall sends Bearer only.", excerpt(scheme))
	}
	if cfg.Token == "" {
		return fmt.Sprintf("your service answers %s: it wants a credential, and none is configured. Give the token that it takes as Authorization: Bearer.%s", statusText(a.status), wants)
	}
	return fmt.Sprintf("your service answers %s to the header Authorization: Bearer with the token: is it the right token, and does the header reach your code (some web servers drop it)?%s", statusText(a.status), wants)
}

// Kinds of Content-Type, as rollcall tells them apart.
const (
	typeJSON      = iota
	typeTolerated // says no more than "text" or "bytes": taken when the body is JSON
	typeWrong
)

func typeOf(a *answer) int {
	header := a.header.Get("Content-Type")
	media, _, _ := strings.Cut(header, ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); {
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return typeJSON
	case header == "":
		return typeTolerated
	}
	switch media {
	case "text/plain", "text/json", "text/javascript", "application/javascript", "application/x-javascript", "application/octet-stream":
		return typeTolerated
	}
	return typeWrong
}

// typeHint is for a Content-Type that is not taken.
func typeHint(a *answer, shown string) string {
	body := strings.ToLower(string(a.body[:min(len(a.body), 64<<10)]))
	if !strings.Contains(shown, "html") {
		return fmt.Sprintf("Content-Type is %s: send application/json", shown)
	}
	switch {
	case strings.Contains(body, "<form") || strings.Contains(body, "password") || looksLikeLogin(body):
		return fmt.Sprintf("Content-Type is %s: this looks like a login page; this URL must answer without a session; let rollcall in by its token (roster.token)", shown)
	case strings.HasPrefix(strings.TrimSpace(body), "{"):
		return fmt.Sprintf("Content-Type is %s, though the body looks like JSON: send the header Content-Type: application/json", shown)
	}
	return fmt.Sprintf("Content-Type is %s: this is a page for people, an error page perhaps%s", shown, a.says())
}

// codingFault says what is wrong with the compression; "" when nothing is.
func codingFault(a *answer) string {
	switch coding := strings.ToLower(strings.TrimSpace(a.header.Get("Content-Encoding"))); coding {
	case "", "identity", "gzip", "x-gzip":
	default:
		return fmt.Sprintf("the answer has Content-Encoding: %s, and rollcall asks for gzip only (Accept-Encoding): something on the way does not look at that header", excerpt(coding))
	}
	if errors.Is(a.err, errGzip) {
		return fmt.Sprintf("the answer says that it is gzip and cannot be decompressed (%v)", a.err)
	}
	return ""
}
