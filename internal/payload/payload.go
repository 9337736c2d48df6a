// Package payload is the grammar that several extensions share: data forms (XEP-0004 v2.13.2, XEP-0068), pages of results
// (XEP-0059 v1.0), delays (XEP-0203 v2.0) and their times (XEP-0082 v1.1), forwarded stanzas (XEP-0297 v1.0), message hints
// (XEP-0334 v1.0.0), and the ids of stanzas (XEP-0359 v0.7.0).
package payload

import (
	"errors"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// FormatTime writes a time as XEP-0082 has it: in UTC, with milliseconds.
func FormatTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// ParseTime reads a DateTime of XEP-0082: a fraction of any length, and "Z" or an offset.
func ParseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || len(text) > maxTime || at.Year() < 1970 {
		return time.Time{}, errTime
	}
	return at.UTC(), nil
}

const maxTime = 64

var errTime = errors.New("this is no time as XEP-0082 has it, such as 2026-07-04T12:00:00Z")

// Delay makes the note that somebody has kept a stanza since a time. from is who has, reason is for people; both may be "".
func Delay(from string, since time.Time, reason string) *xmlstream.Element {
	return xmlstream.New(ns.Delay, "delay", "from", from, "stamp", FormatTime(since)).AppendText(reason)
}

// DelayOf gives the time of the first note of a delay by somebody; false when there is none.
func DelayOf(el *xmlstream.Element, from string) (since time.Time, ok bool) {
	for c := range el.Elements() {
		if c.Is(ns.Delay, "delay") && c.Attr("from") == from {
			since, err := ParseTime(c.Attr("stamp"))
			return since, err == nil
		}
	}
	return time.Time{}, false
}

// Forwarded wraps a stanza that is shown to somebody. A zero time leaves the delay out.
func Forwarded(stanza *xmlstream.Element, since time.Time) *xmlstream.Element {
	f := xmlstream.New(ns.Forward, "forwarded")
	if !since.IsZero() {
		f.Append(Delay("", since, ""))
	}
	return f.Append(stanza)
}

// Hints are what a message asks of those who handle it.
type Hints uint8

// The hints.
const (
	NoPermanentStore Hints = 1 << iota // not in an archive
	NoStore                            // nowhere, not even until it is delivered
	NoCopy                             // not to others than the address it is for
	Store                              // even if it does not look as if it were worth it
)

// HintsOf reads a message's hints. "Hints contained within a stanza of type 'error' SHOULD be ignored" (section 4): that is
// for the caller.
func HintsOf(message *xmlstream.Element) (h Hints) {
	for c := range message.Elements() {
		h |= HintOf(c)
	}
	return h
}

// HintOf reads one child of a message; 0 when it is no hint.
func HintOf(child *xmlstream.Element) Hints {
	if child.Space != ns.Hints {
		return 0
	}
	switch child.Local {
	case "no-permanent-store":
		return NoPermanentStore
	case "no-store":
		return NoStore
	case "no-copy":
		return NoCopy
	case "store":
		return Store
	}
	return 0
}
