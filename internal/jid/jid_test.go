package jid

import (
	"fmt"
	"strings"
	"testing"
)

func TestLegal(t *testing.T) {
	for _, tc := range []struct {
		name, in                string
		local, domain, resource string
	}{
		// RFC 7622 section 3.5, table 1.
		{"rfc 1", "juliet@example.com", "juliet", "example.com", ""},
		{"rfc 2", "juliet@example.com/foo", "juliet", "example.com", "foo"},
		{"rfc 3", "juliet@example.com/foo bar", "juliet", "example.com", "foo bar"},
		{"rfc 4", "juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"},
		{"rfc 5", `foo\20bar@example.com`, `foo\20bar`, "example.com", ""},
		{"rfc 6", "fussball@example.com", "fussball", "example.com", ""},
		{"rfc 7", "fu\u00dfball@example.com", "fu\u00dfball", "example.com", ""},
		{"rfc 8", "\u03c0@example.com", "\u03c0", "example.com", ""},
		{"rfc 9", "\u03a3@example.com/foo", "\u03c3", "example.com", "foo"},
		{"rfc 10", "\u03c3@example.com/foo", "\u03c3", "example.com", "foo"},
		{"rfc 11", "\u03c2@example.com/foo", "\u03c2", "example.com", "foo"},
		{"rfc 12", "king@example.com/\u265a", "king", "example.com", "\u265a"},
		{"rfc 13", "example.com", "", "example.com", ""},
		{"rfc 14", "example.com/foobar", "", "example.com", "foobar"},
		{"rfc 15", "a.example.com/b@example.net", "", "a.example.com", "b@example.net"},
		// Table 2 calls this one illegal, errata 4560 takes that back.
		{"rfc 18", "juliet@example.com/ foo", "juliet", "example.com", " foo"},

		{"uppercase", "Juliet@EXAMPLE.com/Balcony", "juliet", "example.com", "Balcony"},
		{"slash in resource", "a@b/c/d", "a", "b", "c/d"},
		{"slash first in resource", "a@b//", "a", "b", "/"},
		{"at-sign in resource of a host", "b/@", "", "b", "@"},
		{"all ASCII in a resource", "b/" + asciiRange(' ', '~'), "", "b", asciiRange(' ', '~')},
		{"punctuation in localpart", "a.b-c_d+e!f#g$h%i*=?^`{|}~[];,()@b", "a.b-c_d+e!f#g$h%i*=?^`{|}~[];,()", "b", ""},
		{"final dot", "a@example.com.", "a", "example.com", ""},
		{"final dot, uppercase", "a@Example.COM./x", "a", "example.com", "x"},
		{"final ideographic dot", "a@example.com\u3002", "a", "example.com", ""},
		{"ideographic dots", "a@example\u3002com", "a", "example.com", ""},
		{"IPv4", "a@192.0.2.1", "a", "192.0.2.1", ""},
		{"IPv6", "a@[2001:db8::1]/x", "a", "[2001:db8::1]", "x"},
		{"IPv6 in another spelling", "a@[2001:DB8:0:0::0001]", "a", "[2001:db8::1]", ""},
		{"A-label", "a@xn--bcher-kva.example", "a", "b\u00fccher.example", ""},
		{"U-label", "a@b\u00fccher.example", "a", "b\u00fccher.example", ""},
		{"U-label, uppercase and decomposed", "a@BU\u0308CHER.example", "a", "b\u00fccher.example", ""},
		{"hyphens", "a@my-host-1.example", "a", "my-host-1.example", ""},
		{"digits first", "1a@1.2x.3com", "1a", "1.2x.3com", ""},
		{"fullwidth localpart", "\uff22\uff4f\uff42@example.com", "bob", "example.com", ""},
		{"decomposed localpart", "e\u0301@example.com", "\u00e9", "example.com", ""},
		{"accent, uppercase", "\u00c9LODIE@example.com", "\u00e9lodie", "example.com", ""},
		{"other spaces in resource", "a@b/x\u00a0y", "a", "b", "x y"},
		{"resource keeps case", "a@b/\u00c9", "a", "b", "\u00c9"},
		{"Hebrew localpart", "\u05d0\u05d1@example.com", "\u05d0\u05d1", "example.com", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j, err := Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if j.Local() != tc.local || j.Domain() != tc.domain || j.Resource() != tc.resource {
				t.Errorf("got %q %q %q, want %q %q %q", j.Local(), j.Domain(), j.Resource(), tc.local, tc.domain, tc.resource)
			}
			checkIdentity(t, j)
			if n, err := New(tc.local, tc.domain, tc.resource); err != nil || n != j {
				t.Errorf("New of the parts: %v, %v, want %v", n, err, j)
			}
		})
	}
}

func TestIllegal(t *testing.T) {
	for _, tc := range []struct{ name, in, says string }{
		// RFC 7622 section 3.5, table 2; 18 is withdrawn by errata 4560.
		{"rfc 16", `"juliet"@example.com`, `'"'`},
		{"rfc 17", "foo bar@example.com", "' '"},
		{"rfc 19", "@example.com/", `before the "@"`},
		{"rfc 20", "henry\u2163@example.com", "not allowed"},
		{"rfc 21", "\u265a@example.com", "not allowed"},
		{"rfc 22", "juliet@", "domainpart is empty"},
		{"rfc 23", "/foobar", "domainpart is empty"},

		{"empty", "", "domainpart is empty"},
		{"nothing before the at-sign", "@example.com", `before the "@"`},
		{"nothing after the slash", "a@b/", `after the "/"`},
		{"host, nothing after the slash", "b/", `after the "/"`},
		{"two at-signs", "a@b@c", "not allowed"},
		{"ampersand", "a&b@c", "'&'"},
		{"apostrophe", "a'b@c", `'\''`},
		{"colon", "a:b@c", "':'"},
		{"less than", "a<b@c", "'<'"},
		{"greater than", "a>b@c", "'>'"},
		{"fullwidth at-sign becomes one", "a\uff20b@c", "not allowed"},
		{"fullwidth solidus becomes one", "a\uff0fb@c", "not allowed"},
		{"fullwidth solidus in the domain", "a@b\uff0fc", "not allowed"},
		{"NUL in localpart", "a\x00b@c", `'\x00'`},
		{"NUL in resource", "a@b/\x00", "control character"},
		{"DEL in resource", "a@b/\x7f", "control character"},
		{"newline in resource", "a@b/x\ny", "control character"},
		{"newline in localpart", "a\r\nb@c", `'\r'`},
		{"newline in domain", "a@b\n", "not allowed"},
		{"C1 control in resource", "a@b/\u0085", "not allowed"},
		{"bad UTF-8 in localpart", "\xff@b", "UTF-8"},
		{"bad UTF-8 in domain", "a@b\xff", "UTF-8"},
		{"bad UTF-8 in resource", "a@b/\xc3", "UTF-8"},
		{"surrogate in UTF-8", "a@b/\xed\xa0\x80", "UTF-8"},
		{"zero width joiner alone", "a\u200db@c", "not allowed"},
		{"bidi override in localpart", "a\u202eb@c", "not allowed"},
		{"mixed directions in localpart", "\u05d0a@c", "not allowed"},
		{"long localpart", strings.Repeat("a", MaxPart+1) + "@b", "more than 1023 bytes"},
		{"long domain", strings.Repeat("a", MaxPart+1), "more than 1023 bytes"},
		{"long domain of U-labels", "a@" + strings.Repeat("\u00fc", MaxPart/2+1), "1023 bytes"},
		{"long resource", "b/" + strings.Repeat("a", MaxPart+1), "more than 1023 bytes"},
		{"long resource that is not ASCII", "b/" + strings.Repeat("\u265a", MaxPart/3+1), "1024 bytes"},
		{"very long", strings.Repeat("a", 1<<20) + "@b", "is too long"},
		{"very long resource", "b/" + strings.Repeat("a", 2*maxInput), "more than 1023 bytes"},
		{"empty label", "a@b..c", "empty label"},
		{"leading dot", "a@.b", "empty label"},
		{"only a dot", "a@.", "empty label"},
		{"two final dots", "a@b..", "empty label"},
		{"final dots of two kinds", "a@b.\u3002", "empty label"},
		{"space in domain", "a@b c", "not allowed"},
		{"underscore in domain", "a@b_c", "not allowed"},
		{"leading hyphen", "a@-b", "not allowed"},
		{"final hyphen", "a@b-.c", "not allowed"},
		{"bad A-label", "a@xn--a", "not allowed"},
		{"port", "a@example.com:5222", "no port"},
		{"bare IPv6", "a@2001:db8::1", "brackets"},
		{"bare IPv4 in IPv6", "a@::ffff:192.0.2.1", "brackets"},
		{"IPv4 in brackets", "a@[192.0.2.1]", "not an IPv6 address"},
		{"IPv6 with zone", "a@[fe80::1%eth0]", "not an IPv6 address"},
		{"IPv6 not closed", "a@[::1", "not an IPv6 address"},
		{"name in brackets", "a@[b]", "not an IPv6 address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j, err := Parse(tc.in)
			if err == nil {
				t.Fatalf("taken as %q", j)
			}
			if !j.IsZero() || j != (JID{}) {
				t.Errorf("an address beside the error: %q", j)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the error is %q, want it to say %q", err, tc.says)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// A part of 1023 bytes is kept whole, at the limit in canonical form, not as written.
func TestLongestParts(t *testing.T) {
	a := strings.Repeat("a", MaxPart)
	j, err := Parse(a + "@" + a + "/" + a)
	if err != nil {
		t.Fatal(err)
	}
	if j.Local() != a || j.Domain() != a || j.Resource() != a {
		t.Error("a part was changed")
	}
	checkIdentity(t, j)

	wide, err := Localpart(strings.Repeat("\uff41", MaxPart))
	if err != nil || wide != a {
		t.Errorf("1023 fullwidth letters: %d bytes, %v", len(wide), err)
	}
	if _, err := Localpart(strings.Repeat("\uff41", MaxPart+1)); err == nil {
		t.Error("1024 fullwidth letters were taken")
	}
}

func TestKinds(t *testing.T) {
	for _, tc := range []struct {
		in                     string
		full, bare, host, zero bool
	}{
		{"a@b/c", true, false, false, false},
		{"a@b", false, true, false, false},
		{"b", false, false, true, false},
		{"b/c", true, false, false, false},
		{"", false, false, false, true},
	} {
		j, _ := Parse(tc.in) // the empty string gives the zero JID, and an error that is tested above
		if j.IsFull() != tc.full || j.IsBare() != tc.bare || j.IsHost() != tc.host || j.IsZero() != tc.zero {
			t.Errorf("%q: full %v, bare %v, host %v, zero %v", tc.in, j.IsFull(), j.IsBare(), j.IsHost(), j.IsZero())
		}
	}
	var zero JID
	if zero.Local()+zero.Domain()+zero.Resource()+zero.String() != "" || zero.Bare() != zero || zero.Host() != zero {
		t.Error("the zero JID has parts")
	}
}

func TestDerived(t *testing.T) {
	j := MustParse("juliet@example.com/balcony")
	if got := j.Bare(); got != MustParse("juliet@example.com") {
		t.Errorf("bare: %q", got)
	}
	if got := j.Host(); got != MustParse("example.com") {
		t.Errorf("host: %q", got)
	}
	if got := MustParse("example.com/x").Bare(); got != MustParse("example.com") {
		t.Errorf("bare of a host's resource: %q", got)
	}
	if got := j.Clone(); got != j {
		t.Errorf("clone: %q", got)
	}
	for _, base := range []JID{j, j.Bare()} {
		if got, err := base.WithResource("Garden\u00a0gate"); err != nil || got != MustParse("juliet@example.com/Garden gate") {
			t.Errorf("with another resource: %q, %v", got, err)
		}
		if got, err := base.WithResource(""); err != nil || got != j.Bare() {
			t.Errorf("without resource: %q, %v", got, err)
		}
	}
	if got, err := j.WithResource("\x00"); err == nil {
		t.Errorf("a bad resource was taken: %q", got)
	}
	if got, err := (JID{}).WithResource("x"); err == nil {
		t.Errorf("the zero JID got a resource: %q", got)
	}
	if b, err := j.MarshalText(); err != nil || string(b) != j.String() {
		t.Errorf("as text: %q, %v", b, err)
	}
	if c := MustParse("a@b").Compare(MustParse("b@b")); c != -1 {
		t.Errorf("compare: %d", c)
	}
}

func TestPartsAlone(t *testing.T) {
	for _, f := range []func(string) (string, error){Localpart, Domainpart, Resourcepart} {
		if got, err := f(""); err == nil {
			t.Errorf("an empty part was taken: %q", got)
		}
	}
	// Separators are characters like others once the parts are cut: refused where they do not belong.
	for _, s := range []string{"a@b", "a/b"} {
		if got, err := Localpart(s); err == nil {
			t.Errorf("localpart %q", got)
		}
		if got, err := Domainpart(s); err == nil {
			t.Errorf("domainpart %q", got)
		}
		if got, err := Resourcepart(s); err != nil || got != s {
			t.Errorf("resourcepart %q: %q, %v", s, got, err)
		}
	}
	if got, err := New("a@evil", "b", ""); err == nil {
		t.Errorf("a localpart with an at-sign made %q", got)
	}
}

func TestMustParsePanics(t *testing.T) {
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "domainpart is empty") {
			t.Errorf("recovered %v", err)
		}
	}()
	MustParse("a@")
}

func TestAllocations(t *testing.T) {
	full, upper := "juliet@example.com/balcony 7", "Juliet@example.com/balcony"
	j := MustParse(full)
	var sink JID
	var text string
	for _, tc := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"parse, canonical", 0, func() { sink, _ = Parse(full) }},
		{"parse, bare", 0, func() { sink, _ = Parse("juliet@xmpp-1.example.com") }},
		{"parse, host", 0, func() { sink, _ = Parse("example.com") }},
		{"bare", 0, func() { sink = j.Bare() }},
		{"host", 0, func() { sink = j.Host() }},
		{"parts", 0, func() { text = j.Local(); text = j.Domain(); text = j.Resource(); text = j.String() }},
		{"parse, uppercase", 2, func() { sink, _ = Parse(upper) }},
	} {
		if n := testing.AllocsPerRun(100, tc.f); n > tc.max {
			t.Errorf("%s: %v allocations, want at most %v", tc.name, n, tc.max)
		}
	}
	if sink.IsZero() || text == "" {
		t.Error("nothing was parsed")
	}
}

func checkIdentity(t *testing.T, j JID) {
	t.Helper()
	again, err := Parse(j.String())
	if err != nil || again != j {
		t.Errorf("%q does not parse to itself: %q, %v", j, again, err)
	}
	if fmt.Sprint(j) != j.String() {
		t.Errorf("printed as %q", fmt.Sprint(j))
	}
}

func asciiRange(from, to byte) string {
	var b []byte
	for c := from; c <= to; c++ {
		b = append(b, c)
	}
	return string(b)
}
