package server_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// requests has one of each kind that the server answers, as they should be, to be mangled.
var requests = []string{
	"<query xmlns='jabber:iq:roster' ver='v1'/>",
	"<query xmlns='jabber:iq:roster'><item jid='marie@localhost' name='M' subscription='both'><group>G</group></item></query>",
	"<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>",
	"<query xmlns='http://jabber.org/protocol/disco#items' node='n'><set xmlns='http://jabber.org/protocol/rsm'><max>1</max><after>x</after></set></query>",
	"<ping xmlns='urn:xmpp:ping'/>",
	"<query xmlns='jabber:iq:version'><name>x</name></query>",
	"<time xmlns='urn:xmpp:time'/>",
	"<query xmlns='jabber:iq:last'/>",
	"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>",
	"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind>",
	"<vCard xmlns='vcard-temp'><FN>x</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>aGVsbG8=</BINVAL></PHOTO></vCard>",
	"<query xmlns='jabber:iq:private'><x xmlns='urn:x' a='b'>c</x></query>",
	"<blocklist xmlns='urn:xmpp:blocking'/>",
	"<block xmlns='urn:xmpp:blocking'><item jid='mallory@localhost'/></block>",
	"<unblock xmlns='urn:xmpp:blocking'><item jid='mallory@localhost'/></unblock>",
	"<enable xmlns='urn:xmpp:carbons:2'/>",
	"<disable xmlns='urn:xmpp:carbons:2'/>",
	"<query xmlns='urn:xmpp:mam:2' queryid='f27'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>" +
		"<field var='start'><value>2010-06-07T00:00:00Z</value></field></x><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set></query>",
	"<metadata xmlns='urn:xmpp:mam:2'/>",
	"<prefs xmlns='urn:xmpp:mam:2' default='always'><always><jid>romeo@localhost</jid></always><never/></prefs>",
	"<query xmlns='jabber:iq:register'><username>john</username><password>x</password></query>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'><item id='1'><x xmlns='urn:x'>t</x></item></publish></pubsub>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:x' max_items='1'/></pubsub>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='urn:x' jid='john@localhost'/></pubsub>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:x' notify='true'><item id='1'/></retract></pubsub>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='urn:y'/><configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>" +
		"<value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'><value>presence</value></field></x></configure></pubsub>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='urn:y'/></pubsub>",
	"<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='urn:y'/></pubsub>",
	"<enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='n'><x xmlns='jabber:x:data' type='submit'/></enable>",
}

// junk stands in the place of values.
var junk = []string{"", "-1", "99999999999999999999", "'\"<>&\t\n", "a@b@c/d", strings.Repeat("x", 5000)}

// mangled gives everything that an element becomes when one thing in it is dropped, doubled, or something else.
func mangled(el *xmlstream.Element) (all []*xmlstream.Element) {
	add := func(change func(*xmlstream.Element)) {
		c := el.Clone()
		change(c)
		all = append(all, c)
	}
	for i := range el.Attrs {
		add(func(c *xmlstream.Element) { c.Attrs = append(c.Attrs[:i:i], c.Attrs[i+1:]...) })
		for _, v := range junk {
			add(func(c *xmlstream.Element) { c.Attrs[i].Value = v })
		}
	}
	for i, n := range el.Nodes {
		add(func(c *xmlstream.Element) { c.Nodes = append(c.Nodes[:i:i], c.Nodes[i+1:]...) })
		add(func(c *xmlstream.Element) { c.Nodes = append(c.Nodes, n) })
		if n.Elem == nil {
			for _, v := range junk {
				add(func(c *xmlstream.Element) { c.Nodes[i].Text = v })
			}
			continue
		}
		add(func(c *xmlstream.Element) { c.Nodes[i] = xmlstream.Node{Text: "text"} })
		for _, inner := range mangled(n.Elem) {
			add(func(c *xmlstream.Element) { c.Nodes[i].Elem = inner })
		}
	}
	add(func(c *xmlstream.Element) { c.Space = "urn:x" })
	add(func(c *xmlstream.Element) { c.Local += "x" })
	add(func(c *xmlstream.Element) { c.Append(xmlstream.New("urn:x", "more")) })
	add(func(c *xmlstream.Element) { c.Nodes = append(c.Nodes, c.Nodes...) })
	return all
}

// Attack case 12: every kind of request, with each thing in it dropped, doubled or mistaken, as a get and a set, to the
// server, to oneself and to somebody else, is answered once; and nothing breaks.
func TestMangledRequests(t *testing.T) {
	inWorld(t, xmpptest.Options{Disk: xmpptest.NewDisk(nil), Config: []string{"limits.rate = 0"}}, func(t *testing.T, w *xmpptest.World) {
		john := connected(t, w, "john", "phone")
		n := 0
		for _, xml := range requests {
			payload, err := xmlstream.ParseElement([]byte(xml), xmlstream.Limits{})
			if err != nil {
				t.Fatalf("%s: %v", xml, err)
			}
			for _, p := range append(mangled(payload), payload) {
				for _, typ := range []string{"get", "set"} {
					for _, to := range []string{"", "localhost", "john@localhost", "marie@localhost"} {
						n++
						id := fmt.Sprintf("id%d", n)
						iq := xmlstream.New(ns.Client, "iq", "type", typ, "id", id, "to", to).Append(p)
						if got := answers(t, john, iq, id); got != 1 {
							t.Fatalf("answered %d times: %.500s", got, iq)
						}
					}
				}
			}
		}
		t.Logf("%d requests", n)
		if log := w.Log(); strings.Contains(log, "panic") {
			t.Errorf("a panic:\n%.3000s", log[strings.Index(log, "panic"):])
		}
	})
}

// answers sends a request and counts its answers, those that come late included.
func answers(t *testing.T, c *xmpptest.Client, iq *xmlstream.Element, id string) (n int) {
	t.Helper()
	if err := c.Send(string(iq.AppendXML(nil, ns.Client))); err != nil {
		t.Fatalf("%.300s: %v", iq, err)
	}
	for range 2 {
		synctest.Wait()
		for {
			el, err := c.Poll()
			if err != nil {
				t.Fatalf("%.300s: %v", iq, err)
			}
			if el == nil {
				break
			}
			if typ := el.Attr("type"); el.Local == "iq" && el.Attr("id") == id && (typ == "result" || typ == "error") {
				n++
			}
		}
		if n > 0 {
			return n
		}
		time.Sleep(time.Minute) // one that was put off
	}
	return n
}

func connected(t *testing.T, w *xmpptest.World, user, resource string) *xmpptest.Client {
	t.Helper()
	c, err := w.Connect(t.Context(), user, resource)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Attack case 12, the stanza itself.
func TestMangledStanzas(t *testing.T) {
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		for _, xml := range []string{
			"<iq xmlns='jabber:client' type='get' id='1' to='localhost' xml:lang='en'><ping xmlns='urn:xmpp:ping'/></iq>",
			"<message xmlns='jabber:client' type='chat' id='1' to='marie@localhost/x' from='john@localhost/phone'><body>hi</body></message>",
			"<presence xmlns='jabber:client' type='probe' id='1' to='marie@localhost'><show>away</show><priority>5</priority></presence>",
		} {
			el, err := xmlstream.ParseElement([]byte(xml), xmlstream.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range mangled(el) {
				john := connected(t, w, "john", "phone")
				if err := john.Send(string(m.AppendXML(nil, ns.Client))); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				john.Close()
			}
		}
		if log := w.Log(); strings.Contains(log, "panic") {
			t.Errorf("a panic:\n%.3000s", log[strings.Index(log, "panic"):])
		}
		if n := answers(t, connected(t, w, "john", "phone"), xmlstream.New(ns.Client, "iq", "type", "get", "id", "last").Append(xmlstream.New(ns.Ping, "ping")), "last"); n != 1 {
			t.Errorf("afterwards: %d answers", n)
		}
	})
}

// Attack case 9: whatever is in an attribute, what arrives is one stanza with the same in it, and so is what comes back.
func TestSpecialCharacters(t *testing.T) {
	const special = "'\"<>&amp;\t\n</message><message to='x'/>]]>"
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		john, marie := connected(t, w, "john", "'\"<>&"), connected(t, w, "marie", "<message/>")
		message := xmlstream.New(ns.Client, "message", "to", marie.JID, "type", "chat", "id", special)
		message.Attrs = append(message.Attrs, xmlstream.Attr{Space: ns.XML, Local: "lang", Value: special})
		message.Append(xmlstream.New(ns.Client, "body").AppendText(special))
		message.Append(xmlstream.New("urn:x'\"<>&", "x", "a", special).AppendText(special))
		send := func() {
			if err := john.Send(string(message.AppendXML(nil, ns.Client))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		send()
		message.SetAttr("from", john.JID)
		if got := one(t, marie); sorted(got) != sorted(message) {
			t.Errorf("received\n%s\nwant\n%s", sorted(got), sorted(message))
		}
		message.SetAttr("from", "")
		message.SetAttr("to", "marie@localhost/<gone>")
		message.SetAttr("type", "")
		send()
		if got := one(t, john); got.Attr("type") != "error" || got.Attr("id") != special || got.Attr("from") != "marie@localhost/<gone>" {
			t.Errorf("the error is %s", got)
		}
		for _, xml := range []string{"<iq type='%s' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "<presence type='%s'/>"} {
			if err := john.Send(fmt.Sprintf(xml, "&apos;&lt;x&gt;")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got, err := john.Poll(); err != nil || got != nil && got.Attr("type") != "error" {
				t.Errorf("%s: %s, %v", xml, got, err)
			}
		}
	})
}

// one gives the one stanza that has come.
func one(t *testing.T, c *xmpptest.Client) *xmlstream.Element {
	t.Helper()
	el, err := c.Poll()
	if err != nil || el == nil {
		t.Fatalf("received %s, %v", el, err)
	}
	if more, err := c.Poll(); more != nil || err != nil {
		t.Fatalf("more than one: %s, %v", more, err)
	}
	return el
}

// sorted writes an element with the attributes of its first level in order.
func sorted(el *xmlstream.Element) string {
	c := el.Clone()
	for i := range c.Attrs {
		for k := i; k > 0 && c.Attrs[k].Local < c.Attrs[k-1].Local; k-- {
			c.Attrs[k], c.Attrs[k-1] = c.Attrs[k-1], c.Attrs[k]
		}
	}
	return c.String()
}

// The cases of federation (dialback, jabber:server), of uploads (XEP-0363) and of compression (XEP-0138) have nothing to
// attack: they are not there, and nobody is told that they were.
func TestWhatIsNotThere(t *testing.T) {
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		for _, tc := range []struct{ first, want string }{
			{"<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='" + ns.Stream + "' to='localhost' from='evil.example' version='1.0'>", "<invalid-namespace "},
			{"<stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' to='localhost' version='1.0'>" +
				"<db:result xmlns:db='jabber:server:dialback' from='evil.example' to='localhost'>key</db:result>", "<stream:error>"},
			{"<stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' to='localhost' version='1.0'>" +
				"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>", "<stream:error>"},
		} {
			c, err := w.DialC2S(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go fmt.Fprint(c, tc.first)
			b := readFor(t, c)
			if !strings.Contains(b, tc.want) || strings.Contains(b, "dialback") || strings.Contains(b, "compress") {
				t.Errorf("%.80s…: answered %s", tc.first, b)
			}
		}
		john := connected(t, w, "john", "phone")
		for i, tc := range []struct{ to, payload string }{
			{"localhost", "<query xmlns='http://jabber.org/protocol/disco#info'/>"},
			{"localhost", "<query xmlns='http://jabber.org/protocol/disco#items'/>"},
			{"localhost", "<request xmlns='urn:xmpp:http:upload:0' filename='x' size='1'/>"},
			{"upload.localhost", "<request xmlns='urn:xmpp:http:upload:0' filename='x' size='1'/>"},
			{"john@elsewhere.example", "<ping xmlns='urn:xmpp:ping'/>"},
		} {
			if err := john.Send(fmt.Sprintf("<iq type='get' id='n%d' to='%s'>%s</iq>", i, tc.to, tc.payload)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			got := one(t, john)
			if s := got.String(); got.Attr("type") == "result" != (i < 2) || strings.Contains(s, "upload:0'/>") || strings.Contains(s, "compress") {
				t.Errorf("%s of %s: %s", tc.payload, tc.to, s)
			}
		}
	})
}

// readFor gives what comes in a second.
func readFor(t *testing.T, c interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
	Close() error
}) string {
	t.Helper()
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		all.Write(b[:n])
		if err != nil {
			return all.String()
		}
	}
}
