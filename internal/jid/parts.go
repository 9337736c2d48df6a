package jid

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	mellium "mellium.im/xmpp/jid"
)

// What a byte of plain ASCII may be in an address.
const (
	inLocal    = 1 << iota // stands in a localpart as it is
	inDomain               // a lowercase letter or digit of a domainpart
	inResource             // stands in a resourcepart as it is
	isUpper                // A to Z: lowercased in localpart and domainpart
)

var class = func() (t [256]uint8) {
	// PRECIS allows all of ASCII7 in an identifier and in addition the space in an opaque string (RFC 8264
	// section 9.11); the localpart excludes some (RFC 7622 section 3.3.1).
	for c := 0x20; c < 0x7f; c++ {
		t[c] = inResource
		if c > 0x20 && !strings.ContainsRune(excluded, rune(c)) {
			t[c] |= inLocal
		}
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= inDomain
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= inDomain
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = inResource | isUpper
	}
	return t
}()

// excluded are the characters that the localpart excludes beyond PRECIS (RFC 7622 section 3.3.1). The
// space needs no mention: no identifier has one.
const excluded = `"&'/:<>@`

// Localpart brings a localpart, the user's name, into canonical form: the UsernameCaseMapped profile
// (RFC 8265 section 3.3) and the exclusions of RFC 7622 section 3.3.1. An empty one is refused.
func Localpart(s string) (string, error) {
	if err := checkInput("localpart", s); err != nil {
		return "", err
	}
	var seen uint8
	i := 0
	for ; i < len(s); i++ {
		c := class[s[i]]
		if c&(inLocal|isUpper) == 0 {
			break
		}
		seen |= c
	}
	switch {
	case i < len(s) && s[i] < 0x80:
		return "", refuse("localpart", s, fmt.Sprintf("has the character %q, which is not allowed there", s[i]))
	case i < len(s):
		return settle("localpart", s, func(s string) (string, error) {
			j, err := mellium.New(s, "localhost", "")
			return j.Localpart(), err
		})
	case seen&isUpper != 0:
		s = asciiLower(s)
	}
	return checkLength("localpart", s)
}

// Resourcepart brings a resourcepart into canonical form: the OpaqueString profile (RFC 8265 section 4.2),
// which keeps case and spaces, leading ones included (errata 4560). An empty one is refused.
func Resourcepart(s string) (string, error) {
	if err := checkInput("resourcepart", s); err != nil {
		return "", err
	}
	for i := 0; i < len(s); i++ {
		if class[s[i]]&inResource != 0 {
			continue
		}
		if s[i] < 0x80 {
			return "", refuse("resourcepart", s, fmt.Sprintf("has the control character %q", s[i]))
		}
		return settle("resourcepart", s, func(s string) (string, error) {
			j, err := mellium.New("", "localhost", s)
			return j.Resourcepart(), err
		})
	}
	return checkLength("resourcepart", s)
}

// Domainpart brings a domainpart into canonical form (RFC 7622 section 3.2): a name of U-labels and
// NR-LDH labels in lowercase without a final dot, an IPv4 address, or an IPv6 address in brackets, which
// is written as RFC 5952 has it so that one address is one string. An empty one is refused.
func Domainpart(s string) (string, error) {
	if err := checkInput("domainpart", s); err != nil {
		return "", err
	}
	if plainDomain(s) {
		return checkLength("domainpart", s)
	}
	if s[0] == '[' {
		return ipv6(s)
	}
	// "Such a character MUST be stripped before any other canonicalization steps are taken."
	if lower := asciiLower(strings.TrimSuffix(s, ".")); plainDomain(lower) {
		return checkLength("domainpart", lower)
	}
	d := strings.TrimSuffix(dots.Replace(s), ".")
	if strings.IndexByte(d, ':') >= 0 {
		// Not left to mellium, which takes ::ffff:192.0.2.1 for an IPv4 address.
		return "", refuse("domainpart", s, "has a colon: write an IPv6 address in brackets, and no port")
	}
	if emptyLabel(d) {
		return "", refuse("domainpart", s, "has an empty label")
	}
	u, err := settle("domainpart", d, func(s string) (string, error) {
		j, err := mellium.New("", s, "")
		return j.Domainpart(), err
	})
	if err != nil {
		return "", err
	}
	if emptyLabel(u) {
		return "", refuse("domainpart", s, "has an empty label")
	}
	return u, nil
}

// dots are the characters that end a label besides the full stop (RFC 5895 section 2).
var dots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// plainDomain says that s consists of labels of a-z and 0-9 with single hyphens between them, and so is
// canonical. Two hyphens in a row are left to IDNA: they are what A-labels have.
func plainDomain(s string) bool {
	word := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case class[c]&inDomain != 0:
			word = true
		case word && (c == '.' || c == '-'):
			word = false
		default:
			return false
		}
	}
	return word
}

func emptyLabel(s string) bool {
	return s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..")
}

// asciiLower lowers A to Z only; other letters are IDNA's.
func asciiLower(s string) string {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&isUpper == 0 {
			continue
		}
		b := []byte(s)
		for ; i < len(b); i++ {
			if class[b[i]]&isUpper != 0 {
				b[i] += 'a' - 'A'
			}
		}
		return string(b)
	}
	return s
}

func ipv6(s string) (string, error) {
	inner, closed := strings.CutSuffix(s[1:], "]")
	ip, err := netip.ParseAddr(inner)
	if !closed || err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", refuse("domainpart", s, "is not an IPv6 address in brackets")
	}
	return "[" + ip.String() + "]", nil
}

// settle applies canon until it changes nothing more: some strings need a second pass, and a form that
// does not parse to itself would make two addresses of one. "If the output string does not stabilize after
// reapplying the rules three additional times ... reject" (RFC 8264 section 7).
func settle(part, s string, canon func(string) (string, error)) (string, error) {
	in := s
	for range 4 {
		out, err := canon(s)
		if err != nil {
			return "", refuse(part, in, "is not allowed: "+err.Error())
		}
		if out == "" {
			return "", refuse(part, in, "has no character that counts")
		}
		if out == s {
			return checkLength(part, out)
		}
		s = out
	}
	return "", refuse(part, in, "has no canonical form")
}

func checkInput(part, s string) error {
	switch {
	case s == "":
		return errors.New("jid: the " + part + " is empty")
	case len(s) > maxInput:
		return refuse(part, s, fmt.Sprintf("has more than %d bytes", MaxPart))
	}
	return nil
}

// checkLength is applied to the canonical form: "this rule is to be enforced after any mapping or
// normalization" (RFC 7622 section 3.3.1).
func checkLength(part, s string) (string, error) {
	if len(s) > MaxPart {
		return "", refuse(part, s, fmt.Sprintf("has more than %d bytes", MaxPart))
	}
	return s, nil
}

// refuse is the error for a bad part. It quotes no more than the beginning of a long one: errors are
// logged, and the other side chooses how long its addresses are.
func refuse(part, s, why string) error {
	const shown = 64
	if len(s) > shown {
		return fmt.Errorf("jid: the %s %q... %s", part, s[:shown], why)
	}
	return fmt.Errorf("jid: the %s %q %s", part, s, why)
}
