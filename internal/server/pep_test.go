package server_test

import (
	"testing"
	"testing/synctest"

	"rollcall/internal/xmpptest"
)

// XEP-0223 section 6: clients that ask the server, and not the account, learn that accounts keep private data in nodes; where they do.
func TestServerTellsOfPrivateNodes(t *testing.T) {
	for _, disk := range []*xmpptest.Disk{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			service := xmpptest.NewService()
			service.Set("john", `{}`)
			if disk != nil {
				disk = xmpptest.NewDisk(nil)
			}
			w, err := xmpptest.Start(t, service, xmpptest.Options{Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			john := arrive(t, w, "john", "phone")
			defer john.Close()
			john.send("<iq type='get' to='localhost' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
			identity, feature := false, false
			for el := range john.until("id='1'", "type='result'").First().Elements() {
				identity = identity || el.Attr("category") == "pubsub" && el.Attr("type") == "pep"
				feature = feature || el.Attr("var") == "http://jabber.org/protocol/pubsub#publish-options"
			}
			if want := disk != nil; identity != want || feature != want {
				t.Errorf("with a disk: %v; identity: %v, feature: %v", want, identity, feature)
			}
		})
	}
}
