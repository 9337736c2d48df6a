package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/host/hosttest"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
)

// canary is a password, which must not be in a log or an answer.
const canary = "canary-password"

// fakeAccounts are accounts in memory with their passwords, "" for one that is disabled. The user "broken" makes every change fail.
type fakeAccounts map[string]string

func (f fakeAccounts) Count(context.Context) (int, error) { return len(f), nil }

func (f fakeAccounts) Exists(_ context.Context, user string) (bool, error) {
	_, ok := f[user]
	return ok, nil
}

func (f fakeAccounts) set(user, password string) error {
	if _, ok := f[user]; !ok {
		return ErrNoAccount
	}
	if user == "broken" {
		return errors.New("the disk is on fire")
	}
	f[user] = password
	return nil
}

func (f fakeAccounts) Create(_ context.Context, user, password string) error {
	if _, ok := f[user]; ok {
		return ErrTaken
	}
	if len(password) > 20 {
		return &BadPassword{"the password is too long"}
	}
	f[user] = password
	return nil
}

func (f fakeAccounts) SetPassword(_ context.Context, user, password string) error {
	return f.set(user, password)
}

func (f fakeAccounts) Disable(_ context.Context, user string, disabled bool) error {
	if disabled {
		return f.set(user, "")
	}
	return f.set(user, "enabled")
}

func (f fakeAccounts) Delete(_ context.Context, user string) error {
	if err := f.set(user, ""); err != nil {
		return err
	}
	delete(f, user)
	return nil
}

// A bench is the feature without a server: john and chief are administrators, as long as nobody says otherwise.
type bench struct {
	t        *testing.T
	c        *commands
	host     *host.Host
	accounts fakeAccounts
	admins   map[string]bool
	log      strings.Builder
	counts   map[string]int
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, accounts: fakeAccounts{}, admins: map[string]bool{"john": true, "chief": true}, counts: map[string]int{}}
	r := host.NewRegistry()
	b.host = hosttest.New(t, r, host.Options{})
	b.c = &commands{open: open{all: map[string]*run{}}, Options: Options{
		Host: "localhost", Registry: r, Accounts: b.accounts, Log: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Role:  func(_ context.Context, user string) (Role, error) { return Role{Admin: b.admins[user]}, nil },
		Seen:  func(context.Context, string) (time.Time, bool, error) { return time.Time{}, false, nil },
		End:   func(context.Context, string) bool { return true },
		Count: func(result string) { b.counts[result]++ },
	}}
	for i := range table {
		b.c.all = append(b.c.all, &table[i])
	}
	return b
}

// ask makes a request of john's, inside TLS, and gives the id of the session, with what came of it: a status, or the condition of an error.
func (b *bench) ask(node, id, action string, fields ...payload.Field) (session, came string) {
	b.t.Helper()
	return b.from("john@localhost/phone", node, id, action, fields...)
}

func (b *bench) from(who, node, id, action string, fields ...payload.Field) (session, came string) {
	b.t.Helper()
	r := request{from: jid.MustParse(who), node: node, id: id, action: action, secure: true, host: b.host}
	if fields != nil {
		r.form = payload.ParseForm((&payload.Form{Type: payload.FormSubmit, Fields: fields}).Element())
	}
	el, err := b.c.perform(b.t.Context(), r)
	var serr *stanza.Error
	switch {
	case errors.As(err, &serr):
		if strings.Contains(serr.Text, canary) {
			b.t.Errorf("a password is in %s", serr.Text)
		}
		if serr.App != nil {
			return "", serr.App.Local
		}
		return "", string(serr.Condition)
	case err != nil:
		return "", "fault"
	}
	if strings.Contains(el.String(), canary) {
		b.t.Errorf("a password is in %s", el)
	}
	came = el.Attr("status")
	for note := range el.Elements() {
		if note.Is(ns.Commands, "note") && note.Attr("type") == "error" {
			came += " with an error"
		}
	}
	return el.Attr("sessionid"), came
}

func field(name string, values ...string) payload.Field {
	return payload.Field{Var: name, Values: values}
}

// What is filled in is looked at, a form that is not right can be sent again, and one that is done cannot.
func TestForms(t *testing.T) {
	user, again := field("accountjid", "marie@localhost"), field("password-verify", canary)
	password := field("password", canary)
	long := strings.Repeat("x", 21)
	var many []string
	for i := range maxUsers + 1 {
		many = append(many, fmt.Sprintf("u%d@localhost", i))
	}
	for _, tc := range []struct {
		command string
		fields  []payload.Field
		want    string
	}{
		{"add-user", nil, "bad-payload"},
		{"add-user", []payload.Field{}, "bad-payload"},
		{"add-user", []payload.Field{user, password}, "bad-payload"},
		{"add-user", []payload.Field{user, again}, "bad-payload"},
		{"add-user", []payload.Field{password, again}, "bad-payload"},
		{"add-user", []payload.Field{user, password, field("password-verify", canary+"x")}, "bad-payload"},
		{"add-user", []payload.Field{user, field("password", ""), field("password-verify", "")}, "bad-payload"},
		{"add-user", []payload.Field{user, field("password", long), field("password-verify", long)}, "not-acceptable"},
		{"add-user", []payload.Field{field("accountjid", "marie@example.com"), password, again}, "bad-payload"},
		{"add-user", []payload.Field{field("accountjid", "localhost"), password, again}, "bad-payload"},
		{"add-user", []payload.Field{field("accountjid", "a b@localhost"), password, again}, "bad-payload"},
		{"add-user", []payload.Field{field("accountjid", "marie@localhost/phone"), password, again}, "bad-payload"},
		{"add-user", []payload.Field{field("accountjid", "a@localhost", "b@localhost"), password, again}, "bad-payload"},
		{"add-user", []payload.Field{field("accountjid", "carol@localhost"), password, again}, "conflict"},
		{"add-user", []payload.Field{field("accountjid", "chief@localhost"), password, again}, "not-allowed"}, // a role by the name
		{"add-user", []payload.Field{field("accountjid", "MARIE@localhost"), password, again}, "completed"},
		{"change-user-password", []payload.Field{user, password}, "item-not-found"},
		{"change-user-password", []payload.Field{field("accountjid", "chief@localhost"), password}, "not-allowed"},
		{"change-user-password", []payload.Field{field("accountjid", "john@localhost"), password}, "not-allowed"},
		{"change-user-password", []payload.Field{field("accountjid", "broken@localhost"), password}, "fault"},
		{"change-user-password", []payload.Field{field("accountjid", "carol@localhost"), password}, "completed"},
		{"disable-user", []payload.Field{field("accountjids", many...)}, "bad-payload"},
		{"disable-user", []payload.Field{field("accountjids", strings.Join(many, "\n"))}, "bad-payload"},
		{"disable-user", []payload.Field{field("accountjids", "carol@localhost", "chief@localhost")}, "not-allowed"},
		{"disable-user", []payload.Field{field("accountjids", "carol@localhost", "nobody@localhost")}, "item-not-found"},
		{"disable-user", []payload.Field{field("accountjids", "carol@localhost\n\nCarol@localhost", "dave@localhost")}, "completed"},
		{"delete-user", []payload.Field{field("accountjids", "carol@localhost", "broken@localhost", "dave@localhost")}, "completed with an error"},
		{"announce", []payload.Field{field("announcement", " ", "\n")}, "bad-payload"},
		{"announce", []payload.Field{field("announcement", strings.Repeat("x", maxText+1))}, "bad-payload"},
		{"announce", []payload.Field{field("announcement", strings.Repeat("x", maxText))}, "completed"},
		{"get-online-users-list", []payload.Field{field("max_items", "none")}, "bad-payload"},
		{"get-online-users-list", []payload.Field{field("max_items", "201")}, "bad-payload"},
		{"get-online-users-list", []payload.Field{field("max_items", "0")}, "bad-payload"},
		{"get-online-users-list", []payload.Field{}, "completed"}, // there is a default
		{"get-user-lastlogin", []payload.Field{field("accountjids", "a@localhost", "b@localhost")}, "bad-payload"},
		{"get-user-lastlogin", []payload.Field{field("accountjids", "a@localhost")}, "completed"},
	} {
		b := newBench(t)
		for _, name := range []string{"carol", "dave", "broken"} {
			b.accounts[name] = "before"
		}
		node := ns.Admin + "#" + tc.command
		id, came := b.ask(node, "", "")
		if came != "executing" || len(id) != idLength {
			t.Fatalf("%s: %s", tc.command, came)
		}
		if _, came = b.ask(node, id, "execute", tc.fields...); came != tc.want {
			t.Errorf("%s with %v: %s, want %s", tc.command, tc.fields, came, tc.want)
		}
		is := strings.HasPrefix(tc.want, "completed")
		if _, later := b.ask(node, id, "cancel"); (later == "canceled") == is {
			t.Errorf("%s with %v: it is then %s", tc.command, tc.fields, later)
		}
		if !is && fmt.Sprint(b.accounts) != "map[broken:before carol:before dave:before]" {
			t.Errorf("%s with %v: %v", tc.command, tc.fields, b.accounts)
		}
		line := strings.Contains(b.log.String(), "msg=administration admin=john@localhost/phone command="+tc.command+" users=")
		if mistake := tc.want == "bad-payload"; line == mistake {
			t.Errorf("%s with %v: the log has %s", tc.command, tc.fields, b.log.String())
		}
		if strings.Contains(b.log.String(), canary) || strings.Contains(b.log.String(), "xxx") {
			t.Errorf("the log has what a form has: %s", b.log.String())
		}
		result := map[string]string{"completed": done, "completed with an error": failed, "fault": failed}[tc.want]
		if result == "" {
			result = refused
		}
		if len(b.counts) != 1 || b.counts[result] != 1 {
			t.Errorf("%s: counted %v, want one %s", tc.command, b.counts, result)
		}
	}
}

// Attack case 25: sessions of commands have ids that nobody guesses, belong to one client, are few, and end.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		announce, disable := ns.Admin+"#announce", ns.Admin+"#disable-user"
		hello := field("announcement", "hello")
		seen := map[string]bool{}
		for range 100 {
			id, _ := b.ask(announce, "", "")
			if seen[id] || len(id) != idLength {
				t.Errorf("the id %q", id)
			}
			seen[id] = true
		}
		if n := len(b.c.open.all); n != maxOfClient {
			t.Errorf("a client has %d sessions", n)
		}
		var ids []string
		for range maxOfClient + 1 {
			time.Sleep(time.Second)
			id, _ := b.ask(announce, "", "")
			ids = append(ids, id)
		}
		for _, step := range []struct {
			what, from, node, id, action, want string
		}{
			{"the oldest has given way", "john@localhost/phone", announce, ids[0], "", "session-expired"},
			{"another client's", "john@localhost/desk", announce, ids[1], "", "session-expired"},
			{"another administrator's", "chief@localhost/phone", announce, ids[1], "", "session-expired"},
			{"another command's", "john@localhost/phone", disable, ids[1], "", "bad-sessionid"},
			{"no id", "john@localhost/phone", announce, "x", "", "bad-sessionid"},
			{"an action that there is not", "john@localhost/phone", announce, ids[1], "do", "malformed-action"},
			{"back from the first form", "john@localhost/phone", announce, ids[1], "prev", "bad-action"},
			{"forth from the last", "john@localhost/phone", announce, ids[1], "next", "bad-action"},
			{"to go on with nothing", "john@localhost/phone", announce, "", "next", "bad-action"},
			{"to cancel nothing", "john@localhost/phone", announce, "", "cancel", "bad-action"},
			{"no command", "john@localhost/phone", "x", ids[1], "", "item-not-found"},
			{"and after all that it is there", "john@localhost/phone", announce, ids[1], "complete", "completed"},
			{"once", "john@localhost/phone", announce, ids[1], "complete", "session-expired"},
			{"canceled", "john@localhost/phone", announce, ids[2], "cancel", "canceled"},
			{"once", "john@localhost/phone", announce, ids[2], "cancel", "session-expired"},
		} {
			if _, got := b.from(step.from, step.node, step.id, step.action, hello); got != step.want {
				t.Errorf("%s: %s, want %s", step.what, got, step.want)
			}
		}
		time.Sleep(openTime - 3*time.Second) // a try that fails does not make it last
		if _, got := b.ask(announce, ids[5], "", field("announcement")); got != "bad-payload" {
			t.Errorf("before its time is over: %s", got)
		}
		time.Sleep(3 * time.Second)
		if _, got := b.ask(announce, ids[5], "", hello); got != "session-expired" {
			t.Errorf("when its time is over: %s", got)
		}
		for i := range maxOpen + 1 {
			_, got := b.from(fmt.Sprintf("john@localhost/%d", i), announce, "", "")
			if want := map[bool]string{true: "executing", false: "resource-constraint"}[i < maxOpen]; got != want {
				t.Fatalf("session %d: %s, want %s", i, got, want)
			}
		}
		time.Sleep(openTime)
		if _, got := b.ask(announce, "", ""); got != "executing" || len(b.c.open.all) != 1 {
			t.Errorf("later: %s, %d sessions", got, len(b.c.open.all))
		}
	})
}

// A client that has gone leaves nothing.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, err := b.host.Bind(t.Context(), "john", "phone", &hosttest.Line{})
		if err != nil {
			t.Fatal(err)
		}
		b.ask(ns.Admin+"#announce", "", "")
		b.from("john@localhost/desk", ns.Admin+"#announce", "", "")
		b.c.open.closed(t.Context(), s)
		if n := len(b.c.open.all); n != 1 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// Attack case 12: the forms with passwords, which are taken inside TLS only, with each thing in them dropped or mistaken.
func TestMangledForms(t *testing.T) {
	b := newBench(t)
	values := [][]string{nil, {""}, {"\x00"}, {"marie@localhost", "x"}, {strings.Repeat("x", 5000)}, {"@localhost"}, {"marie@localhost/"}, {"'\"<>&"}, {canary}}
	for i := range table {
		cmd := &table[i]
		if len(cmd.stages) == 0 || cmd.rosters {
			continue
		}
		first, err := cmd.stages[0].form(t.Context(), b.c, &run{})
		if err != nil {
			t.Fatal(err)
		}
		for at := range first.Fields {
			for _, v := range values {
				id, came := b.ask(cmd.node, "", "")
				if came != "executing" {
					t.Fatalf("%s: %s", cmd.node, came)
				}
				var fields []payload.Field
				for k, f := range first.Fields {
					fields = append(fields, field(f.Var, "marie@localhost"))
					if k == at {
						fields[k].Values = v
					}
				}
				if _, came := b.ask(cmd.node, id, "", append(fields, fields...)...); came == "fault" || came == "" {
					t.Errorf("%s with %v: %s", cmd.node, fields, came)
				}
			}
		}
	}
}

// Attack case 35: nobody but the host's own users who are there is looked up; and who may use commands is an administrator, who is not
// barred, in a session of the account that there is.
func TestWhoMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.c.Role = func(context.Context, string) (Role, error) {
			t.Error("somebody is looked up")
			return Role{Admin: true}, nil
		}
		for _, who := range []string{"john@example.com/phone", "john@localhost/phone", "john@localhost", "localhost"} {
			if err := b.c.may(t.Context(), jid.MustParse(who)); !errors.Is(err, errForbidden) {
				t.Errorf("%s: %v", who, err)
			}
		}
		now := time.Now()
		roles := map[string]Role{"admin": {Admin: true}, "nobody": {}, "barred": {Admin: true, Barred: true},
			"before": {Admin: true, Account: now.Add(time.Second)}, "after": {Admin: true, Account: now}}
		b.c.Role = func(_ context.Context, user string) (Role, error) {
			r, ok := roles[user]
			if !ok {
				return Role{Admin: true}, errors.New("the disk is on fire")
			}
			return r, nil
		}
		for user, want := range map[string]string{"admin": "<nil>", "nobody": "forbidden", "barred": "forbidden", "before": "forbidden", "after": "<nil>",
			"unknown": "the disk is on fire"} {
			if _, err := b.host.Bind(t.Context(), user, "phone", &hosttest.Line{}); err != nil {
				t.Fatal(err)
			}
			who := jid.MustParse(user + "@localhost/phone")
			if got := fmt.Sprint(b.c.may(t.Context(), who)); got != want {
				t.Errorf("%s: %s, want %s", user, got, want)
			}
			items, ok, err := b.c.items(t.Context(), who, ns.Commands)
			if fault := want == "the disk is on fire"; !ok || (err != nil) != fault || !fault && (len(items) > 0) != (want == "<nil>") {
				t.Errorf("%s is shown %d commands, %v", user, len(items), err)
			}
		}
	})
}

// A password is not taken where anybody may listen.
func TestPasswordsNeedTLS(t *testing.T) {
	b := newBench(t)
	for i := range table {
		cmd := &table[i]
		_, err := b.c.perform(t.Context(), request{from: jid.MustParse("john@localhost/phone"), node: cmd.node, host: b.host})
		asked := strings.Contains(cmd.node, "password") || strings.HasSuffix(cmd.node, "#add-user")
		var serr *stanza.Error
		if refused := errors.As(err, &serr) && serr.Condition == stanza.NotAuthorized; refused != asked {
			t.Errorf("%s: %v", cmd.node, err)
		}
		if !cmd.secret {
			continue
		}
		form, err := cmd.stages[0].form(t.Context(), b.c, &run{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range form.Fields {
			if strings.HasPrefix(f.Var, "password") && f.Type != "text-private" {
				t.Errorf("%s: %s is %s", cmd.node, f.Var, f.Type)
			}
		}
	}
}

// Every command has a node, a name and an end, and forms whose fields clients know how to show.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for i := range table {
		cmd := &table[i]
		if seen[cmd.node] || cmd.name == "" || cmd.do == nil || cmd.short() == "" || !ours(cmd.node) {
			t.Errorf("%+v", cmd)
		}
		seen[cmd.node] = true
	}
}
