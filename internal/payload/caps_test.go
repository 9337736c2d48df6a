package payload

import (
	"strings"
	"testing"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// The examples of XEP-0115 sections 5.2 and 5.3, in another order.
func TestVerification(t *testing.T) {
	feature := func(name string) string { return "<feature var='http://jabber.org/protocol/" + name + "'/>" }
	features := feature("muc") + feature("disco#items") + feature("caps") + feature("disco#info")
	form := `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
		<field var='software_version'><value>0.11</value></field><field var='software'><value>Psi</value></field><field var='os_version'><value>10.5.1</value></field>
		<field var='os'><value>Mac</value></field><field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field></x>`
	for _, test := range []struct{ name, info, want string }{
		{"simple", features + "<identity category='client' type='pc' name='Exodus 0.9.1'/>", "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"complex", form + features + "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/><identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>",
			"q07IKJEyjvHSyhy//CH0CxmKi8w="},
	} {
		r := xmlstream.NewReader(strings.NewReader("<stream xmlns='"+ns.Client+"'><query xmlns='"+ns.DiscoInfo+"'>"+test.info+"</query>"), xmlstream.Limits{})
		var info *xmlstream.Element
		for info == nil {
			ev, err := r.Next()
			if err != nil {
				t.Fatal(test.name, err)
			}
			if ev.Kind == xmlstream.Stanza {
				info = ev.Element
			}
		}
		if got := Verification(info); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
