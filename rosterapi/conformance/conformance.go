// Package conformance tells whether an application answers rollcall's questions as the contract "Roster over HTTP"
// (docs/roster-http.md, sections 1 and 4) has it. The command `rollcall check` shows what this package finds; in a Go
// test it is
//
//	func TestContacts(t *testing.T) {
//		server := httptest.NewServer(app)
//		defer server.Close()
//		conformance.Test(t, conformance.Config{URL: server.URL + "/contacts/%s", User: "john"})
//	}
//
// It asks as rollcall does: GET, and the POST of batch fetch where there is one. Nothing is changed.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rollcall/internal/jid"
	"rollcall/rosterapi"
)

// Config says what is checked. URL and User are required.
type Config struct {
	// URL is what rollcall's configuration has as roster.url: a template with %s, {user}, {host} or {jid}.
	URL string

	// User is the name of somebody who has contacts, such as "john". Somebody without any will do, but leaves less to check.
	User string

	// Host is the domain of the users; "" means localhost.
	Host string

	// Token is rollcall's roster.token: sent as Authorization: Bearer. "" for none.
	Token string

	// BatchURL is rollcall's roster.batch_url. "" for none: then batch fetch is not checked.
	BatchURL string

	// Unknown is the name of nobody. "" means rollcall-check-nobody.
	Unknown string

	// Timeout is rollcall's roster.timeout, the time for an answer; 0 means 5 s. What takes longer is waited for up to
	// three times that, to tell how long it took.
	Timeout time.Duration

	// Transport carries the requests. nil is the network, without the proxies that the environment names.
	Transport http.RoundTripper
}

// A Status is the result of a case.
type Status string

// The results. A warning is something that works and may surprise. What is skipped is optional, or could not be looked
// at because something before it failed; the hint says which.
const (
	Pass Status = "pass"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// A Result is a case, a rule of the contract, and how the application met it.
type Result struct {
	ID      string `json:"id"`      // stable, such as "if-none-match"
	Title   string `json:"title"`   // the rule in a sentence
	Section string `json:"section"` // of the contract
	Status  Status `json:"status"`
	Asked   string `json:"asked,omitempty"` // the request, without the token
	Got     string `json:"got,omitempty"`   // what came back, in short
	Hint    string `json:"hint,omitempty"`  // what to do about it; always there with Warn, Fail and Skip
}

// A Report is the results of all cases, in their order.
type Report struct {
	OK      bool     `json:"ok"` // no case failed: clients would get the right roster
	User    string   `json:"user"`
	Results []Result `json:"results"`

	// Roster is what rollcall would take from the answer for Config.User: nil when there was none that it could use.
	Roster  rosterapi.Roster    `json:"roster,omitzero"`
	Dropped []rosterapi.Dropped `json:"dropped,omitempty"` // what the document said and is not in Roster as it stands
}

// Count is how many results have a status.
func (r *Report) Count(s Status) int {
	n := 0
	for i := range r.Results {
		if r.Results[i].Status == s {
			n++
		}
	}
	return n
}

// Run goes through all cases. The error is that the configuration cannot be used; what is wrong with the application is
// in the report. When ctx ends, what is left fails.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("conformance: %w", err)
	}
	r := &run{cfg: cfg, ctx: ctx, transport: cfg.Transport}
	if r.transport == nil {
		t := newTransport(cfg.Timeout)
		defer t.CloseIdleConnections()
		r.transport = t
	}
	report := &Report{OK: true, User: cfg.User}
	for _, c := range cases {
		v := c.check(r)
		result := Result{ID: c.id, Title: c.title, Section: c.section, Status: v.status, Hint: v.hint}
		if v.answer != nil {
			result.Asked, result.Got = v.answer.asked(), v.answer.got()
		}
		report.Results = append(report.Results, result)
		report.OK = report.OK && v.status != Fail
	}
	report.Roster, report.Dropped = r.roster, r.dropped
	return report, nil
}

// complete checks the configuration and sets what is not said.
func (cfg *Config) complete() error {
	if cfg.Host == "" {
		cfg.Host = "localhost"
	}
	if cfg.Unknown == "" {
		cfg.Unknown = "rollcall-check-nobody"
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.User == "" {
		return errors.New("no user is named: whose contacts shall be asked for?")
	}
	owner, err := jid.New(cfg.User, cfg.Host, "")
	if err != nil {
		return fmt.Errorf("the user or the host cannot be: %w", err)
	}
	cfg.User, cfg.Host = owner.Local(), owner.Domain() // as rollcall writes them
	if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("the token has a character that cannot stand in a header")
	}
	if err := checkTemplate(cfg.URL); err != nil {
		return fmt.Errorf("the URL %w", err)
	}
	if cfg.BatchURL != "" {
		if err := checkURL(expandBatch(cfg.BatchURL, cfg.Host)); err != nil {
			return fmt.Errorf("the batch URL %w", err)
		}
	}
	return nil
}

// checkTemplate refuses what could not be asked. (rollcall's configuration is checked more closely when it starts.)
func checkTemplate(s string) error {
	if !strings.Contains(s, "%s") && !strings.Contains(s, "{user}") && !strings.Contains(s, "{jid}") {
		return errors.New("has no place for the user: write %s where the name goes, as in http://localhost/contacts/%s")
	}
	return checkURL(expand(s, "user", "localhost"))
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("is none")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("does not begin with http:// or https:// and the service's name")
	}
	if u.User != nil {
		return errors.New("has a name or password before an @: give credentials as the token")
	}
	return nil
}

// expand puts a user into a template, percent-encoded so that it can only be one path segment or one query value.
func expand(template, user, host string) string {
	return strings.NewReplacer("%%", "%", "%s", escape(user), "{user}", escape(user),
		"{host}", escape(host), "{jid}", escape(user+"@"+host)).Replace(template)
}

// expandBatch is the URL of batches, which has no place for a user.
func expandBatch(template, host string) string {
	return strings.NewReplacer("%%", "%", "{host}", escape(host)).Replace(template)
}

// escape leaves the unreserved characters of RFC 3986 section 2.3 only.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// T is what Test needs of a *testing.T.
type T interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Test runs all cases: those that fail are errors of the test, warnings go to its log.
func Test(t T, cfg Config) {
	t.Helper()
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v", err)
		return
	}
	for _, r := range report.Results {
		text := fmt.Sprintf("%s (section %s): %s\n\tasked: %s\n\tgot:   %s\n\t%s", r.ID, r.Section, r.Title, r.Asked, r.Got, r.Hint)
		switch r.Status {
		case Fail:
			t.Errorf("%s", text)
		case Warn:
			t.Logf("warning: %s", text)
		}
	}
}
