package rosterhttp

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"rollcall/internal/jid"
)

// A template is a checked roster.url or roster.batch_url, cut at its placeholders.
type template struct {
	parts []part
	// prefix is what every expanded URL begins with: scheme and authority. No placeholder is in it, so no
	// user can send a request, and the token with it, to another server.
	prefix string
}

// part is a piece of the URL as it is, or a placeholder.
type part struct {
	text  string
	field field
}

type field uint8

const (
	literal field = iota
	user
	host
	address
)

var fields = map[string]field{"{user}": user, "{host}": host, "{jid}": address}

// The keys of the configuration that have a template.
const (
	keyURL   = "roster.url"       // asks for one user, who has a place in it
	keyBatch = "roster.batch_url" // asks for many, who are in the body
)

// parseTemplate reads the value of a key. Its errors say what to write instead, and repeat neither userinfo
// nor query, which may hold secrets.
func parseTemplate(key, s string) (*template, error) {
	t, err := cutTemplate(s)
	if err == nil {
		err = t.checkUser(key)
	}
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, &ConfigError{Key: key, Err: err}
	}
	return t, nil
}

// checkUser looks whether there is a place for the user where there must be one, and none where not.
func (t *template) checkUser(key string) error {
	placed := slices.ContainsFunc(t.parts, func(p part) bool { return p.field == user || p.field == address })
	switch {
	case key == keyURL && !placed:
		return errors.New("has no place for the user: write %s (or {user}, or {jid}) where the name goes, as in http://localhost/contacts/%s")
	case key == keyBatch && placed:
		return errors.New("has a place for the user, but the users of a batch are in the body: leave %s, {user} and {jid} out, as in http://localhost/contacts")
	}
	return nil
}

// cutTemplate finds the placeholders.
func cutTemplate(s string) (*template, error) {
	t := &template{}
	var text strings.Builder
	seen := map[field]bool{}
	place := func(f field, as string) error {
		if seen[f] {
			return fmt.Errorf("%s stands for something that the template has already: write it once", as)
		}
		seen[f] = true
		t.parts = append(t.parts, part{text: text.String()}, part{field: f})
		text.Reset()
		return nil
	}
	for s != "" {
		var err error
		switch s[0] {
		case '%':
			switch {
			case strings.HasPrefix(s, "%%"):
				text.WriteByte('%')
			case strings.HasPrefix(s, "%s"):
				err = place(user, "%s")
			default:
				err = errors.New("has a % that is not followed by s or %: write %s for the user and %% for a percent sign")
			}
			if err != nil {
				return nil, err
			}
			s = s[2:]
		case '{':
			end := strings.IndexByte(s, '}') + 1
			f, ok := fields[s[:end]]
			if !ok {
				return nil, errors.New("has a { that begins no placeholder: there are {user}, {host} and {jid}")
			}
			if err := place(f, s[:end]); err != nil {
				return nil, err
			}
			s = s[end:]
		default:
			text.WriteByte(s[0])
			s = s[1:]
		}
	}
	t.parts = append(t.parts, part{text: text.String()})
	return t, nil
}

// check refuses what is no URL of a service, or would not stay one whatever the user is called.
func (t *template) check() error {
	first := t.parts[0].text
	scheme, rest, ok := strings.Cut(first, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return errors.New("does not begin with http:// or https:// and the service's name, as http://127.0.0.1:9099/contacts/%s does")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 && len(t.parts) == 1 {
		end = len(rest) // the service's name alone, without a placeholder
	}
	if end < 0 {
		return errors.New("has a placeholder in the name of the service: users and hosts go in the path or the query, behind a / or ?")
	}
	authority := rest[:end]
	if strings.Contains(authority, "@") {
		return errors.New("has a name or password before an @: take it out, and give credentials as a token")
	}
	for _, p := range t.parts {
		if strings.Contains(p.text, "#") {
			return errors.New("has a # part, which is never sent to a service: take it out")
		}
		if strings.ContainsFunc(p.text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '}' }) {
			return errors.New("has a space, a control character or a lone }: write it as %% and two hexadecimal digits")
		}
	}
	// A trial with a plain name finds the rest.
	u, err := url.Parse(t.expand(jid.MustParse("user@host.invalid")))
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL, which may hold secrets
		}
		return fmt.Errorf("is no URL: %w", err)
	}
	if u.Hostname() == "" {
		return errors.New("does not name the service: write a host name or an address after ://")
	}
	t.prefix = u.Scheme + "://" + u.Host
	return nil
}

// expand is the URL for a user.
func (t *template) expand(j jid.JID) string {
	var b strings.Builder
	for _, p := range t.parts {
		switch p.field {
		case literal:
			b.WriteString(p.text)
		case user:
			escape(&b, j.Local())
		case host:
			escape(&b, j.Domain())
		case address:
			escape(&b, j.Bare().String())
		}
	}
	return b.String()
}

// escape percent-encodes everything but the unreserved characters of RFC 3986 section 2.3, so that a value
// is one path segment or one query value whatever it contains. (url.PathEscape leaves $ & + : = @ alone.)
func escape(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

// shownURL is a URL as messages may have it: without userinfo, query and fragment, and not too long.
func shownURL(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	s := shown.String()
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}
