package roster

import (
	"strconv"
	"strings"
)

// A mark names one version of a roster.
type mark struct {
	version int64
	tag     string
}

func (m mark) ver() string { return strconv.FormatInt(m.version, 36) + "-" + m.tag }

func parseMark(s string) (m mark, ok bool) {
	number, tag, ok := strings.Cut(s, "-")
	version, err := strconv.ParseInt(number, 36, 64)
	return mark{version, tag}, ok && err == nil && version >= 0
}

// A place is what a client has of a roster. Mostly that is a version. But a client can be cut off while it is being
// brought from one version to another: it is told once what became of each contact, and then it has some contacts as
// they are in the one version and some as in the other, as no version was in between.
type place struct {
	from, to mark
	// via is how far it came: it has as in to the contacts that changed last in via or before, and the others as in from.
	// On the way from nothing, which is version 0, it has the first so many contacts.
	via int64
}

func at(m mark) place { return place{m, m, m.version} }

// ver is how clients say it.
func (p place) ver() string {
	if p.from == p.to {
		return p.to.ver()
	}
	return p.from.ver() + "." + strconv.FormatInt(p.via, 36) + "." + p.to.ver()
}

// parsePlace reads what ver has made.
func parsePlace(s string) (p place, ok bool) {
	parts := strings.Split(s, ".")
	last, ok := parseMark(parts[len(parts)-1])
	if !ok || last.version == 0 || last.tag == "" {
		return place{}, false
	}
	if len(parts) == 1 {
		return at(last), true
	}
	if len(parts) != 3 {
		return place{}, false
	}
	first, ok := parseMark(parts[0])
	via, err := strconv.ParseInt(parts[1], 36, 64)
	ok = ok && err == nil && first.version < last.version && via >= 0 && (first.version > 0) == (first.tag != "")
	return place{first, last, via}, ok
}
