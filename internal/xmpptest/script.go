package xmpptest

import (
	"fmt"
	"os"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// step is one line of a dialogue, with the XML that is indented below it.
type step struct {
	line  int
	actor string // "service", "time", "host", "config", or USER/RESOURCE
	words string // the rest of the line
	xml   string // as it is written
}

// parseScript reads a dialogue. Lines that begin with # are comments; an indented line belongs to the step above it.
func parseScript(path string) ([]step, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var steps []step
	for n, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(line, "#"):
		case line[0] == ' ' || line[0] == '\t':
			if len(steps) == 0 {
				return nil, fmt.Errorf("%s:%d: indented, but there is no step above", path, n+1)
			}
			steps[len(steps)-1].xml += trimmed
		default:
			actor, words, _ := strings.Cut(trimmed, " ")
			steps = append(steps, step{line: n + 1, actor: actor, words: strings.TrimSpace(words)})
		}
	}
	return steps, nil
}

// stanzas parses the XML of a step, as it would stand in a stream.
func (s step) stanzas() ([]*xmlstream.Element, error) {
	doc := fmt.Sprintf("<dialogue xmlns='%s' xmlns:stream='%s'>%s</dialogue>", ns.Client, ns.Stream, s.xml)
	el, err := xmlstream.ParseElement([]byte(doc), xmlstream.Limits{Bytes: 64 << 20, Children: 1 << 20, Attrs: 1 << 10})
	if err != nil {
		return nil, err
	}
	var all []*xmlstream.Element
	for c := range el.Elements() {
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no stanza below %q", s.words)
	}
	return all, nil
}
