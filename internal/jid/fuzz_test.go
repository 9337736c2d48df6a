package jid

import (
	"strings"
	"testing"
	"unicode/utf8"

	mellium "mellium.im/xmpp/jid"
)

var seeds = []string{
	"juliet@example.com", "juliet@example.com/foo bar", "example.com", "example.com/x@y", "a@b/c/d",
	"Juliet@EXAMPLE.com.", "a@xn--bcher-kva.example", "a@B\u00fccher.example", "\u03a3@example.com/foo",
	"\uff22ob@example.com", "a\uff20b@c", "a@b\u3002c", "[::1]", "a@[2001:DB8::1]/x", "192.0.2.1", "::ffff:192.0.2.1",
	"henry\u2163@example.com", "a@b--c", "a@ab--c", "a@-b", "a@b-", "a@b_c", "a@b..c", "a@.", "@", "/", "a@", "a@b/", "a@b/ ",
	"\u05d0\u05d1@example.com", "\u05d0a@example.com", "a@b/\x00", "a@b/\xff", "a@b/e\u0301", "\u0130@b", "\u1e9e@b", "a@b/\u00a0",
}

// Parse never panics, gives only canonical forms, and agrees with mellium alone, without the fast paths,
// but for what is named here.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := Parse(s)
		slow, slowErr := mellium.Parse(s)
		if err != nil {
			if j != (JID{}) {
				t.Fatalf("%q: an address %q beside the error %v", s, j, err)
			}
			if slowErr == nil && !stricter(slow) {
				t.Fatalf("%q: refused (%v), mellium has %q", s, err, slow)
			}
			return
		}
		checkParts(t, s, j)
		if slowErr != nil {
			if !looser(s) {
				t.Fatalf("%q: taken as %q, mellium refuses it: %v", s, j, slowErr)
			}
			return
		}
		// mellium may need more passes to come to rest, and leaves the spelling of IPv6 addresses.
		if again, err := Parse(slow.String()); err != nil || again != j {
			t.Fatalf("%q: %q, mellium has %q", s, j, slow)
		}
	})
}

func checkParts(t *testing.T, s string, j JID) {
	t.Helper()
	if again, err := Parse(j.String()); err != nil || again != j {
		t.Fatalf("%q: %q does not parse to itself: %q, %v", s, j, again, err)
	}
	if n, err := New(j.Local(), j.Domain(), j.Resource()); err != nil || n != j {
		t.Fatalf("%q: New of the parts of %q: %q, %v", s, j, n, err)
	}
	if !utf8.ValidString(j.String()) {
		t.Fatalf("%q: %q is not UTF-8", s, j)
	}
	if len(j.Local()) > MaxPart || len(j.Domain()) > MaxPart || len(j.Resource()) > MaxPart || j.Domain() == "" {
		t.Fatalf("%q: a part of %q has a wrong length", s, j)
	}
	if strings.ContainsAny(j.Local(), excluded+" ") || strings.ContainsAny(j.Domain(), "@/ <>&\"'") {
		t.Fatalf("%q: %q has a character where it is not allowed", s, j)
	}
	if strings.HasSuffix(j.Domain(), ".") {
		t.Fatalf("%q: %q has a final dot", s, j)
	}
}

// stricter says that mellium takes the address and this package has a reason not to: empty labels, an IPv4
// address written as IPv6, a form that never comes to rest.
func stricter(m mellium.JID) bool {
	d := m.Domainpart()
	if emptyLabel(d) || !strings.HasPrefix(d, "[") && strings.Contains(d, ":") {
		return true
	}
	s := m.String()
	for range 3 {
		again, err := mellium.Parse(s)
		if err != nil {
			return true
		}
		if again.String() == s {
			return false
		}
		s = again.String()
	}
	return true
}

// looser says that mellium refuses the address for a reason of its own: it wants "::ffff:192.0.2.1" not to
// be an IPv6 address, in brackets, and takes a final dot of another kind for a label that is too long.
func looser(s string) bool {
	return strings.Contains(s, "[") || strings.ContainsAny(s, "\u3002\uff0e\uff61")
}

// The fast path for each part decides as mellium does, byte by byte.
func TestFastPathBytes(t *testing.T) {
	for c := range 0x80 {
		for _, form := range []string{"%", "x%", "%x", "x%x", "X%"} {
			part := strings.Replace(form, "%", string(rune(c)), 1)
			agree := func(kind, got string, err error, want string, wantErr error) {
				if got != want && err == nil || (err == nil) != (wantErr == nil) {
					t.Errorf("%s %q: %q, %v; mellium has %q, %v", kind, part, got, err, want, wantErr)
				}
			}
			l, err := Localpart(part)
			m, merr := mellium.New(part, "example.com", "")
			agree("localpart", l, err, m.Localpart(), merr)
			r, err := Resourcepart(part)
			m, merr = mellium.New("", "example.com", part)
			agree("resourcepart", r, err, m.Resourcepart(), merr)
			if c == '.' {
				continue // empty labels: stricter here
			}
			d, err := Domainpart(part)
			m, merr = mellium.New("", part, "")
			agree("domainpart", d, err, m.Domainpart(), merr)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bm := range []struct{ name, in string }{
		{"full", "juliet@example.com/balcony"},
		{"bare", "juliet@example.com"},
		{"uppercase", "Juliet@Example.com/balcony"},
		{"accents", "\u00e9lodie@b\u00fccher.example/\u265a"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(bm.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("mellium", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := mellium.Parse("juliet@example.com/balcony"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
