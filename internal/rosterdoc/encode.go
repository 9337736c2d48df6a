package rosterdoc

import "github.com/go-json-experiment/json/jsontext"

// AppendJSON appends the document of the roster in the contract's main form, an object of items keyed by
// address in their order, without the members that have their default. Decode gives the same roster back.
func (r *Roster) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	first := true
	for it := range r.All() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, it.JID.String()), ':')
		dst = it.appendJSON(dst)
	}
	return append(dst, '}')
}

func (i Item) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	open := len(dst)
	member := func(name string) {
		if len(dst) > open {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
	}
	if i.Name != "" {
		member("name")
		dst = appendString(dst, i.Name)
	}
	if len(i.Groups) > 0 {
		member("groups")
		dst = append(dst, '[')
		for n, g := range i.Groups {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, g)
		}
		dst = append(dst, ']')
	}
	if i.Subscription != Both {
		member("subscription")
		dst = appendString(dst, i.Subscription.String())
	}
	if i.Ask {
		member("ask")
		dst = append(dst, `"subscribe"`...)
	}
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	// The error says that s is not UTF-8. Decode lets no such string in; one that Build was given by
	// mistake is written with replacement characters, which is the best that JSON can do.
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
