package payload

import (
	"strings"
	"testing"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

const (
	simple = `<identity category='client' name='Exodus 0.9.1' type='pc'/>
		<feature var='http://jabber.org/protocol/muc'/>
		<feature var='http://jabber.org/protocol/disco#info'/>
		<feature var='http://jabber.org/protocol/disco#items'/>
		<feature var='http://jabber.org/protocol/caps'/>`
	form = `<x xmlns='jabber:x:data' type='result'>
		<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
		<field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>
		<field var='software'><value>Psi</value></field>
		<field var='os'><value>Mac</value></field>
		<field var='os_version'><value>10.5.1</value></field>
		<field var='software_version'><value>0.11</value></field></x>`
	complex_ = `<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
		<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>
		<feature var='http://jabber.org/protocol/caps'/>
		<feature var='http://jabber.org/protocol/disco#info'/>
		<feature var='http://jabber.org/protocol/disco#items'/>
		<feature var='http://jabber.org/protocol/muc'/>`
	otherOrder = `<x xmlns='jabber:x:data' type='result'>
		<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
		<field var='software_version'><value>0.11</value></field>
		<field var='software'><value>Psi</value></field>
		<field var='os_version'><value>10.5.1</value></field>
		<field var='os'><value>Mac</value></field>
		<field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field></x>
		<feature var='http://jabber.org/protocol/muc'/>
		<feature var='http://jabber.org/protocol/disco#items'/>
		<feature var='http://jabber.org/protocol/caps'/>
		<feature var='http://jabber.org/protocol/disco#info'/>
		<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>
		<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>`
)

// The examples of XEP-0115 sections 5.2 and 5.3, and what section 5.4 calls ill-formed.
func TestVerification(t *testing.T) {
	for _, test := range []struct{ name, inside, hash, want string }{
		{"simple", simple, "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"complex", complex_ + form, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w="},
		{"in another order", otherOrder, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w="},
		{"a form without a hidden FORM_TYPE does not count", simple + strings.Replace(form, "type='hidden'", "", 1), "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"a hash that is not known", simple, "md2", ""},
		{"an identity twice", simple + `<identity category='client' name='Exodus 0.9.1' type='pc'/>`, "sha-1", ""},
		{"a feature twice", simple + `<feature var='http://jabber.org/protocol/muc'/>`, "sha-1", ""},
		{"a form twice", complex_ + form + form, "sha-1", ""},
		{"a form of two kinds", complex_ + strings.Replace(form, "</value></field>", "</value><value>urn:x</value></field>", 1), "sha-1", ""},
	} {
		info, err := xmlstream.ParseElement([]byte("<query xmlns='"+ns.DiscoInfo+"'>"+test.inside+"</query>"), xmlstream.Limits{})
		if err != nil {
			t.Fatal(test.name, err)
		}
		if got := Verification(info, test.hash); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
