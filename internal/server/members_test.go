package server_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/store"
	"rollcall/internal/xmpptest"
)

// Where an application knows the users, a flood of messages to made-up names leaves nothing behind, on disk or in memory, and the
// application hears nothing of it.
func TestMadeUpNames(t *testing.T) {
	for name, disk := range map[string]*xmpptest.Disk{"disk": xmpptest.NewDisk(nil), "memory": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { floodMadeUpNames(t, disk) })
		})
	}
}

func floodMadeUpNames(t *testing.T, disk *xmpptest.Disk) {
	service := xmpptest.NewService()
	service.Set("john", `{"kate@localhost": {}}`)
	w, err := xmpptest.Start(t, service, xmpptest.Options{Disk: disk, HostConfig: []string{"auth.method = 'http'", "auth.url = 'http://app/auth'"}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	marie, err := w.Connect(t.Context(), "marie", "pc") // has been there
	if err != nil {
		t.Fatal(err)
	}
	marie.Close()
	john, err := w.Connect(t.Context(), "john", "pc")
	if err != nil {
		t.Fatal(err)
	}
	defer john.Close()
	if err := john.Send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"); err != nil {
		t.Fatal(err)
	}
	if _, err := john.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	const names = 10_000
	for i := range names {
		if err := john.Send(fmt.Sprintf("<message to='nobody%d@localhost' type='chat' id='%d'><body>x</body></message>", i, i)); err != nil {
			t.Fatal(err)
		}
		el, err := john.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if el.Attr("type") != "error" || el.Attr("id") != fmt.Sprint(i) {
			t.Fatalf("%d is answered %s", i, el)
		}
	}
	for _, to := range []string{"kate", "marie"} {
		if err := john.Send("<message to='" + to + "@localhost' type='chat'><body>x</body></message>"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	if el, err := john.Poll(); el != nil || err != nil {
		t.Fatalf("%s %v", el, err)
	}
	for i := range names {
		if n := service.Fetches(fmt.Sprint("nobody", i)); n > 0 {
			t.Fatalf("the application was asked about nobody%d", i)
		}
	}
	if disk == nil {
		return
	}
	var to []string
	for _, m := range disk.All() {
		if !m.Undelivered { // in the archive alone, the sender's
			continue
		}
		to = append(to, m.Username)
		if m.Known != store.Anybody {
			t.Error("what was asked is stored")
		}
	}
	if fmt.Sprint(to) != "[kate marie]" {
		t.Errorf("stored for %v", to)
	}
}
