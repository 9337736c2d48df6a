package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// A fault of ours that meets what users say and keep, and panics with it in its mouth, gets none of it into the log: each request has its
// one answer, a message ends its sender's own session, and all is well for others, and when the fault is gone.
func TestCanariesOfFaults(t *testing.T) {
	disk := xmpptest.NewDisk(nil)
	inWorld(t, xmpptest.Options{Disk: disk, Config: []string{"log.level = 'debug'"}}, func(t *testing.T, w *xmpptest.World) {
		john, marie := connected(t, w, "john", "phone"), connected(t, w, "marie", "laptop")
		message := "<message type='chat' to='marie@localhost'><body>" + canaryBody + "</body></message>"
		if err := john.Send(message); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		disk.Fail(xmpptest.Faulty)
		for _, xml := range []string{
			"<iq type='set' id='1'><query xmlns='jabber:iq:private'><x xmlns='urn:x'>" + canaryPrivate + "</x></query></iq>",
			"<iq type='set' id='2'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'><item id='1'><x xmlns='urn:x'>" + canaryPrivate + "</x></item></publish></pubsub></iq>",
			"<iq type='set' id='3'><vCard xmlns='vcard-temp'><FN>" + canaryVCard + "</FN></vCard></iq>",
			"<iq type='set' id='4'><query xmlns='urn:xmpp:mam:2'/></iq>",
		} {
			iq, err := xmlstream.ParseElement([]byte(strings.Replace(xml, "<iq ", "<iq xmlns='"+ns.Client+"' ", 1)), xmlstream.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := answers(t, john, iq, iq.Attr("id")); got != 1 {
				t.Errorf("%d answers to %s", got, xml)
			}
		}
		if err := john.Send(message); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, err := john.Poll(); err == nil; _, err = john.Poll() {
			synctest.Wait()
		}
		ping, err := xmlstream.ParseElement([]byte("<iq xmlns='"+ns.Client+"' type='get' id='5'><ping xmlns='urn:xmpp:ping'/></iq>"), xmlstream.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if answers(t, marie, ping, "5") != 1 {
			t.Error("somebody else's session is disturbed")
		}

		disk.Fail(xmpptest.Works)
		before := len(disk.All())
		if err := connected(t, w, "john", "phone").Send(message); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)                      // it is written
		if got := len(disk.All()); got != before+2 { // its recipient has one, and its sender
			t.Errorf("%d messages are stored, were %d", got, before)
		}
		log := w.Log()
		look(t, "the log", log)
		for _, while := range []string{"working on a request", "working on nodes", "answering a query", "handling a stanza"} {
			if !strings.Contains(log, "panic while "+while) {
				t.Errorf("there was no panic while %s: it is not tested", while)
			}
		}
	})
}
