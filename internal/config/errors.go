package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one thing wrong with a configuration, in a sentence that says what to do.
type Error struct {
	File         string // as it was given; "" when the configuration is not from a file
	Line, Column int    // from 1; 0 when no line is to blame
	Key          string // "listen.c2s", "host.roster.url"; "" when no key is to blame
	Err          error
}

// Error returns "file:line:column: key: what is wrong".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns what is wrong, without the place.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all the things wrong with a configuration, in the order of the file.
type Errors []*Error

// Error returns one line for each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find each of them.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// sorted returns es in the order of the file as an error, nil when there are none. What belongs to no line comes last.
func (es Errors) sorted() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return es
}

// A source knows where each key of a configuration stands in its file.
type source struct {
	file  string
	lines map[string]position // by full key, with the index of the host: "host[0].roster.url"
	// values are those that the file gives, by full key: see Changes.
	values map[string]fingerprint
}

type position struct{ line, column int }

// at makes an Error for a key, "listen.c2s" or "host[0].roster.url". Where the file does not have the key, the
// place is that of the table around it.
func (s source) at(key string, err error) *Error {
	e := &Error{File: s.file, Key: plainKey(key), Err: err}
	for k := key; k != ""; k = parent(k) {
		if p, ok := s.lines[k]; ok {
			e.Line, e.Column = p.line, p.column
			break
		}
	}
	return e
}

// KeyError returns err with the place of a key, "listen.c2s" or HostKey(0, "roster.url"), for checks made by others.
func (c *Config) KeyError(key string, err error) error { return c.source.at(key, err) }

// HostKey names a key of c.Hosts[i] for KeyError.
func HostKey(i int, key string) string { return fmt.Sprintf("host[%d].%s", i, key) }

// parent returns what is around a key: "host[0].roster" for "host[0].roster.url", "host" for "host[0]".
func parent(key string) string {
	i := strings.LastIndexAny(key, ".[")
	return key[:max(i, 0)]
}

// plainKey returns the key as the documentation writes it: "host.roster.url" for "host[0].roster.url".
func plainKey(key string) string {
	if open := strings.IndexByte(key, '['); open >= 0 {
		if end := strings.IndexByte(key[open:], ']'); end > 0 {
			return key[:open] + key[open+end+1:]
		}
	}
	return key
}
