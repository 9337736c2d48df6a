package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/config"
)

// tokenAt makes tokens for the users of a host; "guest" can have none, there is no room for "busy", and "slow" never gets one.
func tokenAt(host string) func(context.Context, string, time.Duration) (Token, error) {
	return func(ctx context.Context, user string, ttl time.Duration) (Token, error) {
		t := Token{JID: user + "@" + host, Text: "rct_canaryabcdefghijklmnopqrst", ID: "id " + ttl.String(),
			Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		return t, oddUser(ctx, user)
	}
}

// revokeAt notes what is revoked.
func (f *fixture) revokeAt(host string) func(context.Context, string, string) (Revoked, error) {
	return func(ctx context.Context, user, id string) (Revoked, error) {
		f.a.mu.Lock()
		f.a.gone = append(f.a.gone, user+"@"+host+" "+id)
		f.a.mu.Unlock()
		return Revoked{Tokens: 2, Sessions: 1}, oddUser(ctx, user)
	}
}

func oddUser(ctx context.Context, user string) error {
	switch user {
	case "guest":
		return ErrNoTokens
	case "busy":
		return ErrBusy
	case "broken":
		return errors.New("the disk is on fire")
	case "slow":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func TestMakeToken(t *testing.T) {
	for _, c := range []struct {
		query, body, token string
		code               int
		want               string // in the body
	}{
		{"?host=a.example", `{"user": "john"}`, adminToken, 200,
			`{"jid":"john@a.example","token":"rct_canaryabcdefghijklmnopqrst","id":"id 2m0s","expires":"2026-01-02T03:04:05Z"}`},
		{"", `{"user": "JOHN@b.example", "ttl": 3600}`, bToken, 200, `"jid":"john@b.example","token":"rct_canaryabcdefghijklmnopqrst","id":"id 1h0m0s"`},
		{"", `{"user": "john@a.example"}`, bToken, 403, "credential"}, // a host's credential is for that host
		{"", `{"user": "john@a.example"}`, "wrong", 401, "token"},
		{"", `{"user": "john@c.example"}`, adminToken, 404, "not served here"},
		{"", `{"user": "john"}`, adminToken, 400, "does not say its host"},
		{"?host=a.example", `{"user": ""}`, adminToken, 400, "cannot be a user's name"},
		{"?host=a.example", ``, adminToken, 400, `the body is missing; send an object such as`},
		{"?host=a.example", `["john"]`, adminToken, 400, `send an object such as`},
		{"?host=a.example", `{"user": "john", "resource": "x"}`, adminToken, 400, "/resource"},
		{"?host=a.example", `{"user": "john", "ttl": 0}`, adminToken, 400, "ttl is a number from 1 to 3600"},
		{"?host=a.example", `{"user": "john", "ttl": 3601}`, adminToken, 400, "ttl is a number from 1 to 3600"},
		{"?host=a.example", `{"user": "john", "ttl": "1"}`, adminToken, 400, "/ttl"},
		{"?host=a.example", `{"user": "guest"}`, adminToken, 404, "no tokens on this host"},
		{"?host=a.example", `{"user": "busy"}`, adminToken, 503, "too much to do"},
		{"?host=a.example", `{"user": "broken"}`, adminToken, 500, "log has it"},
	} {
		f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
		w := f.do("POST", tokensPath+c.query, c.body, "Authorization: Bearer "+c.token)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.query, c.body, w.Code, w.Body, c.code, c.want)
		}
		if strings.Contains(f.log.String(), "canary") {
			t.Errorf("the log has the token: %s", f.log)
		}
		if logged := strings.Contains(f.log.String(), `msg="token made"`); logged != (c.code == 200) {
			t.Errorf("%s: logged %s", c.body, f.log)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Error("the answer may be kept")
		}
	}
}

func TestRevokeTokens(t *testing.T) {
	for _, c := range []struct {
		path, token string
		code        int
		want, gone  string
	}{
		{"/john@a.example", adminToken, 200, `{"tokens":2,"sessions":1}`, "john@a.example "},
		{"/john%40b.example?id=xyz", bToken, 200, `{"tokens":2,"sessions":1}`, "john@b.example xyz"},
		{"/john?host=a.example", bToken, 403, "credential", ""},
		{"/john@a.example?id=", adminToken, 400, "id is that of one token", ""},
		{"/john@a.example?id=a&id=b", adminToken, 400, "id is that of one token", ""},
		{"/john@a.example?id=" + strings.Repeat("x", 65), adminToken, 400, "id is that of one token", ""},
		{"/jo%20hn@a.example", adminToken, 400, "cannot be a user's name", ""},
		{"/john@c.example", adminToken, 404, "not served here", ""},
		{"/guest@a.example", adminToken, 404, "no tokens on this host", "guest@a.example "},
		{"/broken@a.example", adminToken, 500, "log has it", "broken@a.example "},
	} {
		f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
		w := f.do("DELETE", tokensPath+c.path, "", "Authorization: Bearer "+c.token)
		if gone := strings.Join(f.a.gone, "|"); w.Code != c.code || !strings.Contains(w.Body.String(), c.want) || gone != c.gone {
			t.Errorf("%s: %d %s %q, want %d %s %q", c.path, w.Code, w.Body, gone, c.code, c.want, c.gone)
		}
	}
}

// On a server without credentials a program on the machine may notify; it may not be anybody.
func TestTokenNeedsACredential(t *testing.T) {
	f := start(t, setup{})
	w := f.do("POST", tokensPath+"?host=a.example", `{"user": "john"}`)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "set admin.token") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTokenTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{admin: []config.Secret{adminToken}})
		for _, ask := range [][3]string{{"POST", tokensPath + "?host=a.example", `{"user": "slow"}`}, {"DELETE", tokensPath + "/slow@a.example", ""}} {
			w := f.do(ask[0], ask[1], ask[2], "Authorization: Bearer "+adminToken)
			if w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", ask[0], w.Code, w.Body)
			}
		}
	})
}
