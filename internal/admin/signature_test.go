package admin

import (
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/config"
)

const (
	secret  = config.Secret("whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5") // canary-canary-canary-canary
	secretA = config.Secret("whsec_YS1hLWEtYS1hLWEtYS1hLWEtYS1hLWEtYS1h")
	secretB = config.Secret("whsec_Yi1iLWItYi1iLWItYi1iLWItYi1iLWItYi1i")
)

// signed makes the headers of a signed request.
func signed(t *testing.T, s config.Secret, id string, at time.Time, body string) []string {
	t.Helper()
	sig, err := Sign(s, id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return []string{"webhook-id: " + id, "webhook-timestamp: " + strconv.FormatInt(at.Unix(), 10), "webhook-signature: " + sig}
}

// The example that the libraries of Standard Webhooks test themselves with.
func TestSignatureOfTheSpecification(t *testing.T) {
	got, err := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := Sign("whsec_short", "x", time.Now(), nil); err == nil {
		t.Error("a short secret signs")
	}
}

func TestSignatures(t *testing.T) {
	const body = `["john"]`
	now := time.Now()
	header := func(name, value string) func([]string) []string {
		return func(h []string) []string {
			for i := range h {
				if strings.HasPrefix(h[i], name+": ") {
					h[i] = name + ": " + value
				}
			}
			return h
		}
	}
	same := func(h []string) []string { return h }
	plus := func(more ...string) func([]string) []string {
		return func(h []string) []string { return append(h, more...) }
	}
	signature := func(s config.Secret) string {
		return strings.TrimPrefix(signed(t, s, "m1", now, body)[2], "webhook-signature: ")
	}
	for _, c := range []struct {
		name   string
		secret config.Secret
		at     time.Time
		change func([]string) []string
		body   string
		code   int
		want   string
	}{
		{"the admin's", secret, now, same, body, 200, ""},
		{"the host's", secretA, now, same, body, 200, ""},
		{"another host's", secretB, now, same, body, 403, ""},
		{"nobody's", "whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4", now, same, body, 401, "fits none of the secrets"},
		{"another body", secret, now, same, `["aaron"]`, 401, "fits none"},
		{"a space more", secret, now, same, body + " ", 401, "fits none"},
		{"another id", secret, now, header("webhook-id", "m2"), body, 401, "fits none"},
		{"another time", secret, now, header("webhook-timestamp", strconv.FormatInt(now.Unix()+1, 10)), body, 401, "fits none"},
		{"older than five minutes", secret, now.Add(-5*time.Minute - 2*time.Second), same, body, 401, "clock"},
		{"almost five minutes old", secret, now.Add(-5*time.Minute + 10*time.Second), same, body, 200, ""},
		{"of the future", secret, now.Add(5*time.Minute + 10*time.Second), same, body, 401, "clock"},
		{"of the near future", secret, now.Add(5*time.Minute - 10*time.Second), same, body, 200, ""},
		{"no id", secret, now, header("webhook-id", ""), body, 401, "webhook-id"},
		{"a long id", secret, now, header("webhook-id", strings.Repeat("x", 257)), body, 401, "webhook-id"},
		{"two ids", secret, now, plus("webhook-id: m1"), body, 401, "one webhook-id"},
		{"no time", secret, now, header("webhook-timestamp", ""), body, 401, "webhook-timestamp"},
		{"a time that is none", secret, now, header("webhook-timestamp", "now"), body, 401, "webhook-timestamp is not a number"},
		{"a time with a sign", secret, now, header("webhook-timestamp", "+"+strconv.FormatInt(now.Unix(), 10)), body, 401, "is not a number"},
		{"a time out of range", secret, now, header("webhook-timestamp", "99999999999999999999"), body, 401, "is not a number"},
		{"a far time", secret, now, header("webhook-timestamp", "9223372036854775807"), body, 401, "clock"},
		{"the second of two", secret, now, header("webhook-signature", "v1,AAAA "+signature(secret)), body, 200, ""},
		{"old and new key", secret, now, header("webhook-signature", signature("whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4")+" "+signature(secret)), body, 200, ""},
		{"beside an asymmetric one", secret, now, header("webhook-signature", "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== "+signature(secret)), body, 200, ""},
		{"an asymmetric one", secret, now, header("webhook-signature", strings.Replace(signature(secret), "v1,", "v1a,", 1)), body, 401, "no signature of the form"},
		{"no version", secret, now, header("webhook-signature", strings.TrimPrefix(signature(secret), "v1,")), body, 401, "no signature of the form"},
		{"cut off", secret, now, header("webhook-signature", signature(secret)[:40]), body, 401, "no signature of the form"},
		{"too many", secret, now, header("webhook-signature", strings.Repeat("v1,"+strings.Repeat("A", 43)+"= ", maxSignatures)+signature(secret)), body, 401, "fits none"},
		{"a token beside it", secret, now, plus("Authorization: Bearer wrong"), body, 401, "Bearer token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, setup{secrets: []config.Secret{"whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9s", secret}, aSecrets: []config.Secret{secretA}, bSecrets: []config.Secret{secretB}})
			headers := append([]string{"Host: a.example", "Peer: 192.0.2.1:9"}, c.change(signed(t, c.secret, "m1", c.at, body))...)
			w := f.do(post, refreshPath, c.body, headers...)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.code)
			}
			if asked := len(f.a.names()) > 0; asked != (c.code == 200) {
				t.Errorf("asked: %v", asked)
			}
			if log := f.log.String() + w.Body.String(); strings.Contains(log, "canary") || strings.Contains(log, "Y2FuYXJ5") || strings.Contains(strings.ReplaceAll(log, "v1,BASE64", ""), "v1,") {
				t.Errorf("a secret or signature shows: %s", log)
			}
			if c.name == "the admin's" && !strings.Contains(f.log.String(), `by=signature credential="admin.webhook_secret 2"`) {
				t.Errorf("the log does not say who: %s", f.log)
			}
		})
	}
}

// "an id once": also one that is being worked on, for the same secret only, and only when something came of it.
func TestSignatureReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{aSecrets: []config.Secret{secretA}, bSecrets: []config.Secret{secretB}})
		send := func(host string, s config.Secret, id, body string, at time.Time) int {
			return f.do(post, refreshPath, body, append(signed(t, s, id, at, body), "Host: "+host)...).Code
		}
		first := time.Now()
		for i, want := range []int{200, 401} {
			if got := send("a.example", secretA, "m1", `["john"]`, first); got != want {
				t.Errorf("time %d: %d, want %d", i+1, got, want)
			}
		}
		if got := send("a.example", secretA, "m1", `["aaron"]`, first.Add(time.Second)); got != 401 {
			t.Errorf("the same id for something else: %d", got)
		}
		if got := send("b.example", secretB, "m1", `["john"]`, first); got != 200 {
			t.Errorf("the same id of another sender: %d", got)
		}
		for range 2 {
			if got := send("a.example", secretA, "m2", `["bad"]`, first); got != 200 {
				t.Errorf("nothing came of it: %d", got)
			}
			if got := send("a.example", secretA, "m3", `"john"`, first); got != 400 {
				t.Errorf("it was refused: %d", got)
			}
		}
		time.Sleep(4*time.Minute + 50*time.Second)
		if got := send("a.example", secretA, "m1", `["john"]`, first); got != 401 {
			t.Errorf("later: %d", got)
		}
		future := time.Now().Add(4 * time.Minute)
		if got := send("a.example", secretA, "m4", `["john"]`, future); got != 200 {
			t.Errorf("of the near future: %d", got)
		}
		time.Sleep(8 * time.Minute)
		if got := send("a.example", secretA, "m4", `["john"]`, future); got != 401 {
			t.Errorf("of the near future, again: %d", got)
		}
		time.Sleep(time.Hour)
		if got := send("a.example", secretA, "m5", `["john"]`, time.Now()); got != 200 || f.seen.count != 1 || len(f.seen.used) != 1 {
			t.Errorf("ids are not forgotten: %d, %d in %d minutes", got, f.seen.count, len(f.seen.used))
		}
	})
}

func TestWebhookIDsAreBounded(t *testing.T) {
	w := &webhookIDs{count: maxIDs}
	if _, err := w.add([]byte("key"), "x", time.Now().Add(time.Minute)); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("%v", err)
	}
}

// What can be refused without the body is, and what strangers send has a bound of its own.
func TestStrangersBodies(t *testing.T) {
	f := start(t, setup{oneHost: true, secrets: []config.Secret{secret}})
	for name, headers := range map[string][]string{
		"old":          signed(t, secret, "m", time.Now().Add(-time.Hour), "[]"),
		"no signature": {"webhook-id: m", "webhook-timestamp: " + fmt.Sprint(time.Now().Unix()), "webhook-signature: v2,x"},
	} {
		r := httptest.NewRequest(post, refreshPath, unreadable{t})
		for _, h := range headers {
			key, value, _ := strings.Cut(h, ": ")
			r.Header.Set(key, value)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != 401 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	long := `["` + strings.Repeat("x", maxBody) + `"]`
	if w := f.do(post, refreshPath, long, signed(t, secret, "long", time.Now(), long)...); w.Code != 413 {
		t.Errorf("too large: %d %s", w.Code, w.Body)
	}
	if !f.strangers.TryAcquire(strangerBudget) {
		t.Error("the strangers' room is not given back")
	}
	if w := f.do(post, refreshPath, `["john"]`, signed(t, secret, "m", time.Now(), `["john"]`)...); w.Code != 503 {
		t.Errorf("no room: %d %s", w.Code, w.Body)
	}
}

// FuzzSignature: no header lets anybody in who has not the secret, and none breaks anything.
func FuzzSignature(f *testing.F) {
	f.Add("m1", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "[]")
	f.Add("", "", " v1, v1,= v1a,x", "")
	f.Fuzz(func(t *testing.T, id, timestamp, signature, body string) {
		fix := start(t, setup{oneHost: true, secrets: []config.Secret{secret}})
		r := httptest.NewRequest(post, refreshPath, strings.NewReader(body))
		r.RemoteAddr = "192.0.2.1:1"
		r.Header["Webhook-Id"], r.Header["Webhook-Timestamp"], r.Header["Webhook-Signature"] = []string{id}, []string{timestamp}, []string{signature}
		w := httptest.NewRecorder()
		fix.ServeHTTP(w, r)
		if w.Code != 401 && w.Code != 413 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
