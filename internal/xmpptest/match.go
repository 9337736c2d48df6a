package xmpptest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rollcall/internal/xmlstream"
)

// Any stands, in an expected attribute or text, for whatever is there.
const Any = "*"

// Match tells how an element differs from what a dialogue expects: "" when it does not. Attributes and children are
// compared without regard to order; an attribute or text that is expected to be Any must be there.
func Match(want, got *xmlstream.Element) string { return match(want, got, map[string]string{}) }

// match is Match with names for values that are not known beforehand: an attribute or text that is expected to be $NAME is
// what it was where the name stood before. names gets those that are new.
func match(want, got *xmlstream.Element, names map[string]string) string {
	if want.Space != got.Space || want.Local != got.Local {
		return fmt.Sprintf("<%s xmlns='%s'> instead of <%s xmlns='%s'>", got.Local, got.Space, want.Local, want.Space)
	}
	if diff := matchAttrs(want, got, names); diff != "" {
		return diff
	}
	if w, g := strings.TrimSpace(want.Text()), strings.TrimSpace(got.Text()); !matchValue(w, g, names) {
		return fmt.Sprintf("text %q instead of %q in <%s>", g, w, want.Local)
	}
	rest := slices.Collect(got.Elements())
	for w := range want.Elements() {
		i := slices.IndexFunc(rest, func(g *xmlstream.Element) bool {
			learned := maps.Clone(names) // what is learned of the wrong child is not true
			if match(w, g, learned) != "" {
				return false
			}
			maps.Copy(names, learned)
			return true
		})
		if i < 0 {
			return fmt.Sprintf("no such child of <%s>: %s", want.Local, w)
		}
		rest = slices.Delete(rest, i, i+1)
	}
	if len(rest) > 0 {
		return fmt.Sprintf("unexpected child of <%s>: %s", want.Local, rest[0])
	}
	return ""
}

// matchValue matches a text.
func matchValue(want, got string, names map[string]string) bool {
	if !strings.HasPrefix(want, "$") || got == "" {
		return want == got || want == Any && got != ""
	}
	known, ok := names[want]
	if !ok {
		names[want] = got
	}
	return !ok || known == got
}

func matchAttrs(want, got *xmlstream.Element, names map[string]string) string {
	for _, w := range want.Attrs {
		i := slices.IndexFunc(got.Attrs, func(g xmlstream.Attr) bool { return g.Local == w.Local && g.Space == w.Space })
		switch {
		case i < 0:
			return fmt.Sprintf("<%s> has no %s", want.Local, w.Local)
		case strings.HasPrefix(w.Value, "$"):
			if known, ok := names[w.Value]; ok && known != got.Attrs[i].Value {
				return fmt.Sprintf("<%s %s='%s'> instead of %s, which is '%s'", want.Local, w.Local, got.Attrs[i].Value, w.Value, known)
			}
			names[w.Value] = got.Attrs[i].Value
		case w.Value != Any && got.Attrs[i].Value != w.Value:
			return fmt.Sprintf("<%s %s='%s'> instead of '%s'", want.Local, w.Local, got.Attrs[i].Value, w.Value)
		}
	}
	for _, g := range got.Attrs {
		if !slices.ContainsFunc(want.Attrs, func(w xmlstream.Attr) bool { return g.Local == w.Local && g.Space == w.Space }) {
			return fmt.Sprintf("<%s> has an unexpected %s='%s'", want.Local, g.Local, g.Value)
		}
	}
	return ""
}
