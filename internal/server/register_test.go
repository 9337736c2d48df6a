package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// A stranger is a client that has not signed in.
type stranger struct {
	t *testing.T
	*xmpptest.Client
}

func callIn(t *testing.T, ctx context.Context, w *xmpptest.World) stranger {
	t.Helper()
	c, err := w.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return stranger{t, c}
}

// offered tells whether accounts are made, as the features have it.
func (s stranger) offered() bool { return s.Features.Child(ns.RegisterFeature, "register") != nil }

func registration(user, password string) string {
	return fmt.Sprintf("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query></iq>", user, password)
}

// register asks for an account and gives what came of it: "result", or the condition of the error.
func (s stranger) register(ctx context.Context, user, password string) string {
	s.t.Helper()
	if err := s.Send(registration(user, password)); err != nil {
		s.t.Fatal(err)
	}
	el, err := s.Receive(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return outcome(el)
}

func outcome(el *xmlstream.Element) string {
	if e := el.Child(ns.Client, "error"); e != nil {
		return e.First().Local
	}
	return el.Attr("type")
}

// Accounts of one's own making are accounts, nobody gets a name that is somebody's, with an account or without, and the log says
// who and what, but no secret.
func TestRegistration(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, PushOnly: true, HostConfig: []string{
		"auth.registration = true", "auth.removal = true", `auth.reserved_names = ["ceo"]`, `admins = ["chief"]`}}
	accounts(t, o, func(t *testing.T, ctx context.Context, w *xmpptest.World, _ *xmpptest.Service) {
		for path, body := range map[string]string{"listed": `{"john@localhost": {}}`, "empty": "{}"} {
			if code, answer, err := w.Ask("PUT", "http://localhost/roster_admin/rosters/"+path, body); err != nil || code > 299 {
				t.Fatal(code, string(answer), err)
			}
		}
		if code, answer, err := w.Ask("POST", "http://localhost/admin/tokens", `{"user": "invited"}`); err != nil || code > 299 {
			t.Fatal(code, string(answer), err)
		}
		for _, tc := range []struct{ user, password, want string }{
			{"john", "canary-secret", "conflict"},
			{"JOHN", "canary-secret", "conflict"},
			{"listed", "canary-secret", "conflict"},
			{"invited", "canary-secret", "conflict"},
			{"CEO", "canary-secret", "not-acceptable"},
			{"Chief", "canary-secret", "not-acceptable"},     // who would be an administrator
			{"marie", "canary-\U0001F600", "not-acceptable"}, // which SASLprep does not allow
			{"marie", "canary-" + strings.Repeat("x", 122), "not-acceptable"},
			{"empty", "secret", "result"},
			{"Marie", "secret", "result"},
			{"marie", "canary-secret", "conflict"},
		} {
			s := callIn(t, ctx, w)
			if !s.offered() {
				t.Error("accounts are not offered")
			}
			if got := s.register(ctx, tc.user, tc.password); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.user, got, tc.want)
			}
		}
		marie, err := w.Connect(ctx, "marie", "phone")
		if err != nil {
			t.Fatal(err)
		}
		// Who removes the account has it no more; and for as long as somebody may be left who has signed in to it, nobody has.
		if err := marie.Send("<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>"); err != nil {
			t.Fatal(err)
		}
		if el, err := marie.Receive(ctx); err != nil || outcome(el) != "result" {
			t.Fatal(el, err)
		}
		marie.Close()
		synctest.Wait()
		for _, want := range []string{"conflict", "result"} {
			if got := callIn(t, ctx, w).register(ctx, "marie", "canary-secret"); got != want {
				t.Errorf("after the removal: %s, want %s", got, want)
			}
			time.Sleep(2 * time.Minute)
		}
		log := w.Log()
		if strings.Contains(log, "canary-s") || strings.Contains(log, "xxx") {
			t.Error("a password is in the log")
		}
		for _, want := range []string{`msg="account made"`, `user=marie`, `msg="registration refused"`, "condition=conflict"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log has no %s", want)
			}
		}
		_, metrics, err := w.Ask("GET", "http://localhost/metrics", "")
		for _, want := range []string{`{host="localhost",result="made"} 3`, `result="taken"} 6`, `result="unacceptable"} 4`, `result="refused"} 0`} {
			if err != nil || !strings.Contains(string(metrics), want) {
				t.Errorf("the metrics have no %s, %v", want, err)
			}
		}
	})
}

// A new password has auth.password_min characters, whoever sets it.
func TestShortPasswords(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, HostConfig: []string{"auth.registration = true", "auth.password_min = 8"}}
	accounts(t, o, func(t *testing.T, ctx context.Context, w *xmpptest.World, _ *xmpptest.Service) {
		api := func(method, path, body string) string {
			t.Helper()
			code, answer, err := w.Ask(method, "http://localhost/admin/users"+path, body)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(code, strings.Contains(string(answer), "the password is shorter than 8 characters"))
		}
		// It is characters of what is hashed that count: neither bytes, nor those that SASLprep takes away.
		for _, short := range []string{"sevenup", "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4", "sevenup\u00ad"} {
			for way, got := range map[string]string{
				"registration not-acceptable": callIn(t, ctx, w).register(ctx, "marie", short),
				"make 400 true":               api("POST", "", `{"user": "marie", "password": "`+short+`"}`),
				"set 400 true":                api("PATCH", "/john", `{"password": "`+short+`"}`),
			} {
				if _, want, _ := strings.Cut(way, " "); got != want {
					t.Errorf("%q: %s, and got %s", short, way, got)
				}
			}
		}
		for way, got := range map[string]string{
			"registration result": callIn(t, ctx, w).register(ctx, "marie", "eightups"),
			"make 201 false":      api("POST", "", `{"user": "aaron", "password": "eightups"}`),
			"set 200 false":       api("PATCH", "/john", `{"password": "eightups"}`),
		} {
			if _, want, _ := strings.Cut(way, " "); got != want {
				t.Errorf("long enough: %s, and got %s", way, got)
			}
		}
	})
}

// Nobody may make an account who has not been told so, and SIGHUP says it.
func TestReloadRegistration(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}}
	accounts(t, o, func(t *testing.T, ctx context.Context, w *xmpptest.World, _ *xmpptest.Service) {
		old := callIn(t, ctx, w)
		if old.offered() || old.register(ctx, "marie", "secret") != "service-unavailable" {
			t.Error("an account can be made")
		}
		on := xmpptest.Options{HostConfig: []string{"auth.registration = true", `auth.reserved_names = ["ceo"]`, "auth.removal = true"},
			Config: []string{"limits.registrations = 2"}}
		live, err := w.Reload(on)
		want := []string{"host.auth.registration of localhost", "host.auth.removal of localhost", "host.auth.reserved_names of localhost", "limits.registrations"}
		slices.Sort(live)
		if slices.Sort(want); err != nil || !slices.Equal(live, want) {
			t.Fatalf("took over %v, %v", live, err)
		}
		if s := callIn(t, ctx, w); !s.offered() || s.register(ctx, "ceo", "secret") != "not-acceptable" || s.register(ctx, "marie", "secret") != "result" {
			t.Error("no account can be made")
		}
		if got := callIn(t, ctx, w).register(ctx, "marie", "secret"); got != "conflict" {
			t.Errorf("a name that is taken: %s", got)
		}
		if got := callIn(t, ctx, w).register(ctx, "nurse", "secret"); got != "resource-constraint" {
			t.Errorf("more than the host's two: %s", got)
		}
		marie, err := w.Connect(ctx, "marie", "phone")
		if err != nil {
			t.Fatal(err)
		}
		defer marie.Close()
		if _, err := w.Reload(xmpptest.Options{}); err != nil {
			t.Fatal(err)
		}
		if s := callIn(t, ctx, w); s.offered() || s.register(ctx, "nurse", "secret") != "service-unavailable" {
			t.Error("an account can be made again")
		}
		if err := marie.Send("<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>"); err != nil {
			t.Fatal(err)
		}
		if el, err := marie.Receive(ctx); err != nil || outcome(el) != "not-allowed" {
			t.Errorf("removal: %s, %v", el, err)
		}
	})
}

// Behind a reverse proxy it is the client's address that has a budget, and without TLS there no account is made.
func TestRegistrationBehindAProxy(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, HostConfig: []string{"auth.registration = true"},
		Config: []string{"limits.registrations_per_address = 2"}}
	accounts(t, o, func(t *testing.T, ctx context.Context, w *xmpptest.World, _ *xmpptest.Service) {
		var n int
		try := func(headers string) string {
			n++
			code, body := raw(t, w, post("/http-bind", headers, create))
			if code != 200 {
				t.Fatal(code, body)
			}
			el, err := xmlstream.ParseElement([]byte(body), xmlstream.Limits{Bytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			iq := strings.Replace(registration(fmt.Sprint("user", n), "secret"), "<iq", "<iq xmlns='jabber:client'", 1)
			_, body = raw(t, w, post("/http-bind", headers, fmt.Sprintf("<body xmlns='%s' rid='2' sid='%s'>%s</body>", ns.BOSH, el.Attr("sid"), iq)))
			if el, err = xmlstream.ParseElement([]byte(body), xmlstream.Limits{Bytes: 1 << 20}); err != nil || el.First() == nil {
				t.Fatal(body, err)
			}
			return outcome(el.First())
		}
		const tls = "X-Forwarded-Proto: https\r\n"
		one, other := "X-Forwarded-For: 203.0.113.7\r\n", "X-Forwarded-For: 203.0.113.8\r\n"
		for _, tc := range []struct{ headers, want string }{
			{one, "not-authorized"},
			{one + tls, "result"},
			{one + tls, "result"},
			{one + tls, "resource-constraint"},
			{other + tls, "result"},
		} {
			if got := try(tc.headers); got != tc.want {
				t.Errorf("%q: %s, want %s", tc.headers, got, tc.want)
			}
		}
	})
}
