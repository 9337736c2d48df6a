// Package jid holds XMPP addresses: RFC 7622 (September 2015), with its verified errata 4534 and 4560.
//
// A JID is kept in canonical form only: what two strings that mean one address have in common. So
// addresses are compared with ==, used as map keys and written out without further work. Addresses of
// plain ASCII, which are nearly all, are checked here in one pass; everything else is prepared and
// enforced by mellium.im/xmpp/jid (PRECIS, IDNA), whose results are taken over.
package jid

import "strings"

// MaxPart is how many bytes a part of an address may have, counted in canonical form: "MUST NOT be more
// than 1023 octets in length" (RFC 7622 sections 3.2, 3.3 and 3.4). Longer parts are refused, never cut.
const MaxPart = 1023

// maxInput is how many bytes a part may have before it is brought into canonical form. Mapping may make a
// part shorter (a fullwidth letter of three bytes becomes one), so the input may exceed MaxPart, but an
// attribute of a megabyte is not worth being mapped first.
const maxInput = 4 * MaxPart

// A JID is an address in canonical form. The zero JID is no address. JIDs are comparable.
//
// A parsed JID may share memory with the string that it was parsed from; see Clone.
type JID struct {
	s             string // local@domain/resource
	local, domain uint16 // lengths in bytes; 0 for no localpart
}

// Parse brings an address into canonical form. It does not allocate when s is plain ASCII in canonical
// form already: the result then shares the memory of s.
//
// "An implementation needs to match the separator characters '@' and '/' before applying any
// transformation algorithms" (RFC 7622 section 3.1): the resourcepart is all that follows the first
// slash, the localpart what precedes the first at-sign before that.
func Parse(s string) (JID, error) {
	if len(s) > 3*maxInput+2 {
		return JID{}, refuse("address", s, "is too long")
	}
	domain, resource, hasResource := strings.Cut(s, "/")
	local, rest, hasLocal := strings.Cut(domain, "@")
	if hasLocal {
		domain = rest
	} else {
		local = ""
	}
	if hasLocal && local == "" {
		return JID{}, refuse("address", s, `has nothing before the "@"`)
	}
	if hasResource && resource == "" {
		return JID{}, refuse("address", s, `has nothing after the "/"`)
	}
	return build(s, local, domain, resource)
}

// New builds an address of its parts. An empty localpart or resourcepart means that there is none.
func New(local, domain, resource string) (JID, error) {
	return build("", local, domain, resource)
}

// MustParse is Parse for constants and tests: it panics when s is no address.
func MustParse(s string) JID {
	j, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return j
}

// build brings the parts into canonical form and joins them. When whole, the string that they were cut
// from, is canonical, it is used as it is.
func build(whole, local, domain, resource string) (j JID, err error) {
	l, r := local, resource
	d, err := Domainpart(domain)
	if err != nil {
		return JID{}, err
	}
	if local != "" {
		if l, err = Localpart(local); err != nil {
			return JID{}, err
		}
	}
	if resource != "" {
		if r, err = Resourcepart(resource); err != nil {
			return JID{}, err
		}
	}
	// MaxPart keeps both lengths within uint16.
	j = JID{local: uint16(len(l)), domain: uint16(len(d))}
	// Unchanged parts point to the same bytes, so that comparing them costs next to nothing.
	if whole != "" && l == local && d == domain && r == resource {
		j.s = whole
	} else {
		j.s = join(l, d, r)
	}
	return j, nil
}

func join(local, domain, resource string) string {
	switch {
	case local == "" && resource == "":
		return domain
	case resource == "":
		return local + "@" + domain
	case local == "":
		return domain + "/" + resource
	}
	return local + "@" + domain + "/" + resource
}

// domainAt is where the domainpart begins in j.s.
func (j JID) domainAt() int {
	if j.local == 0 {
		return 0
	}
	return int(j.local) + 1
}

// bareLen is how many bytes of j.s are the bare address.
func (j JID) bareLen() int { return j.domainAt() + int(j.domain) }

// Local is the localpart, "" when there is none.
func (j JID) Local() string { return j.s[:j.local] }

// Domain is the domainpart; "" only for the zero JID.
func (j JID) Domain() string { return j.s[j.domainAt():j.bareLen()] }

// Resource is the resourcepart, "" when there is none.
func (j JID) Resource() string {
	if n := j.bareLen(); n < len(j.s) {
		return j.s[n+1:]
	}
	return ""
}

// String is the whole address in canonical form; "" for the zero JID.
func (j JID) String() string { return j.s }

// MarshalText makes logs and JSON show the address.
func (j JID) MarshalText() ([]byte, error) { return []byte(j.s), nil }

// Bare is the address without its resourcepart.
func (j JID) Bare() JID {
	j.s = j.s[:j.bareLen()]
	return j
}

// Host is the domainpart alone, as an address.
func (j JID) Host() JID { return JID{s: j.Domain(), domain: j.domain} }

// WithResource is the bare address with this resourcepart; with "" it is the bare address.
func (j JID) WithResource(resource string) (JID, error) {
	if j.IsZero() {
		return JID{}, refuse("address", "", "is empty: it can have no resourcepart")
	}
	bare := j.Bare()
	if resource == "" {
		return bare, nil
	}
	r, err := Resourcepart(resource)
	if err != nil {
		return JID{}, err
	}
	bare.s += "/" + r
	return bare, nil
}

// Clone is the same address in memory of its own, for keeping one that was parsed from a piece of a larger
// buffer: the buffer is not held by it.
func (j JID) Clone() JID {
	j.s = strings.Clone(j.s)
	return j
}

// Compare orders addresses by the bytes of their canonical form: -1, 0 or 1 as for strings.Compare.
func (j JID) Compare(o JID) int { return strings.Compare(j.s, o.s) }

// IsZero says that this is no address.
func (j JID) IsZero() bool { return j.domain == 0 }

// IsFull says that there is a resourcepart.
func (j JID) IsFull() bool { return len(j.s) > j.bareLen() }

// IsBare says that there is a localpart and no resourcepart: an account.
func (j JID) IsBare() bool { return j.local > 0 && !j.IsFull() }

// IsHost says that there is a domainpart only: a server or a service.
func (j JID) IsHost() bool { return j.local == 0 && j.domain > 0 && !j.IsFull() }
