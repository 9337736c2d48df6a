package rosterhttp

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"rollcall/internal/jid"
)

func TestTemplateExpands(t *testing.T) {
	for _, tc := range []struct{ name, template, user, want string }{
		{"%s", "http://localhost/contacts/%s", "john", "http://localhost/contacts/john"},
		{"{user}", "http://localhost/contacts/{user}", "john", "http://localhost/contacts/john"},
		{"{host} and {user}", "https://app.example:8443/{host}/{user}.json", "john", "https://app.example:8443/example.com/john.json"},
		{"{jid}", "http://localhost/{jid}", "john", "http://localhost/john%40example.com"},
		{"query", "http://localhost/?user={user}&host={host}", "a&b", "http://localhost/?user=a%26b&host=example.com"},
		{"query without path", "http://localhost?u=%s", "john", "http://localhost?u=john"},
		{"percent sign", "http://localhost/a%%20b/%s", "john", "http://localhost/a%20b/john"},
		{"IPv6", "http://[::1]:9099/%s", "john", "http://[::1]:9099/john"},
		{"uppercase scheme", "HTTP://localhost/%s", "john", "HTTP://localhost/john"},

		// What no name may do to a URL.
		{"slash", "http://h/c/%s", "a/b", "http://h/c/a%2Fb"},
		{"up and away", "http://h/c/%s", "../admin", "http://h/c/..%2Fadmin"},
		{"question mark", "http://h/c/%s", "a?x=1", "http://h/c/a%3Fx%3D1"},
		{"hash", "http://h/c/%s", "a#b", "http://h/c/a%23b"},
		{"encoded slash", "http://h/c/%s", "%2F", "http://h/c/%252F"},
		{"format verb", "http://h/c/%s", "%s{user}%%", "http://h/c/%25s%7Buser%7D%25%25"},
		{"line end", "http://h/c/%s", "a\r\nX: 1", "http://h/c/a%0D%0AX%3A%201"},
		{"space and plus", "http://h/c/%s", "a b+c", "http://h/c/a%20b%2Bc"},
		{"semicolon and its kind", "http://h/c/%s", "a;b,c=d&e:f@g$h!i*j'k(l)", "http://h/c/a%3Bb%2Cc%3Dd%26e%3Af%40g%24h%21i%2Aj%27k%28l%29"},
		{"backslash", "http://h/c/%s", `a\b`, "http://h/c/a%5Cb"},
		{"fullwidth solidus", "http://h/c/%s", "a\uff0fb", "http://h/c/a%EF%BC%8Fb"},
		{"accent", "http://h/c/%s", "\u00e9", "http://h/c/%C3%A9"},
		{"unreserved", "http://h/c/%s", "aZ09-._~", "http://h/c/aZ09-._~"},
		{"longest", "http://h/c/%s", strings.Repeat("\u00e9", 511), "http://h/c/" + strings.Repeat("%C3%A9", 511)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tmpl, err := parseTemplate(keyURL, tc.template)
			if err != nil {
				t.Fatal(err)
			}
			// Names that are no localpart are tried too: here is the second line of defence.
			var got strings.Builder
			for _, p := range tmpl.parts {
				if p.field == user {
					escape(&got, tc.user)
					continue
				}
				got.WriteString((&template{parts: []part{p}}).expand(jid.MustParse("john@example.com")))
			}
			if got.String() != tc.want {
				t.Errorf("got  %s\nwant %s", &got, tc.want)
			}
			u, err := url.Parse(got.String())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(got.String(), u.RequestURI()) && u.Path != "" {
				t.Errorf("sent as %s", u.RequestURI())
			}
			if strings.Contains(tc.template, "/c/%s") && u.Path != "/c/"+tc.user {
				t.Errorf("the service reads the path %q", u.Path)
			}
		})
	}
}

func TestTemplateRefused(t *testing.T) {
	for _, tc := range []struct{ name, template, says string }{
		{"empty", "", "has no place for the user"},
		{"no user", "http://localhost/contacts/john", "has no place for the user"},
		{"host only", "http://localhost/{host}", "has no place for the user"},
		{"escaped %s", "http://localhost/%%s", "has no place for the user"},
		{"two", "http://localhost/%s/%s", "write it once"},
		{"two kinds of the same", "http://localhost/%s/{user}", "write it once"},
		{"host twice", "http://localhost/{host}/{host}/%s", "write it once"},
		{"user in the scheme", "{user}://localhost/", "does not begin with http"},
		{"user in the middle of the scheme", "ht%sp://localhost/", "does not begin with http"},
		{"user as service", "http://%s/contacts", "placeholder in the name of the service"},
		{"user in the service's name", "http://%s.example.com/", "placeholder in the name of the service"},
		{"user at the end of the service's name", "http://localhost%s", "placeholder in the name of the service"},
		{"user as port", "http://localhost:%s/", "placeholder in the name of the service"},
		{"host in the service's name", "http://{host}/%s", "placeholder in the name of the service"},
		{"jid in the service's name", "http://{jid}/", "placeholder in the name of the service"},
		{"user as userinfo", "http://%s@localhost/", "placeholder in the name of the service"},
		{"userinfo", "http://admin:hunter2@localhost/%s", "give credentials as a token"},
		{"userinfo without password", "http://hunter2@localhost/%s", "give credentials as a token"},
		{"userinfo, at-sign only", "http://@localhost/%s", "give credentials as a token"},
		{"stray percent", "http://localhost/%d/%s", "has a %"},
		{"percent encoding not doubled", "http://localhost/a%20b/%s", "write %s for the user and %% for a percent sign"},
		{"percent at the end", "http://localhost/%s%", "has a %"},
		{"bad percent encoding", "http://localhost/%%zz/%s", "is no URL"},
		{"unknown placeholder", "http://localhost/{name}", "{user}, {host} and {jid}"},
		{"open placeholder", "http://localhost/{user", "{user}, {host} and {jid}"},
		{"lone brace", "http://localhost/user}/%s", "a lone }"},
		{"fragment", "http://localhost/#%s", "which is never sent"},
		{"fragment behind the user", "http://localhost/%s#top", "which is never sent"},
		{"space", "http://localhost/a b/%s", "has a space"},
		{"newline", "http://localhost/%s\n", "has a space, a control character"},
		{"no scheme", "localhost/%s", "does not begin with http"},
		{"no slashes", "http:localhost/%s", "does not begin with http"},
		{"file", "file:///etc/%s", "does not begin with http"},
		{"javascript", "javascript://localhost/%s", "does not begin with http"},
		{"no service", "http:///%s", "does not name the service"},
		{"port only", "http://:80/%s", "does not name the service"},
		{"bad port", "http://localhost:http/%s", "is no URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(Config{Host: "example.com", URL: tc.template})
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "roster.url: ") {
				t.Errorf("the error is %q, want it to say %q", err, tc.says)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestBatchURL(t *testing.T) {
	for _, tc := range []struct{ name, url, want, says string }{
		{"plain", "http://localhost/contacts", "http://localhost/contacts", ""},
		{"host", "https://app.example:8443/{host}/contacts?x=%%20", "https://app.example:8443/example.com/contacts?x=%20", ""},
		{"the service alone", "http://localhost:9099", "http://localhost:9099", ""},
		{"user", "http://localhost/contacts/%s", "", "the users of a batch are in the body"},
		{"{user}", "http://localhost/contacts/{user}", "", "the users of a batch are in the body"},
		{"{jid}", "http://localhost/{jid}", "", "the users of a batch are in the body"},
		{"host as service", "http://{host}/contacts", "", "placeholder in the name of the service"},
		{"host as service, no path", "http://{host}", "", "placeholder in the name of the service"},
		{"userinfo", "http://admin:hunter2@localhost/", "", "give credentials as a token"},
		{"userinfo, no path", "http://admin:hunter2@localhost", "", "give credentials as a token"},
		{"stray percent", "http://localhost/a%20b", "", "%% for a percent sign"},
		{"fragment", "http://localhost/#x", "", "which is never sent"},
		{"no scheme", "localhost/contacts", "", "does not begin with http"},
		{"file", "file:///etc/passwd", "", "does not begin with http"},
		{"no service", "http:///contacts", "", "does not name the service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := New(Config{Host: "example.com", BatchURL: tc.url})
			if tc.says == "" {
				if err != nil || c.batches.url.String() != tc.want {
					t.Fatalf("%v, want %s: %v", c, tc.want, err)
				}
				c.Close()
				return
			}
			var wrong *ConfigError
			if !errors.As(err, &wrong) || wrong.Key != "roster.batch_url" || !strings.Contains(err.Error(), "roster.batch_url: "+wrong.Err.Error()) ||
				!strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error is %v, want it to say %q", err, tc.says)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	good := Config{Host: "example.com", URL: "http://localhost/%s"}
	for _, tc := range []struct {
		name, says string
		change     func(*Config)
	}{
		{"no host", "the host", func(c *Config) { c.Host = "" }},
		{"bad host", "the host", func(c *Config) { c.Host = "a b" }},
		{"token with a newline", "roster.token", func(c *Config) { c.Token = "hunter2\n" }},
		{"token with a header", "roster.token", func(c *Config) { c.Token = "hunter2\r\nX-Admin: 1" }},
		{"token with a space", "roster.token", func(c *Config) { c.Token = "hunter2 x" }},
		{"token beyond ASCII", "roster.token", func(c *Config) { c.Token = "hunter2\u00e9" }},
		{"token with NUL", "roster.token", func(c *Config) { c.Token = "hunter2\x00" }},
		{"user agent with a header", "user agent", func(c *Config) { c.UserAgent = "rollcall\r\nX: 1" }},
		{"timeout", "roster.timeout", func(c *Config) { c.Timeout = -1 }},
		{"bytes", "roster.max_bytes", func(c *Config) { c.MaxBytes = -1 }},
		{"items", "roster.max_items", func(c *Config) { c.MaxItems = -1 }},
		{"batch size", "roster.batch_size", func(c *Config) { c.BatchSize = -1 }},
		{"concurrency", "roster.concurrency", func(c *Config) { c.Concurrency = -1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			_, err := New(cfg)
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error is %q, want it to say %q", err, tc.says)
			}
		})
	}
	if _, err := New(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
