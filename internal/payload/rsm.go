package payload

import (
	"strconv"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// PageRequest is which page of a result somebody asks for (XEP-0059 section 2). The zero PageRequest asks for the first, of
// any size.
type PageRequest struct {
	Max   int // items at most, where Sized; 0 asks for their number only
	Sized bool

	After     string // the item before the page; "": none
	Before    string // the item after it
	Backwards bool   // the last items that match, before Before if there is one, rather than the first

	Index   int // of the page's first item, where Indexed
	Indexed bool
}

// maxUID bounds the name of an item, in bytes.
const maxUID = 1024

// ParsePage reads the <set/> in a request; a request without one asks for the first page. ok is false when it makes no sense.
func ParsePage(request *xmlstream.Element) (p PageRequest, ok bool) {
	set := request.Child(ns.RSM, "set")
	if set == nil {
		return p, true
	}
	for c := range set.Elements() {
		if c.Space != ns.RSM {
			continue
		}
		text := strings.TrimSpace(c.Text())
		if len(text) > maxUID {
			return PageRequest{}, false
		}
		switch c.Local {
		case "max":
			p.Max, p.Sized = number(text)
			ok = p.Sized
		case "index":
			p.Index, p.Indexed = number(text)
			ok = p.Indexed
		case "after":
			p.After, ok = text, text != ""
		case "before":
			p.Before, p.Backwards, ok = text, true, true
		default:
			ok = true
		}
		if !ok {
			return PageRequest{}, false
		}
	}
	return p, true
}

// number reads a number that is not negative; one that is larger than any list is the largest.
func number(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		if text == "" || strings.Trim(text, "0123456789") != "" {
			return 0, false
		}
		return 1<<31 - 1, true
	}
	return int(n), true
}

// PageAnswer is what goes with a page.
type PageAnswer struct {
	First, Last string // the page's; "" when it is empty
	Index       int    // of the first; -1: it is not told
	Count       int    // in all; -1: it is not told
}

// Element makes the <set/>.
func (p PageAnswer) Element() *xmlstream.Element {
	set := xmlstream.New(ns.RSM, "set")
	if p.First != "" {
		first := xmlstream.New(ns.RSM, "first").AppendText(p.First)
		if p.Index >= 0 {
			first.SetAttr("index", strconv.Itoa(p.Index))
		}
		set.Append(first, xmlstream.New(ns.RSM, "last").AppendText(p.Last))
	}
	if p.Count >= 0 {
		set.Append(xmlstream.New(ns.RSM, "count").AppendText(strconv.Itoa(p.Count)))
	}
	return set
}
