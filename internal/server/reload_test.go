package server_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/xmpptest"
)

// reloaded plays with a server that john is signed in to, and who is there in the end as well.
func reloaded(t *testing.T, o xmpptest.Options, play func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, john *xmpptest.Client)) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("john", `{}`)
		w, err := xmpptest.Start(t, service, o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		john, err := w.Connect(t.Context(), "john", "phone")
		if err != nil {
			t.Fatal(err)
		}
		play(t, w, service, john)
		if log := w.Log(); strings.Contains(log, "session closed") {
			t.Error("a session has ended")
		}
		john.Close()
	})
}

// refreshWith notifies with a token and gives the status.
func refreshWith(t *testing.T, w *xmpptest.World, token string) int {
	t.Helper()
	status, _ := raw(t, w, post("/roster_admin/refresh", "Authorization: Bearer "+token+"\r\n", `["john"]`))
	return status
}

func admits(token string) xmpptest.Options {
	return xmpptest.Options{Config: []string{`admin.token = "` + token + `"`}}
}

// A token that is replaced lets nobody in any more, and the new one does, at once.
func TestReloadToken(t *testing.T) {
	reloaded(t, admits("the-first-token"), func(t *testing.T, w *xmpptest.World, _ *xmpptest.Service, _ *xmpptest.Client) {
		if status := refreshWith(t, w, "the-first-token"); status != 200 {
			t.Fatalf("before: %d", status)
		}
		live, err := w.Reload(admits("the-second-token"))
		if err != nil || !slices.Equal(live, []string{"admin.token"}) {
			t.Errorf("reloaded %v, %v", live, err)
		}
		if old, fresh := refreshWith(t, w, "the-first-token"), refreshWith(t, w, "the-second-token"); old != 401 || fresh != 200 {
			t.Errorf("the old token is answered %d, the new one %d", old, fresh)
		}
		if strings.Contains(w.Log(), "-token\"") {
			t.Error("the log has a token")
		}
	})
}

// A configuration with a mistake changes nothing, not even what is right in it.
func TestReloadMistake(t *testing.T) {
	reloaded(t, admits("the-first-token"), func(t *testing.T, w *xmpptest.World, _ *xmpptest.Service, _ *xmpptest.Client) {
		for _, mistake := range []xmpptest.Options{
			{Config: []string{`admin.token = "the-second-token"`, `limits.resume = "soon"`}},
			{Config: []string{`admin.token = "the-second-token"`}, HostConfig: []string{`roster.batch_url = "http://{user}/"`}},
			{Config: []string{`admin.tokens = "the-second-token"`}},
		} {
			if live, err := w.Reload(mistake); err == nil || !strings.Contains(err.Error(), "the dialogue's configuration:") {
				t.Errorf("%v: reloaded %v, %v; want an error with its place", mistake, live, err)
			}
		}
		if first, second := refreshWith(t, w, "the-first-token"), refreshWith(t, w, "the-second-token"); first != 200 || second != 401 {
			t.Errorf("the first token is answered %d, the second %d", first, second)
		}
	})
}

// The service has moved: it is asked in the new way from now on, and what it was asked before, it answers.
func TestReloadService(t *testing.T) {
	reloaded(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, john *xmpptest.Client) {
		service.Answer("", xmpptest.Hang)
		answered := make(chan int, 1)
		go func() {
			status, _, err := w.Notify("", "", `["john"]`)
			if err != nil {
				t.Error(err)
			}
			answered <- status
		}()
		synctest.Wait()
		before := service.Fetches("john")
		live, err := w.Reload(xmpptest.Options{HostConfig: []string{`roster.batch_url = "http://app/batch"`}})
		if err != nil || !slices.Equal(live, []string{"host.roster.batch_url of localhost"}) {
			t.Errorf("reloaded %v, %v", live, err)
		}
		service.Answer("", xmpptest.Fine)
		service.Release()
		if status := <-answered; status != 200 || service.Batches() != 0 {
			t.Errorf("what was under way: %d, %d batches", status, service.Batches())
		}
		if status, _, err := w.Notify("", "", `["john"]`); status != 200 || err != nil {
			t.Errorf("the next: %d, %v", status, err)
		}
		if service.Batches() != 1 {
			t.Errorf("%d batches, %d more fetches", service.Batches(), service.Fetches("john")-before)
		}
	})
}

// What takes a restart is named each time, and left as it is. So is what would take a host's service away, and a host that the
// file no longer has keeps its credentials until it is gone.
func TestReloadOfWhatCannotChange(t *testing.T) {
	o := xmpptest.Options{Hosts: []string{"localhost", "other.example"}, HostConfig: []string{`admin_token = "the-first-token"`}}
	reloaded(t, o, func(t *testing.T, w *xmpptest.World, _ *xmpptest.Service, _ *xmpptest.Client) {
		for range 2 {
			o.PushOnly, o.Hosts = true, []string{"localhost"}
			o.Config = []string{`limits.resume = "1m"`}
			live, err := w.Reload(o)
			if err != nil || len(live) != 0 {
				t.Errorf("reloaded %v, %v", live, err)
			}
		}
		const named = `keys="[limits.resume host.roster.url of localhost host of other.example]"`
		if got := strings.Count(w.Log(), named); got != 2 {
			t.Errorf("the keys that take a restart were named %d times, want twice as %s", got, named)
		}
		status, _ := raw(t, w, post("/roster_admin/refresh?host=other.example", "", `["john"]`))
		if status != 401 {
			t.Errorf("the host that is to go is open: %d", status)
		}
	})
}

// What is archived of users who have said nothing is as the file says now.
func TestReloadArchive(t *testing.T) {
	o := xmpptest.Options{Disk: xmpptest.NewDisk(nil)}
	reloaded(t, o, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, john *xmpptest.Client) {
		ask := func(xml, want string) {
			t.Helper()
			if err := john.Send(xml); err != nil {
				t.Fatal(err)
			}
			if got, err := john.Receive(t.Context()); err != nil || !strings.Contains(got.String(), want) {
				t.Errorf("%v, %v; want %s", got, err, want)
			}
		}
		count := func(n string) {
			t.Helper()
			ask("<message to='john@localhost/phone' type='chat'><body>1</body></message>", "<body>1</body>")
			ask("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set></query></iq>", "<count>"+n+"</count>")
		}
		count("1")
		o.HostConfig = []string{`archive.default = "never"`}
		if live, err := w.Reload(o); err != nil || !slices.Equal(live, []string{"host.archive.default of localhost"}) {
			t.Errorf("reloaded %v, %v", live, err)
		}
		ask("<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>", "default='never'")
		count("1")
	})
}
