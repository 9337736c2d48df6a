package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Load reads the file at path. Its error is Errors when the file can be read.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		wrapped := fmt.Errorf("can't be read: %w", errors.Unwrap(err))
		if errors.Is(err, fs.ErrNotExist) {
			wrapped = fmt.Errorf("%w; write one, of two lines at least (docs/config.md), or say which with -c FILE", wrapped)
		}
		return nil, &Error{File: path, Err: wrapped}
	}
	return Parse(path, b)
}

// Parse reads a configuration from b. Errors call it name, and relative paths start from the folder of name. A
// non-nil error is Errors: everything that is wrong.
func Parse(name string, b []byte) (*Config, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, Errors{{File: name, Err: err}}
	}
	doc, src, err := decode(name, b)
	if err != nil {
		return nil, err
	}
	p := &parser{c: defaults(dir), dir: dir, failed: map[string]bool{}}
	p.c.source = src
	p.root(doc)
	for _, problem := range p.c.problems() {
		if !problem.about(p.failed) {
			p.errs = append(p.errs, src.at(problem.keys[0], problem.err))
		}
	}
	if err := p.errs.sorted(); err != nil {
		return nil, err
	}
	return p.c, nil
}

// decode reads the TOML and notes where each key stands.
func decode(name string, b []byte) (map[string]any, source, error) {
	doc := map[string]any{}
	src := source{file: name, lines: map[string]position{}, values: map[string]fingerprint{}}
	if err := toml.Unmarshal(b, &doc); err != nil {
		e := &Error{File: name, Err: err}
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			e.Line, e.Column = syntax.Position()
			e.Err = errors.New(strings.TrimPrefix(syntax.Error(), "toml: ") + advice(syntax.Error()))
		}
		return nil, src, Errors{e}
	}
	if err := src.locate(b); err != nil {
		return nil, src, Errors{{File: name, Err: err}}
	}
	return doc, src, nil
}

// advice says what to do about some of go-toml's errors.
func advice(text string) string {
	switch {
	case strings.Contains(text, "already defined"), strings.Contains(text, "already exists"):
		return "; a key is written once, and so is a [table]: put its keys together"
	case strings.Contains(text, "basic strings cannot have new lines"):
		return "; is the quote at its end missing?"
	}
	return ""
}

// locate fills s.lines. go-toml's decoder knows the position of what it refuses only, so the document is walked once
// more for those of everything else.
func (s source) locate(b []byte) error {
	var p unstable.Parser
	p.Reset(b)
	counts := map[string]int{} // tables of each array so far
	around := ""
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table:
			around, _ = s.note(&p, "", node, counts)
		case unstable.ArrayTable:
			name, at := s.note(&p, "", node, counts)
			around = fmt.Sprintf("%s[%d]", name, counts[name])
			counts[name]++
			s.lines[around] = at
		case unstable.KeyValue:
			s.value(&p, around, node)
		}
	}
	return p.Error()
}

// note records the position of node's key within the table around, and returns its full name and position. Parts on the
// way that are arrays of tables get the index of their latest one.
func (s source) note(p *unstable.Parser, around string, node *unstable.Node, counts map[string]int) (name string, at position) {
	name = around
	for it := node.Key(); it.Next(); {
		part := it.Node()
		if n := counts[name]; n > 0 {
			name = fmt.Sprintf("%s[%d]", name, n-1)
		}
		name = join(name, string(part.Data))
		if at.line == 0 {
			start := p.Shape(part.Raw).Start
			at = position{start.Line, start.Column}
		}
		if _, ok := s.lines[name]; !ok {
			s.lines[name] = at // [a.b] also makes a
		}
	}
	return name, at
}

// value records a key with its value, into inline tables and arrays of them.
func (s source) value(p *unstable.Parser, around string, node *unstable.Node) {
	name, _ := s.note(p, around, node, nil)
	s.inside(p, name, node.Value())
}

func (s source) inside(p *unstable.Parser, name string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			s.value(p, name, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			s.inside(p, fmt.Sprintf("%s[%d]", name, i), it.Node())
		}
	}
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join appends a part to a key. A part that TOML must quote stays quoted, so that "a.b" is no key of table a.
func join(table, part string) string {
	if !bareKey.MatchString(part) {
		part = strconv.Quote(part)
	}
	if table == "" {
		return part
	}
	return table + "." + part
}

// A parser sets the values of a document on c and collects what is wrong.
type parser struct {
	c      *Config
	dir    string
	errs   Errors
	failed map[string]bool // keys with errors, by full name
}

func (p *parser) fail(key string, err error) {
	p.errs = append(p.errs, p.c.source.at(key, err))
	p.failed[key] = true
}

func (p *parser) root(doc map[string]any) {
	hosts := doc["host"]
	delete(doc, "host")
	t := target{Config: p.c, dir: p.dir, text: map[string][]string{}}
	known := rootKeys()
	p.table(t, "", "", doc, known)
	p.c.Database.URL = p.one(t, "", "database.url", checkDatabaseURL, "has %d lines; it is one")
	p.c.Admin.Tokens = p.tokens(t, "", "admin.token", checkToken)
	p.c.Admin.WebhookSecrets = p.tokens(t, "", "admin.webhook_secret", checkWebhookSecret)

	list, ok := hosts.([]any)
	if hosts != nil && !ok {
		p.fail("host", fmt.Errorf("is %s; write [[host]], with two brackets on each side, for each host", describe(hosts)))
	}
	for i, v := range list {
		prefix := fmt.Sprintf("host[%d]", i)
		values, ok := v.(map[string]any)
		if !ok {
			p.fail(prefix, fmt.Errorf("has %s in its list; write [[host]] for each host", describe(v)))
		}
		p.c.Hosts = append(p.c.Hosts, p.host(prefix, values))
	}
}

func (p *parser) host(prefix string, values map[string]any) Host {
	h := DefaultHost("", "")
	t := target{Config: p.c, host: &h, dir: p.dir, text: map[string][]string{}}
	p.table(t, prefix, "", values, hostKeys())
	h.AdminTokens = p.tokens(t, prefix, "admin_token", checkToken)
	h.AdminWebhookSecrets = p.tokens(t, prefix, "admin_webhook_secret", checkWebhookSecret)
	h.Webhooks.Secret = p.one(t, prefix, "webhooks.secret", checkWebhookSecret, "has %d secrets; events are signed with one")
	h.Auth.HTTP.Credentials = p.one(t, prefix, "auth.credentials", checkAnything, "has %d lines; it is one")
	p.c.source.noteFile(prefix+".auth.jwt.key_file", h.Auth.JWT.KeyFile)
	h.Auth.JWT.Secret = p.one(t, prefix, "auth.jwt.secret", checkAnything, "has %d lines; it is one")
	h.Roster.Token = p.one(t, prefix, "roster.token", checkToken, "has %d tokens; a request carries one")
	h.Profile.Token = p.one(t, prefix, "profile.token", checkToken, "has %d tokens; a request carries one")
	return h
}

// table sets the values of one table: name is that of the table among known, prefix what stands before it in the file.
func (p *parser) table(t target, prefix, name string, values map[string]any, known []key) {
	for part, v := range values {
		key := join(name, part)
		full := strings.TrimPrefix(prefix+"."+key, ".")
		if k := find(known, key); k != nil {
			if err := k.set(t, v); err != nil {
				p.fail(full, err)
			}
			p.c.source.noteValue(full, k, v)
			continue
		}
		inner, isTable := v.(map[string]any)
		switch {
		case !isTableOf(known, key):
			p.fail(full, unknown(name, part, prefix != "", known))
		case !isTable:
			p.fail(full, fmt.Errorf("is %s; it is a table with the keys %s", describe(v), strings.Join(keysOf(known, key), ", ")))
		default:
			p.table(t, prefix, key, inner, known)
		}
	}
}

func (p *parser) tokens(t target, prefix, name string, check func(string) error) []Secret {
	tokens, blame, err := resolveTokens(t.text, name, check)
	if err != nil {
		p.fail(strings.TrimPrefix(prefix+"."+blame, "."), err)
	}
	p.c.source.noteSecret(strings.TrimPrefix(prefix+"."+name, "."), tokens)
	return tokens
}

// one is the secret of a key that may have one only; otherwise says what is wrong with several.
func (p *parser) one(t target, prefix, name string, check func(string) error, otherwise string) Secret {
	switch all := p.tokens(t, prefix, name, check); len(all) {
	case 0:
		return ""
	case 1:
		return all[0]
	default:
		p.fail(strings.TrimPrefix(prefix+"."+name, "."), fmt.Errorf(otherwise, len(all)))
		return ""
	}
}
