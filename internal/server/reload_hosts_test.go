package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

// tries has john try to sign in with a password. The outcome is "success" or the element's condition.
func tries(t *testing.T, w *xmpptest.World, password string) (outcome <-chan string) {
	t.Helper()
	c, err := w.DialC2S(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan string, 1)
	go func() {
		defer c.Close()
		plain := base64.StdEncoding.EncodeToString([]byte("\x00john\x00" + password))
		go fmt.Fprintf(c, "<stream:stream to='localhost' version='1.0' xmlns='%s' xmlns:stream='%s'><auth xmlns='%s' mechanism='PLAIN'>%s</auth>",
			ns.Client, ns.Stream, ns.SASL, plain)
		var all strings.Builder
		for {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			all.Write(b[:n])
			for _, word := range []string{"<success", "<not-authorized/>", "<temporary-auth-failure/>"} {
				if strings.Contains(all.String(), word) {
					result <- strings.Trim(word, "</>")
					return
				}
			}
			if err != nil {
				result <- err.Error()
				return
			}
		}
	}()
	return result
}

// plays starts a server for play to change. What it cannot do is said by the error that Start gives.
func plays(t *testing.T, o xmpptest.Options, play func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, reload func(want string, hostConfig ...string))) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		w, err := xmpptest.Start(t, service, o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		play(t, w, service, func(want string, hostConfig ...string) {
			t.Helper()
			live, err := w.Reload(xmpptest.Options{Config: o.Config, HostConfig: hostConfig})
			if err != nil || strings.Join(live, ", ") != want {
				t.Errorf("reloaded %v, %v; want %s", live, err, want)
			}
		})
	})
}

// The application that knows passwords has moved. Who is signing in is judged by the one that was asked.
func TestReloadSignIn(t *testing.T) {
	asks := func(path string) []string {
		return []string{`auth.method = "http"`, `auth.url = "http://app/` + path + `"`}
	}
	plays(t, xmpptest.Options{HostConfig: asks("old")}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, reload func(string, ...string)) {
		service.Set("/old/check_password", "true")
		service.Set("/new/check_password", "false")
		service.Answer("/old/check_password", xmpptest.Hang)
		under := tries(t, w, "secret")
		synctest.Wait()
		reload("host.auth.url of localhost", asks("new")...)
		service.Answer("/old/check_password", xmpptest.Fine)
		service.Release()
		if got := <-under; got != "success" {
			t.Errorf("what was under way: %s", got)
		}
		if got := <-tries(t, w, "secret"); got != "not-authorized" {
			t.Errorf("afterwards: %s; it may have been kept from the application before", got)
		}
	})
}

// signed is a token of john that a secret has signed.
func signed(t *testing.T, secret string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := josejwt.Signed(signer).Claims(josejwt.Claims{Subject: "john", Expiry: josejwt.NewNumericDate(time.Now().Add(time.Hour))}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// The secret of tokens is replaced, in its file: tokens of the old one are good for nothing any more. A secret that is too short
// changes nothing.
func TestReloadTokenSecret(t *testing.T) {
	first, second := strings.Repeat("first", 8), strings.Repeat("second", 8)
	file := filepath.Join(t.TempDir(), "secret")
	write := func(secret string) {
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	lines := []string{`auth.method = "jwt"`, `auth.jwt.secret_file = '` + file + `'`}
	plays(t, xmpptest.Options{HostConfig: lines}, func(t *testing.T, w *xmpptest.World, _ *xmpptest.Service, reload func(string, ...string)) {
		judged := func(what, of, want string) {
			t.Helper()
			if got := <-tries(t, w, signed(t, of)); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		judged("before", first, "success")
		write("short")
		if live, err := w.Reload(xmpptest.Options{HostConfig: lines}); err == nil || strings.Contains(err.Error(), "short\"") {
			t.Errorf("reloaded a short secret: %v, %v", live, err)
		}
		judged("after a mistake", first, "success")
		write(second)
		reload("host.auth.jwt.secret of localhost", lines...)
		judged("the old one", first, "not-authorized")
		judged("the new one", second, "success")
	})
}

// Another way to sign in takes a restart, and nothing that belongs to it is taken over before.
func TestReloadOfTheMethod(t *testing.T) {
	before := []string{`auth.method = "http"`, `auth.url = "http://app/old"`}
	plays(t, xmpptest.Options{HostConfig: before}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, reload func(string, ...string)) {
		service.Set("/old/check_password", "true")
		reload("", `auth.method = "jwt"`, `auth.jwt.secret = "`+strings.Repeat("x", 40)+`"`)
		if want := `keys="[host.auth.jwt.secret of localhost host.auth.method of localhost host.auth.url of localhost]"`; !strings.Contains(w.Log(), want) {
			t.Errorf("the log has no %s", want)
		}
		if got := <-tries(t, w, "secret"); got != "success" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// Profiles come from another place, and with another key, from the next request on.
func TestReloadProfiles(t *testing.T) {
	from := func(path string) []string { return []string{`profile.url = "http://app/profiles/` + path + `%s"`} }
	plays(t, xmpptest.Options{HostConfig: from("")}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, reload func(string, ...string)) {
		service.Set("john", "{}")
		service.Set("profiles/john", `{"name": "John"}`)
		service.Set("profiles/new-john", `{"name": "John Doe"}`)
		john := arrive(t, w, "john", "phone")
		defer john.Close()
		john.send("<presence/><iq type='get' id='1'><vCard xmlns='vcard-temp'/></iq>")
		john.until("<FN>John</FN>")
		reload("host.profile.url of localhost", from("new-")...)
		if status, answer, err := w.Ask("POST", "http://localhost/profile_admin/refresh", `["john"]`); status != 200 || err != nil {
			t.Fatalf("%d %s %v", status, answer, err)
		}
		john.send("<iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>")
		john.until("id='2'", "<FN>John Doe</FN>")
	})
}

// An application that is down moves: what waited is told at the new place at once, in order.
func TestReloadWebhooks(t *testing.T) {
	to := func(path string) []string {
		return []string{`webhooks.url = "http://app/` + path + `"`, `webhooks.secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"`,
			`webhooks.events = ["user.online", "user.offline"]`}
	}
	plays(t, xmpptest.Options{HostConfig: to("contacts/down")}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, reload func(string, ...string)) {
		service.Answer("down", "503")
		service.Set("john", "{}")
		john := arrive(t, w, "john", "phone")
		john.send("<presence/>")
		time.Sleep(time.Hour) // it is tried once in five minutes now
		john.Close()
		synctest.Wait()
		if told := service.Told(); len(told) != 0 {
			t.Fatalf("told %v", told)
		}
		reload("host.webhooks.url of localhost", to("hooks")...)
		start := time.Now()
		for told := []string(nil); len(told) < 2; told = append(told, service.Told()...) {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("told %v after ten seconds", told)
			}
			time.Sleep(time.Second)
		}
	})
}

// The guard is turned off, as an operator may have to: the roster that it would hold is applied.
func TestReloadGuard(t *testing.T) {
	plays(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, reload func(string, ...string)) {
		var all []string
		for i := range 50 {
			all = append(all, fmt.Sprintf(`"c%d@localhost": {}`, i))
		}
		service.Set("john", "{"+strings.Join(all, ", ")+"}")
		john := arrive(t, w, "john", "phone")
		defer john.Close()
		john.send("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
		john.until("c49@localhost")
		reload("host.roster.guard of localhost, host.roster.max_age of localhost", "roster.guard = false", `roster.max_age = "1h"`)
		service.Set("john", "{}")
		if status, answer, err := w.Notify("", "?detail=1", `["john"]`); status != 200 || err != nil || !strings.Contains(string(answer), `"removed":50`) {
			t.Errorf("%d %s %v", status, answer, err)
		}
	})
}

// Limits change for those who come, and how fast a client may send for those who are here.
func TestReloadLimits(t *testing.T) {
	limits := func(rate, sessions, tries, requests string) []string {
		return []string{"limits.rate_exempt = []", "limits.rate = " + rate, "limits.sessions_per_user = " + sessions,
			"limits.failed_sign_ins = " + tries, "admin.rate = " + requests}
	}
	o := xmpptest.Options{Config: limits(`"16 KiB"`, "1", "0", "0")}
	plays(t, o, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, _ func(string, ...string)) {
		service.Set("john", "{}")
		john := arrive(t, w, "john", "phone")
		defer john.Close()
		sends := func() time.Duration {
			time.Sleep(time.Minute) // the burst is free again
			start := time.Now()
			for range 20 {
				john.send("<message to='john@localhost/phone'><body>" + strings.Repeat("x", 16<<10) + "</body></message>")
				john.until("<body>xxx")
			}
			return time.Since(start)
		}
		if took := sends(); took < 10*time.Second {
			t.Errorf("320 KiB took %v at 16 KiB a second", took)
		}
		if _, err := w.Connect(t.Context(), "john", "desk"); err == nil {
			t.Error("a second session beside the only one")
		}
		live, err := w.Reload(xmpptest.Options{Config: limits(`"1 MiB"`, "2", "30", "1")})
		if want := []string{"admin.rate", "limits.failed_sign_ins", "limits.rate", "limits.sessions_per_user"}; err != nil || !slices.Equal(live, want) {
			t.Errorf("reloaded %v, %v", live, err)
		}
		if took := sends(); took > time.Second {
			t.Errorf("320 KiB took %v at 1 MiB a second", took)
		}
		desk := arrive(t, w, "john", "desk")
		defer desk.Close()
		if _, err := w.Connect(t.Context(), "john", "tablet"); err == nil {
			t.Error("a third session beside the two that may be")
		}
		first, _, _ := w.Notify("", "", "[]")
		second, answer, _ := w.Notify("", "", "[]")
		if first != 200 || second != 429 || !strings.Contains(string(answer), "more than 1 requests a second") {
			t.Errorf("requests are answered %d and %d %s", first, second, answer)
		}
	})
}

// Everything that can change does, again and again, while users send messages, sign in and are notified of: nobody is
// disconnected, nothing is lost, and no request fails.
func TestReloadUnderLoad(t *testing.T) {
	plays(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World, service *xmpptest.Service, _ func(string, ...string)) {
		const users, rounds = 8, 60
		var clients []talk
		for i := range users {
			name := fmt.Sprintf("u%d", i)
			service.Set(name, "{}")
			c := arrive(t, w, name, "phone")
			c.send("<presence/><iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
			clients = append(clients, c)
		}
		ended := make(chan error, 2*users)
		for i, c := range clients {
			go func() { ended <- talks(t.Context(), c, fmt.Sprintf("u%d@localhost/phone", (i+1)%users), rounds) }()
			go func() {
				status, answer, err := 200, []byte(nil), error(nil)
				for n := 0; n < rounds && status == 200 && err == nil; n++ {
					service.Set(fmt.Sprintf("u%d", i), fmt.Sprintf(`{"friend@elsewhere.example": {"name": "Friend %d"}}`, n))
					status, answer, err = w.Notify("", "", fmt.Sprintf(`["u%d"]`, i))
				}
				if status != 200 {
					err = fmt.Errorf("notification: %d %s", status, answer)
				}
				ended <- err
			}()
		}
		for n := range rounds {
			if _, err := w.Reload(xmpptest.Options{
				Config: []string{fmt.Sprintf(`limits.rate = "%d KiB"`, 100+n), fmt.Sprintf("limits.sessions_per_user = %d", 5+n), fmt.Sprintf("limits.failed_sign_ins = %d", n)},
				HostConfig: []string{fmt.Sprintf(`roster.timeout = "%ds"`, 5+n), fmt.Sprintf(`roster.max_age = "%dm"`, 1+n),
					fmt.Sprintf("auth.iterations = %d", 10_000+n)},
			}); err != nil {
				t.Fatal(err)
			}
			one, err := w.Connect(t.Context(), "u0", "")
			if err != nil {
				t.Fatal(err)
			}
			one.Close()
		}
		for range 2 * users {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		for _, c := range clients {
			if err := c.Send("<iq type='get' id='last'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
				t.Error(err)
			}
			c.until("id='last'", "type='result'")
			c.Close()
		}
	})
}

// talks sends numbered messages to somebody, and receives as many, in order, from somebody else.
func talks(ctx context.Context, c talk, to string, n int) error {
	for i := range n {
		if err := c.Send(fmt.Sprintf("<message to='%s' id='m%d'><body>%d</body></message>", to, i, i)); err != nil {
			return err
		}
		for {
			el, err := c.Receive(ctx)
			if err != nil {
				return fmt.Errorf("message %d: %w", i, err)
			}
			if el.Is(ns.Client, "message") {
				if got := el.Attr("id"); got != fmt.Sprintf("m%d", i) {
					return fmt.Errorf("received %s in place of message %d", got, i)
				}
				break
			}
		}
	}
	return nil
}
