package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/xmpptest"
)

// TestServicesAreSeen asks, over HTTP, how each service of an application does, and what became of messages.
func TestServicesAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("john", "{}")
		o := xmpptest.Options{DataDir: t.TempDir(), HostConfig: []string{
			"auth.method = 'http'", "auth.url = 'http://app/auth'", "auth.cache = '0s'", "profile.url = 'http://app/profiles/%s'",
			"webhooks = { url = 'http://app/hooks', secret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3', events = ['user.online'] }"}}
		w, err := xmpptest.Start(t, service, o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		john, err := w.Connect(t.Context(), "john", "pc")
		if err != nil {
			t.Fatal(err)
		}
		defer john.Close()
		for _, xml := range []string{"<presence/>", "<iq type='get' id='v'><vCard xmlns='vcard-temp'/></iq>",
			"<message to='nobody@localhost' type='chat'><body>x</body></message>", "<message to='john@localhost' type='chat'><body>x</body></message>"} {
			if err := john.Send(xml); err != nil {
				t.Fatal(err)
			}
			for answered := false; !answered; { // each is answered, or comes back
				el, err := john.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				answered = strings.HasPrefix(xml, "<"+el.Local)
			}
		}
		service.Answer("/auth", "503")
		for range 7 {
			if c, err := w.SignIn(t.Context(), "john"); err == nil {
				c.Close()
				t.Fatal("signed in by a service that is down")
			}
		}
		time.Sleep(time.Second) // for what is written behind everybody's back

		var status admin.Status
		code, body, err := w.Ask("GET", "http://localhost/admin/status", "")
		if err != nil || code != 200 || json.Unmarshal(body, &status) != nil {
			t.Fatal(code, err, string(body))
		}
		h := status.Hosts[0]
		for name, want := range map[string]string{"auth": "down", "profile": "failing", "image": "unasked", "webhooks": "ok"} {
			if got := h.Services[name]; got.State != want || want == "failing" != (got.LastError != "") && want != "down" {
				t.Errorf("%s: %+v, want %s", name, got, want)
			}
		}
		if a := h.Services["auth"]; a.Fetches != 6 || a.Failures != 5 || a.Breaker != "open" || !strings.Contains(a.LastError, "503") || a.LastSuccess.IsZero() {
			t.Errorf("auth: %+v", a)
		}
		if m := h.Messages; m == nil || m.Stored != 1 || m.Refused != 1 {
			t.Errorf("messages: %+v", m)
		}
		if d := status.Database; d == nil || d.Commits == 0 || d.Writes == 0 {
			t.Errorf("database: %+v", d)
		}

		code, body, err = w.Ask("GET", "http://localhost/metrics", "")
		if err != nil || code != 200 {
			t.Fatal(code, err)
		}
		for _, want := range []string{
			`rollcall_service_requests_total{host="localhost",result="ok",service="auth"} 1`,
			`rollcall_service_requests_total{host="localhost",result="error",service="auth"} 5`,
			`rollcall_service_requests_total{host="localhost",result="ok",service="webhooks"} 1`,
			`rollcall_service_request_duration_seconds_count{host="localhost",service="auth"} 6`,
			`rollcall_service_breaker_state{host="localhost",service="auth"} 2`,
			`rollcall_service_breaker_state{host="localhost",service="profile"} 0`,
			`rollcall_messages_total{host="localhost",result="stored"} 1`,
			`rollcall_messages_total{host="localhost",result="unknown"} 1`,
			`rollcall_messages_in_progress{host="localhost"} 0`,
			`rollcall_outbox_bytes{host="localhost"} 0`,
			`rollcall_mailboxes{host="localhost"} 0`,
			`rollcall_requests_waiting{host="localhost"} 0`,
			`rollcall_store_writes_total{result="error"} 1`,
			`rollcall_store_queue_writes 0`,
		} {
			if !strings.Contains(string(body), want+"\n") {
				t.Errorf("there is no %s", want)
			}
		}
	})
}
