package server_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// commanded gives what comes of a command that needs no form, and no database: "result", or the condition of the error.
func commanded(t *testing.T, ctx context.Context, c *xmpptest.Client) string {
	t.Helper()
	if err := c.Send("<iq type='set' to='localhost' id='n'><command xmlns='" + ns.Commands + "' node='" + ns.Admin + "#get-online-users-num'/></iq>"); err != nil {
		t.Fatal(err)
	}
	el, err := c.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return outcome(el)
}

// Whoever changes a role, or keeps somebody out, from beside the server, as rollcall user does, is obeyed by sessions that there are; and
// so is the key admins.
func TestRoleIsTakenAway(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, DataDir: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		w, err := xmpptest.Start(t, xmpptest.NewService(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		ctx := t.Context()
		beside, err := store.Open(ctx, store.Options{DataDir: o.DataDir})
		if err != nil {
			t.Fatal(err)
		}
		defer beside.Close()
		john := connected(t, w, "john", "phone")
		expect := func(what, want string) {
			t.Helper()
			if got := commanded(t, ctx, john); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		reload := func(lines ...string) {
			t.Helper()
			live, err := w.Reload(xmpptest.Options{HostConfig: lines})
			if err != nil || fmt.Sprint(live) != "[host.admins of localhost]" {
				t.Fatalf("took over %v, %v", live, err)
			}
		}
		expect("nobody", "forbidden")
		do(beside.SetRole(ctx, "localhost", "john", store.RoleAdmin))
		expect("an administrator", "result")
		do(beside.SetDisabled(ctx, "localhost", "john", true))
		expect("one who is disabled", "forbidden")
		do(beside.SetDisabled(ctx, "localhost", "john", false))
		expect("one who is enabled again", "result")
		do(beside.SetRole(ctx, "localhost", "john", store.RoleUser))
		expect("one no more", "forbidden")
		reload(`admins = ["marie", "john"]`)
		expect("one by the configuration", "result")
		do(beside.SetDisabled(ctx, "localhost", "john", true))
		expect("one by the configuration who is disabled", "forbidden")
		do(beside.SetDisabled(ctx, "localhost", "john", false))
		reload()
		expect("named no more", "forbidden")
		time.Sleep(time.Second)
		do(beside.RemoveAccount(ctx, "localhost", "john"))
		expect("one without an account", "forbidden")
		do(beside.AddAccountAs(ctx, "localhost", "john", store.RoleAdmin, store.Credentials{SHA1: keys(20), SHA256: keys(32)}))
		expect("one whose account is another's now", "forbidden")
		_, metrics, err := w.Ask("GET", "http://localhost/metrics", "")
		for _, want := range []string{`rollcall_commands_total{host="localhost",result="done"} 3`, `rollcall_commands_total{host="localhost",result="forbidden"} 7`} {
			if err != nil || !strings.Contains(string(metrics), want) {
				t.Errorf("the metrics have no %s, %v", want, err)
			}
		}
		if n := strings.Count(w.Log(), "msg=administration host=localhost admin=john@localhost/phone command=get-online-users-num users=\"\" result=done"); n != 3 {
			t.Errorf("the log has %d lines", n)
		}
	})
}

// keys are some that nobody has a password for.
func keys(size int) store.Keys {
	return store.Keys{Salt: make([]byte, store.MinSalt), Iterations: store.MinIterations, StoredKey: make([]byte, size), ServerKey: make([]byte, size)}
}

// Where an application knows the passwords, the configuration says who administers, and there are no commands about accounts.
func TestAdministratorsWithoutAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("/auth/check_password", "true")
		w, err := xmpptest.Start(t, service, xmpptest.Options{HostConfig: []string{"auth.method = 'http'", "auth.url = 'http://app/auth'", `admins = ["john"]`}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		john, marie := connected(t, w, "john", "phone"), connected(t, w, "marie", "phone")
		if err := john.Send("<iq type='get' to='localhost' id='1'><query xmlns='" + ns.DiscoItems + "' node='" + ns.Commands + "'/></iq>"); err != nil {
			t.Fatal(err)
		}
		el, err := john.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text := el.String()
		if !strings.Contains(text, "#announce") || !strings.Contains(text, "#refresh-rosters") || regexp.MustCompile("#(add|delete|disable|reenable|change|get-registered)-").MatchString(text) {
			t.Errorf("the commands are %s", text)
		}
		if got := commanded(t, t.Context(), john); got != "result" {
			t.Errorf("for an administrator: %s", got)
		}
		if id := began(t, john, ns.Admin+"#add-user"); id != "x" {
			t.Error("an account can be made")
		}
		if got := commanded(t, t.Context(), marie); got != "forbidden" {
			t.Errorf("for others: %s", got)
		}
	})
}

// Where nobody proves who they are, there are no commands at all.
func TestNoCommandsForAnybody(t *testing.T) {
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		john := connected(t, w, "john", "phone")
		if got := commanded(t, t.Context(), john); got != "service-unavailable" {
			t.Errorf("it is answered %s", got)
		}
		if err := john.Send("<iq type='get' to='localhost' id='1'><query xmlns='" + ns.DiscoInfo + "'/></iq>"); err != nil {
			t.Fatal(err)
		}
		if el, err := john.Receive(t.Context()); err != nil || strings.Contains(el.String(), ns.Commands) {
			t.Errorf("it says of itself: %s, %v", el, err)
		}
	})
}

// When the database fails, nobody is an administrator, not even who is named.
func TestRolesWhenTheDatabaseFails(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, HostConfig: []string{`admins = ["john"]`}, DataDir: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		w, err := xmpptest.Start(t, xmpptest.NewService(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		john := connected(t, w, "john", "phone")
		if got := commanded(t, t.Context(), john); got != "result" {
			t.Fatal(got)
		}
		db, err := sql.Open("sqlite", filepath.Join(o.DataDir, "rollcall.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE accounts RENAME TO lost"); err != nil {
			t.Fatal(err)
		}
		if got := commanded(t, t.Context(), john); got != "internal-server-error" {
			t.Errorf("it is answered %s", got)
		}
	})
}

// Attack case 12: every command of an administrator, with each thing in its request and its form dropped, doubled or mistaken, to the server
// and elsewhere, is answered once; and nothing breaks. Passwords need TLS: package commands has them.
func TestMangledCommands(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, HostConfig: []string{`admins = ["john"]`}, Config: []string{"limits.rate = 0"}}
	accounts(t, o, func(t *testing.T, _ context.Context, w *xmpptest.World, service *xmpptest.Service) {
		service.Set("marie", "{}")
		john := connected(t, w, "john", "phone")
		n := 0
		ask := func(typ, to string, el *xmlstream.Element) {
			n++
			id := fmt.Sprintf("id%d", n)
			if got := answers(t, john, xmlstream.New(ns.Client, "iq", "type", typ, "id", id, "to", to).Append(el), id); got != 1 {
				t.Fatalf("answered %d times: %.500s", got, el)
			}
		}
		for node, field := range map[string]string{
			ns.Admin + "#announce": "announcement", ns.Admin + "#get-online-users-num": "", ns.Admin + "#get-online-users-list": "max_items",
			ns.Admin + "#end-user-session": "accountjids", ns.Admin + "#get-user-lastlogin": "accountjids", ns.Admin + "#get-registered-users-num": "",
			ns.Admin + "#add-user": "accountjid", ns.Admin + "#change-user-password": "accountjid", ns.Admin + "#disable-user": "accountjids",
			ns.Admin + "#reenable-user": "accountjids", ns.Admin + "#delete-user": "accountjids",
			ns.OwnCommands + "#refresh-rosters": "accountjids", ns.OwnCommands + "#confirm-roster": "accountjid",
		} {
			el, err := xmlstream.ParseElement([]byte("<command xmlns='"+ns.Commands+"' node='"+node+"' action='execute' sessionid='x'><x xmlns='jabber:x:data' type='submit'>"+
				"<field var='FORM_TYPE' type='hidden'><value>"+ns.Admin+"</value></field><field var='"+field+"'><value>marie@localhost</value></field></x></command>"), xmlstream.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range mangled(el) {
				id := began(t, john, node)
				for _, to := range []string{"localhost", "john@localhost", ""} {
					ask("set", to, mangled(el.Clone().SetAttr("sessionid", id))[i])
				}
				ask("get", "localhost", mangled(el)[i])
				ask("set", "localhost", mangled(el)[i].Clone().SetAttr("sessionid", ""))
			}
			query := xmlstream.New(ns.DiscoInfo, "query", "node", node)
			for _, m := range mangled(query) {
				ask("get", "localhost", m)
			}
		}
		t.Logf("%d requests", n)
		if log := w.Log(); strings.Contains(log, "panic") {
			t.Errorf("a panic:\n%.3000s", log[strings.Index(log, "panic"):])
		}
		if got := commanded(t, t.Context(), john); got != "result" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// began begins a command and gives the id of its session, "x" when it has none.
func began(t *testing.T, c *xmpptest.Client, node string) string {
	t.Helper()
	if err := c.Send("<iq type='set' to='localhost' id='b'><command xmlns='" + ns.Commands + "' node='" + node + "'/></iq>"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	id := "x"
	for {
		el, err := c.Poll()
		if err != nil {
			t.Fatal(err)
		}
		if el == nil {
			return id
		}
		if cmd := el.Child(ns.Commands, "command"); cmd != nil && el.Attr("id") == "b" {
			id = cmd.Attr("sessionid")
		}
	}
}
