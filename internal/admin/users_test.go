package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/internal/config"
)

// fakeUsers are accounts in memory. The user "broken" makes every call fail, "slow" makes it wait.
type fakeUsers struct {
	mu      sync.Mutex
	all     map[string]UserInfo
	changes int
}

func (f *fakeUsers) reach(ctx context.Context, user string) error {
	switch user {
	case "broken":
		return errors.New("the disk is on fire")
	case "slow":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fakeUsers) Users(ctx context.Context, after string, limit int) (list []UserInfo, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.all)) {
		if name > after && len(list) < limit {
			list = append(list, f.all[name])
		}
	}
	return list, f.reach(ctx, after)
}

func (f *fakeUsers) User(ctx context.Context, user string) (UserInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.all[user]
	if err := f.reach(ctx, user); err != nil || ok {
		return u, err
	}
	return u, ErrNoUser
}

// change changes an account that there is.
func (f *fakeUsers) change(ctx context.Context, user string, do func(*UserInfo) error) error {
	u, err := f.User(ctx, user)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := do(&u); err != nil {
		return err
	}
	f.all[user] = u
	f.changes++
	return nil
}

func password(s string) error {
	if s == "" {
		return &BadPassword{"the password is empty"}
	}
	return nil
}

func (f *fakeUsers) Create(ctx context.Context, user, pass string, r Role) error {
	if err := errors.Join(f.reach(ctx, user), password(pass)); err != nil {
		return err
	}
	if _, err := f.User(ctx, user); err == nil {
		return ErrUserExists
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[user] = UserInfo{JID: user + "@a.example", User: user, Role: r}
	f.changes++
	return nil
}

func (f *fakeUsers) Role(ctx context.Context, user string, r Role) error {
	return f.change(ctx, user, func(u *UserInfo) error { u.Role = r; return nil })
}

func (f *fakeUsers) Password(ctx context.Context, user, pass string) error {
	return f.change(ctx, user, func(*UserInfo) error { return password(pass) })
}

func (f *fakeUsers) Disable(ctx context.Context, user string, disabled bool) error {
	return f.change(ctx, user, func(u *UserInfo) error { u.Disabled = disabled; return nil })
}

func (f *fakeUsers) Delete(ctx context.Context, user string) error {
	return errors.Join(f.change(ctx, user, func(*UserInfo) error { return nil }), func() error { delete(f.all, user); return nil }())
}

func TestUsers(t *testing.T) {
	const here = "?host=a.example"
	for _, c := range []struct {
		method, url, body, token string
		code                     int
		want                     string // in the body
	}{
		{"GET", usersPath + here, "", adminToken, 200, `{"users":[{"jid":"aaron@a.example","user":"aaron",`},
		{"GET", usersPath + here + "&limit=2", "", adminToken, 200, `"next":"john"}`},
		{"GET", usersPath + here + "&limit=2&after=john", "", adminToken, 200, `{"users":[{"jid":"josé@a.example"`},
		{"GET", usersPath + here + "&after=zz", "", adminToken, 200, `{"users":[]}`},
		{"GET", usersPath + here + "&limit=0", "", adminToken, 400, "from 1 to 1000"},
		{"GET", usersPath, "", adminToken, 400, "say which host"},
		{"GET", usersPath + "?host=c.example", "", adminToken, 404, "no host of this server"},
		{"GET", usersPath + here, "", bToken, 403, "credential"},
		{"GET", usersPath + "/JOHN" + here, "", adminToken, 200, `"user":"john"`},
		{"GET", usersPath + "/jos%C3%A9" + here, "", adminToken, 200, `"user":"josé"`},
		{"GET", usersPath + "/nobody" + here, "", adminToken, 404, "no such account"},
		{"GET", usersPath + "/john@a.example", "", bToken, 403, "credential"},
		{"POST", usersPath + here, `{"user":"new","password":"canary"}`, adminToken, 201, `"user":"new"`},
		{"POST", usersPath + here, `{"user":"john","password":"canary"}`, adminToken, 409, "already"},
		{"POST", usersPath + here, `{"user":"new","password":""}`, adminToken, 400, "the password is empty"},
		{"POST", usersPath + here, `{"user":"new"}`, adminToken, 400, `send \"user\" and \"password\"`},
		{"POST", usersPath + here, `{"user":"new","password":"canary","disabled":true}`, adminToken, 400, "send"},
		{"POST", usersPath + here, `{"user":"new","password":["canary"]}`, adminToken, 400, "/password"},
		{"POST", usersPath + here, `{"user":"new","canary":1}`, adminToken, 400, "not what it must be"},
		{"POST", usersPath + here, ``, adminToken, 400, "the body is missing"},
		{"POST", usersPath + here, `{"user":"a b","password":"x"}`, adminToken, 400, "cannot be a user's name"},
		{"PATCH", usersPath + "/john" + here, `{"disabled":true}`, adminToken, 200, `"disabled":true`},
		{"PATCH", usersPath + "/john" + here, `{"password":"canary"}`, adminToken, 200, `"disabled":false`},
		{"PATCH", usersPath + "/john" + here, `{"password":""}`, adminToken, 400, "the password is empty"},
		{"PATCH", usersPath + "/john" + here, `{"password":"canary","disabled":true}`, adminToken, 400, "either"},
		{"PATCH", usersPath + "/john" + here, `{}`, adminToken, 400, "either"},
		{"PATCH", usersPath + "/john" + here, `{"user":"john"}`, adminToken, 400, "either"},
		{"PATCH", usersPath + "/nobody" + here, `{"disabled":true}`, adminToken, 404, "no such account"},
		{"POST", usersPath + here, `{"user":"new","password":"canary"}`, adminToken, 201, `"role":"user"`},
		{"POST", usersPath + here, `{"user":"new","password":"canary","role":"admin"}`, adminToken, 201, `"role":"admin"`},
		{"POST", usersPath + here, `{"user":"new","password":"canary","role":"root"}`, adminToken, 400, `role is \"user\" or \"admin\"`},
		{"PATCH", usersPath + "/john" + here, `{"role":"admin"}`, adminToken, 200, `"role":"admin"`},
		{"PATCH", usersPath + "/john" + here, `{"role":"user"}`, adminToken, 200, `"role":"user"`},
		{"PATCH", usersPath + "/john" + here, `{"role":""}`, adminToken, 400, `role is`},
		{"PATCH", usersPath + "/john" + here, `{"role":true}`, adminToken, 400, "/role"},
		{"PATCH", usersPath + "/john" + here, `{"role":"admin","disabled":false}`, adminToken, 400, "either"},
		{"PATCH", usersPath + "/john" + here, `{"role":"admin","password":"canary"}`, adminToken, 400, "either"},
		{"PATCH", usersPath + "/nobody" + here, `{"role":"admin"}`, adminToken, 404, "no such account"},
		{"PATCH", usersPath + "/john" + here, `{"role":"admin"}`, bToken, 403, "credential"},
		{"DELETE", usersPath + "/john" + here, "", adminToken, 200, "removed john"},
		{"DELETE", usersPath + "/nobody" + here, "", adminToken, 404, "no such account"},
	} {
		f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
		w := f.do(c.method, c.url, c.body, "Authorization: Bearer "+c.token)
		name := fmt.Sprint(c.method, " ", c.url, " ", c.body)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, c.code, c.want)
		}
		if strings.Contains(f.log.String()+w.Body.String(), "canary\"") || strings.Contains(f.log.String(), "canary ") {
			t.Errorf("%s: a password shows: %s %s", name, f.log, w.Body)
		}
		changed := c.method != "GET" && w.Code < 300
		if logged := strings.Contains(f.log.String(), `msg="account changed"`); logged != changed || (f.users.changes > 0) != changed {
			t.Errorf("%s: %d changes; logged %s", name, f.users.changes, f.log)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
}

// Whoever sets passwords is everybody: being on the server's machine is not enough.
func TestUsersNeedACredential(t *testing.T) {
	for method, path := range map[string]string{"GET": usersPath, "POST": usersPath, "PATCH": usersPath + "/john", "DELETE": usersPath + "/john"} {
		f := start(t, setup{})
		w := f.do(method, path+"?host=a.example", `{"password":"x"}`)
		if w.Code == 400 && method == "POST" { // nobody is named
			w = f.do(method, path+"?host=a.example", `{"user":"john","password":"x"}`)
		}
		if w.Code != 403 || !strings.Contains(w.Body.String(), "set admin.token") || f.users.changes > 0 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

func TestUsersElsewhere(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}})
	f.hosts["a.example"].Users = nil
	for _, path := range []string{usersPath, usersPath + "/john"} {
		w := f.do("GET", path+"?host=a.example", "", "Authorization: Bearer "+adminToken)
		if w.Code != 404 || !strings.Contains(w.Body.String(), "auth.method") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestUsersTakeTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{admin: []config.Secret{adminToken}})
		w := f.do("POST", usersPath+"?host=a.example", `{"user":"slow","password":"x"}`, "Authorization: Bearer "+adminToken)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
