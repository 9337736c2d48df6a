package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/config"
)

// prebindAt makes sessions for the users of a host; "full" has too many, there is no room for "busy", and "slow" never
// gets one.
func prebindAt(host string) func(context.Context, Prebind) (Prebound, error) {
	return func(ctx context.Context, p Prebind) (Prebound, error) {
		switch p.User {
		case "full":
			return Prebound{}, fmt.Errorf("%w: this account has 10 sessions already", ErrSessions)
		case "busy":
			return Prebound{}, ErrBusy
		case "broken":
			return Prebound{}, errors.New("the disk is on fire")
		case "slow":
			<-ctx.Done()
			return Prebound{}, ctx.Err()
		}
		jid := fmt.Sprintf("%s@%s/%s", p.User, host, p.Resource)
		return Prebound{JID: jid, SID: fmt.Sprintf("canary-sid %d %d", p.Wait, p.Hold), RID: "1000"}, nil
	}
}

func TestPrebind(t *testing.T) {
	for _, c := range []struct {
		query, body, token string
		code               int
		want               string // in the body
	}{
		{"?host=a.example", `{"user": "john"}`, adminToken, 200, `{"jid":"john@a.example/","sid":"canary-sid 0 0","rid":"1000"}`},
		{"", `{"user": "JOHN@b.example", "resource": "Page", "wait": 30, "hold": 2}`, bToken, 200, `"jid":"john@b.example/Page","sid":"canary-sid 30 2"`},
		{"?host=b.example", `{"user": "john", "wait": 120, "hold": 1}`, bToken, 200, `canary-sid 120 1`},
		{"", `{"user": "john@a.example"}`, bToken, 403, "credential"}, // a host's credential is for that host
		{"?host=a.example", `{"user": "john"}`, bToken, 403, "credential"},
		{"", `{"user": "john@a.example"}`, "wrong", 401, "token"},
		{"", `{"user": "john@c.example"}`, adminToken, 404, "not served here"},
		{"", `{"user": "john"}`, adminToken, 400, "does not say its host"},
		{"", `{"user": "jo hn@a.example"}`, adminToken, 400, "cannot be a user's name"},
		{"?host=a.example", `{"user": "john/x"}`, adminToken, 400, "cannot be a user's name"},
		{"?host=a.example", `{"user": ""}`, adminToken, 400, "cannot be a user's name"},
		{"?host=a.example", `{}`, adminToken, 400, "cannot be a user's name"},
		{"?host=a.example", ``, adminToken, 400, `the body is missing; send an object such as`},
		{"?host=a.example", `["john"]`, adminToken, 400, `send an object such as`},
		{"?host=a.example", `null`, adminToken, 400, `cannot be a user's name`},
		{"?host=a.example", `{"user": "john"} {}`, adminToken, 400, "is not JSON"},
		{"?host=a.example", `{"user": "john", "user": "mary"}`, adminToken, 400, "is not JSON"},
		{"?host=a.example", `{"user": "john", "users": 1}`, adminToken, 400, "/users"},
		{"?host=a.example", `{"user": 1}`, adminToken, 400, "/user"},
		{"?host=a.example", `{"user": "john", "wait": 1.5}`, adminToken, 400, "/wait"},
		{"?host=a.example", `{"user": "john", "wait": 0}`, adminToken, 400, "wait is a number from 1 to 120"},
		{"?host=a.example", `{"user": "john", "hold": 3}`, adminToken, 400, "hold is a number from 1 to 2"},
		{"?host=a.example", `{"user": "john", "resource": "` + strings.Repeat("x", 1024) + `"}`, adminToken, 400, "cannot be a resource"},
		{"?host=a.example", `{"user": "john", "resource": "a\u0000"}`, adminToken, 400, "cannot be a resource"},
		{"?host=a.example", `{"user": "full"}`, adminToken, 409, "10 sessions already"},
		{"?host=a.example", `{"user": "busy"}`, adminToken, 503, "too much to do"},
		{"?host=a.example", `{"user": "broken"}`, adminToken, 500, "log has it"},
	} {
		f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
		w := f.do("POST", prebindPath+c.query, c.body, "Authorization: Bearer "+c.token)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.query, c.body, w.Code, w.Body, c.code, c.want)
		}
		if strings.Contains(f.log.String(), "canary") || strings.Contains(f.log.String(), "1000") {
			t.Errorf("the log has the session's secrets: %s", f.log)
		}
		if logged := strings.Contains(f.log.String(), `msg="session made ahead"`); logged != (c.code == 200) {
			t.Errorf("%s: logged %s", c.body, f.log)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Error("the answer may be kept")
		}
	}
}

// On a server without credentials a program on the machine may notify; it may not be anybody.
func TestPrebindNeedsACredential(t *testing.T) {
	f := start(t, setup{})
	w := f.do("POST", prebindPath+"?host=a.example", `{"user": "john"}`)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "set admin.token") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPrebindTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{admin: []config.Secret{adminToken}})
		w := f.do("POST", prebindPath+"?host=a.example", `{"user": "slow"}`, "Authorization: Bearer "+adminToken)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
