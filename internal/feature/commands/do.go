package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// results makes a form with results.
func results(kind string, fields ...payload.Field) outcome {
	return outcome{form: &payload.Form{Kind: kind, Fields: fields}}
}

func text(name, label, value string) payload.Field {
	return payload.Field{Var: name, Type: "text-single", Label: label, Values: []string{value}}
}

// counted is a number of things.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// online gives the users who have a session, in order.
func online(h *host.Host) []string {
	names := map[string]struct{}{}
	for _, s := range h.Sessions() {
		names[s.JID().Local()] = struct{}{}
	}
	return slices.Sorted(maps.Keys(names))
}

func (c *commands) address(user string) string { return user + "@" + c.Host }

func (c *commands) countOnline(_ context.Context, r request, _ *run) (outcome, error) {
	return results(ns.Admin, text("onlineusersnum", "The number of online users", strconv.Itoa(len(online(r.host))))), nil
}

func (c *commands) listOnline(_ context.Context, r request, one *run) (outcome, error) {
	all := online(r.host)
	f := payload.Field{Var: "onlineuserjids", Type: "jid-multi", Label: "The users who are online"}
	for _, user := range all[:min(len(all), one.most)] {
		f.Values = append(f.Values, c.address(user))
	}
	out := results(ns.Admin, f)
	if len(all) > one.most {
		out.info = fmt.Sprintf("The first %d of %d users.", one.most, len(all))
	}
	return out, nil
}

// announce sends a message to everybody who is there. Headlines are kept for nobody and nowhere.
func (c *commands) announce(ctx context.Context, r request, one *run) (outcome, error) {
	from, err := jid.New("", c.Host, "")
	if err != nil {
		return outcome{}, err
	}
	n := 0
	for _, user := range online(r.host) {
		to, err := jid.New(user, c.Host, "")
		if err != nil || ctx.Err() != nil {
			continue
		}
		el := xmlstream.New(ns.Client, "message", "type", stanza.TypeHeadline, "from", c.Host, "to", to.String()).
			Append(xmlstream.New(ns.Client, "body").AppendText(one.text))
		c.Registry.Deliver(ctx, &host.Passage{Host: r.host,
			Stanza: &stanza.Stanza{Element: el, Kind: stanza.Message, Type: stanza.TypeHeadline, From: from, To: to}})
		n++
	}
	if err := ctx.Err(); err != nil {
		return outcome{fault: fmt.Sprintf("Only %s in time.", counted(n, "user"))}, nil
	}
	return outcome{info: "Told " + counted(n, "user") + "."}, nil
}

// unprivileged refuses commands about administrators: their accounts and sessions are none of others' business here, and their
// own are not at the mercy of a chat client that somebody has left open.
func (c *commands) unprivileged(ctx context.Context, users []string) error {
	for _, user := range users {
		r, err := c.Role(ctx, user)
		if err != nil {
			return err
		}
		if r.Admin {
			return stanza.NewError(stanza.NotAllowed, fmt.Sprintf("%.80q is an administrator; use the command line or the HTTP API", user))
		}
	}
	return nil
}

// endSessions ends all sessions of a user, or one. Administrators may end their own, but for the one that asks.
func (c *commands) endSessions(ctx context.Context, r request, one *run) (outcome, error) {
	others := slices.DeleteFunc(slices.Clone(one.users), func(user string) bool { return user == r.from.Local() })
	if err := c.unprivileged(ctx, others); err != nil {
		return outcome{}, err
	}
	n := 0
	for _, j := range one.sessions {
		full := []jid.JID{j}
		if !j.IsFull() {
			full = full[:0]
			for _, s := range c.Registry.Sessions(j) {
				full = append(full, s.JID())
			}
		}
		for _, s := range full {
			if s != r.from && c.End(ctx, s.String()) {
				n++
			}
		}
	}
	return outcome{info: "Ended " + counted(n, "session") + "."}, nil
}

// lastLogin tells since when a user is there, or until when the user was.
func (c *commands) lastLogin(ctx context.Context, _ request, one *run) (outcome, error) {
	account, err := jid.New(one.users[0], c.Host, "")
	if err != nil {
		return outcome{}, err
	}
	who := payload.Field{Var: "accountjids", Type: "jid-single", Label: "The user's address", Values: []string{account.String()}}
	var since time.Time
	for _, s := range c.Registry.Sessions(account) {
		if s.Since().After(since) {
			since = s.Since()
		}
	}
	if !since.IsZero() {
		return results(ns.Admin, who, text("lastlogin", "Online since", payload.FormatTime(since))), nil
	}
	at, known, err := c.Seen(ctx, account.Local())
	switch {
	case err != nil:
		return outcome{}, err
	case !known:
		out := results(ns.Admin, who)
		out.info = "The user is not online, and nothing is known of the last time."
		return out, nil
	}
	return results(ns.Admin, who, text("lastseen", "Was online until", payload.FormatTime(at))), nil
}

func (c *commands) countAccounts(ctx context.Context, _ request, _ *run) (outcome, error) {
	n, err := c.Accounts.Count(ctx)
	return results(ns.Admin, text("registeredusersnum", "The number of registered users", strconv.Itoa(n))), err
}

// refusal makes a refusal of an error of Accounts.
func refusal(user string, err error) error {
	var bad *BadPassword
	switch {
	case errors.As(err, &bad):
		return stanza.NewError(stanza.NotAcceptable, bad.Reason)
	case errors.Is(err, ErrTaken):
		return stanza.NewError(stanza.Conflict, fmt.Sprintf("%.80q: %v", user, err))
	case errors.Is(err, ErrNoAccount):
		return stanza.NewError(stanza.ItemNotFound, fmt.Sprintf("%.80q: %v", user, err))
	}
	return err
}

// addUser makes an account of nobody whom the configuration names an administrator: the name would make it one.
func (c *commands) addUser(ctx context.Context, _ request, one *run) (outcome, error) {
	err := c.unprivileged(ctx, one.users)
	if err == nil {
		err = c.Accounts.Create(ctx, one.users[0], one.password)
	}
	return outcome{}, refusal(one.users[0], err)
}

func (c *commands) changePassword(ctx context.Context, _ request, one *run) (outcome, error) {
	err := c.unprivileged(ctx, one.users)
	if err == nil {
		err = c.Accounts.SetPassword(ctx, one.users[0], one.password)
	}
	return outcome{}, refusal(one.users[0], err)
}

func (c *commands) disable(ctx context.Context, _ request, one *run) (outcome, error) {
	return c.each(ctx, one, func(user string) error { return c.Accounts.Disable(ctx, user, true) })
}

func (c *commands) enable(ctx context.Context, _ request, one *run) (outcome, error) {
	return c.each(ctx, one, func(user string) error { return c.Accounts.Disable(ctx, user, false) })
}

func (c *commands) deleteUsers(ctx context.Context, _ request, one *run) (outcome, error) {
	return c.each(ctx, one, func(user string) error { return c.Accounts.Delete(ctx, user) })
}

// each does something about users, one after the other, when it may be done about all of them. The first fault ends it.
func (c *commands) each(ctx context.Context, one *run, do func(user string) error) (outcome, error) {
	if err := c.unprivileged(ctx, one.users); err != nil {
		return outcome{}, err
	}
	for _, user := range one.users {
		if there, err := c.Accounts.Exists(ctx, user); err != nil {
			return outcome{}, err
		} else if !there {
			return outcome{}, refusal(user, ErrNoAccount)
		}
	}
	for n, user := range one.users {
		if err := do(user); err != nil {
			c.Log.Error("administration not finished", "command", one.cmd.short(), "user", user, "error", err)
			return outcome{fault: fmt.Sprintf("Done for %d of %s; then %.80q failed, and the server's log has the reason.", n, counted(len(one.users), "user"), user)}, nil
		}
	}
	return outcome{info: "Done for " + counted(len(one.users), "user") + "."}, nil
}

func (c *commands) refresh(ctx context.Context, _ request, one *run) (outcome, error) {
	f := payload.Field{Var: "results", Type: "text-multi", Label: "What came of it"}
	bad := 0
	for i, o := range c.Rosters.Refresh(ctx, one.users) {
		if o.Err != nil {
			bad++
		}
		f.Values = append(f.Values, c.address(one.users[i])+": "+o.text())
	}
	out := results(ns.OwnCommands, f)
	if bad > 0 {
		out.fault = fmt.Sprintf("%d of %s not up to date.", bad, counted(len(one.users), "contact list"))
	}
	return out, nil
}

func (o Outcome) text() string {
	text := o.Result
	if o.Added+o.Removed+o.Changed > 0 {
		text += fmt.Sprintf(", %d added, %d removed, %d changed", o.Added, o.Removed, o.Changed)
	}
	if o.Err != nil {
		text += fmt.Sprintf(" (%v)", o.Err)
	}
	return text
}

var (
	errNothingHeld = stanza.NewError(stanza.ItemNotFound, "nothing is held of this user's contact list")
	errOther       = stanza.NewError(stanza.Conflict, "another contact list is held now; go back and look at it")
)

// held shows what is to be confirmed.
func held(ctx context.Context, c *commands, one *run) (*payload.Form, error) {
	h, err := c.Rosters.Held(ctx, one.users[0])
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errNothingHeld
	}
	one.since = h.Since
	return &payload.Form{Kind: ns.OwnCommands, Instructions: []string{fmt.Sprintf(
		"Held since %s: %d contacts would be removed, %d added, %d changed. Complete this to apply it.",
		payload.FormatTime(h.Since), h.Removed, h.Added, h.Changed)},
		Fields: []payload.Field{
			{Var: "account", Type: "fixed", Label: "The user", Values: []string{c.address(one.users[0])}},
			{Var: "removals", Type: "fixed", Label: "Would be removed, some of them", Values: h.Removals},
		}}, nil
}

// confirm applies what was shown. What the application has said meanwhile is to be looked at first.
func (c *commands) confirm(ctx context.Context, _ request, one *run) (outcome, error) {
	h, err := c.Rosters.Held(ctx, one.users[0])
	if err == nil && h == nil {
		err = errNothingHeld
	}
	if err == nil && !h.Since.Equal(one.since) {
		err = errOther
	}
	if err != nil {
		return outcome{}, err
	}
	o := c.Rosters.Confirm(ctx, one.users[0])
	if o.Err != nil {
		return outcome{}, o.Err
	}
	return outcome{info: o.text()}, nil
}
