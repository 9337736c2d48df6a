// Package commands lets administrators administer their own host from their clients: ad-hoc commands (XEP-0050 v1.3.0) with the
// nodes and fields of XEP-0133 v1.3.1, at the host's address, and two of our own about rosters.
//
// Whether somebody is an administrator is asked anew at each request, so that a role that is taken away is gone at once. Everybody
// else gets one answer, forbidden, whatever there is. "The ability to complete the administrative tasks specified herein MUST NOT be
// granted to users who lack service-level administrative privileges" (XEP-0133 section 6). No command gives or takes roles, and none
// takes an administrator's account, password or sessions away: what is typed into a chat client must not be worth more than that.
//
// What a command does is done by those who do it for the HTTP API. Nothing of a form is in the log but whom it is about.
package commands

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Accounts are those of the host. Users are canonical localparts. The errors are ErrNoAccount, ErrTaken, a *BadPassword, or a fault
// of ours.
type Accounts interface {
	Count(ctx context.Context) (int, error)
	// Exists tells whether there is an account.
	Exists(ctx context.Context, user string) (bool, error)
	Create(ctx context.Context, user, password string) error
	SetPassword(ctx context.Context, user, password string) error
	// Disable says whether the user may not sign in; if so it ends the user's sessions.
	Disable(ctx context.Context, user string, disabled bool) error
	// Delete removes the account with all that is its own, and ends its sessions.
	Delete(ctx context.Context, user string) error
}

// The errors of Accounts.
var (
	ErrNoAccount = errors.New("there is no such account")
	ErrTaken     = errors.New("there is such an account already")
)

// BadPassword says why a password cannot be one, without quoting it.
type BadPassword struct{ Reason string }

// Error implements error.
func (e *BadPassword) Error() string { return e.Reason }

// Rosters are those of the host, which the application is asked for.
type Rosters interface {
	// Refresh fetches users' rosters anew and returns one outcome for each, in order.
	Refresh(ctx context.Context, users []string) []Outcome
	// Held is what is held of a user's roster until somebody confirms it, nil when that is nothing.
	Held(ctx context.Context, user string) (*Held, error)
	// Confirm applies what is held.
	Confirm(ctx context.Context, user string) Outcome
}

// An Outcome is what came of a user's roster.
type Outcome struct {
	Result                  string // in a word, as the HTTP API has it
	Added, Removed, Changed int    // contacts
	Err                     error
}

// Held is a roster that waits to be confirmed.
type Held struct {
	Since                   time.Time
	Added, Removed, Changed int
	Removals                []string // addresses of some contacts that would go
}

// A Role is what a user of the host is now.
type Role struct {
	Admin   bool
	Barred  bool      // the user may not act as such: the account is disabled
	Account time.Time // when the account was made, zero where there is none: a session from before is another user's of the same name
}

// The results of commands: labels of metrics.CommandResults.
const (
	done      = "done"
	refused   = "refused"   // not as it was asked for
	failed    = "failed"    // by a fault of ours, or of the application's, or in part
	forbidden = "forbidden" // to who is no administrator
)

// Options says how the feature behaves.
type Options struct {
	Host     string
	Registry *host.Registry
	Role     func(ctx context.Context, user string) (Role, error)
	Accounts Accounts // nil where users have none here
	Rosters  Rosters  // nil where nobody is asked for them
	// End ends the session with a full JID, and is false when there is none.
	End func(ctx context.Context, full string) bool
	// Seen tells when a user who is not there was there last; false when that is not known.
	Seen  func(ctx context.Context, user string) (time.Time, bool, error)
	Count func(result string)
	Log   *slog.Logger
}

type commands struct {
	Options
	open open
	all  []*command
}

// New makes the feature.
func New(o Options) host.Feature {
	c := &commands{Options: o, open: open{all: map[string]*run{}}}
	for i := range table {
		if one := &table[i]; (!one.accounts || o.Accounts != nil) && (!one.rosters || o.Rosters != nil) {
			c.all = append(c.all, one)
		}
	}
	return host.Feature{
		Name:   "commands",
		Disco:  host.Disco{Host: []string{ns.Commands}, HostNode: c.node, HostItems: c.items},
		Closed: c.open.closed,
		IQ: map[host.IQKey]host.IQHandler{
			{Target: host.ToHost, Type: stanza.TypeSet, Space: ns.Commands, Local: "command"}: c.command,
		},
	}
}

// errForbidden says nothing more, so that it is the same whatever there is.
var errForbidden = stanza.NewError(stanza.Forbidden, "")

// may tells whether a client may use commands.
func (c *commands) may(ctx context.Context, who jid.JID) error {
	s := c.Registry.Session(who)
	if s == nil || who.Domain() != c.Host {
		return errForbidden
	}
	r, err := c.Role(ctx, who.Local())
	if err == nil && (!r.Admin || r.Barred || s.Since().Before(r.Account)) {
		err = errForbidden
	}
	return err
}

func (c *commands) find(node string) *command {
	if i := slices.IndexFunc(c.all, func(one *command) bool { return one.node == node }); i >= 0 {
		return c.all[i]
	}
	return nil
}

// ours tells whether a node belongs to commands, whether there is such a one or not.
func ours(node string) bool {
	return node == ns.Commands || strings.HasPrefix(node, ns.Admin+"#") || strings.HasPrefix(node, ns.OwnCommands+"#")
}

// node answers disco#info of a command, and of the list of them (XEP-0050 section 2.2).
func (c *commands) node(ctx context.Context, who jid.JID, node string) (*host.Node, error) {
	if !ours(node) {
		return nil, nil
	}
	if err := c.may(ctx, who); err != nil {
		return nil, err
	}
	if node == ns.Commands {
		return &host.Node{Identity: host.Identity{Category: "automation", Type: "command-list", Name: "Administration"}}, nil
	}
	one := c.find(node)
	if one == nil {
		return nil, nil
	}
	return &host.Node{Identity: host.Identity{Category: "automation", Type: "command-node", Name: one.name},
		Features: []string{ns.Commands, ns.DataForms}}, nil
}

// items lists the commands to those who may use them. "The responder is not required to send the same list of commands to all
// requesters" (section 2.2).
func (c *commands) items(ctx context.Context, who jid.JID, node string) (list []host.Item, ok bool, err error) {
	if !ours(node) {
		return nil, false, nil
	}
	err = c.may(ctx, who)
	switch {
	case node != ns.Commands:
		return nil, c.find(node) != nil, err
	case errors.Is(err, errForbidden):
		return nil, true, nil
	}
	for _, one := range c.all {
		list = append(list, host.Item{JID: c.Host, Node: one.node, Name: one.name})
	}
	return list, true, err
}

// command answers a request to execute one, or to go on with it (section 2.4).
func (c *commands) command(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	el := iq.Payload()
	r := request{from: iq.From, node: strings.Clone(el.Attr("node")), id: strings.Clone(el.Attr("sessionid")), action: strings.Clone(el.Attr("action")),
		form: payload.FormOf(el, ""), secure: iq.Session != nil && iq.Session.Info().Secure, host: iq.Host}
	if r.from.Domain() != c.Host {
		c.Count(forbidden)
		return nil, errForbidden
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		if err := c.may(ctx, r.from); err != nil {
			if errors.Is(err, errForbidden) {
				c.Count(forbidden)
				c.Log.Debug("command forbidden", "from", r.from.String())
			}
			return nil, err
		}
		return c.perform(ctx, r)
	})
}

// A request is what an administrator asks for.
type request struct {
	from             jid.JID
	node, id, action string
	form             *payload.Form // nil: none
	secure           bool          // it came inside TLS
	host             *host.Host
}

// What is wrong with a request as such (section 4.4).
func wrong(c stanza.Condition, specific, text string) *stanza.Error {
	err := stanza.NewError(c, text)
	err.App = xmlstream.New(ns.Commands, specific)
	return err
}

func badPayload(text string) *stanza.Error { return wrong(stanza.BadRequest, "bad-payload", text) }

var (
	errMalformed = wrong(stanza.BadRequest, "malformed-action", "")
	errAction    = wrong(stanza.BadRequest, "bad-action", "this cannot be done now")
	errSession   = wrong(stanza.BadRequest, "bad-sessionid", "")
	errNoForm    = badPayload("the form is missing")
	errExpired   = wrong(stanza.NotAllowed, "session-expired", "begin again")
)

// perform answers an administrator.
func (c *commands) perform(ctx context.Context, r request) (*xmlstream.Element, error) {
	switch r.action {
	case "", "execute", "next", "prev", "complete", "cancel":
	default:
		return nil, errMalformed
	}
	cmd := c.find(r.node)
	if cmd == nil {
		return nil, stanza.NewError(stanza.ItemNotFound, "there is no such command")
	}
	if cmd.secret && !r.secure {
		return nil, stanza.NewError(stanza.NotAuthorized, "a password is only taken inside TLS")
	}
	if r.id == "" {
		if r.action != "" && r.action != "execute" {
			return nil, errAction
		}
		one := c.open.begin(r.from, cmd)
		if len(cmd.stages) == 0 {
			return c.finish(ctx, r, one)
		}
		return c.show(ctx, one)
	}
	one, err := c.open.take(r.id, r.from)
	switch {
	case err != nil:
		return nil, err
	case one.cmd != cmd:
		c.open.put(one)
		return nil, errSession
	case r.action == "cancel":
		return answer(one, "canceled"), nil
	}
	return c.proceed(ctx, r, one)
}

// proceed takes a run that was taken to its next stage, or its end.
func (c *commands) proceed(ctx context.Context, r request, one *run) (*xmlstream.Element, error) {
	last := one.stage == len(one.cmd.stages)-1
	switch {
	case r.action == "prev" && one.stage > 0:
		one.stage--
		return c.show(ctx, one)
	case r.action == "prev", r.action == "next" && last, r.action == "complete" && !last:
		c.open.put(one)
		return nil, errAction
	}
	next := *one
	if take := one.cmd.stages[one.stage].take; take != nil {
		var err error = errNoForm
		if r.form != nil {
			err = take(c, r, &next)
		}
		if err != nil {
			c.Count(refused)
			c.open.put(one)
			return nil, err
		}
	}
	if !last {
		next.stage++
		el, err := c.show(ctx, &next)
		if err != nil {
			c.open.put(one)
		}
		return el, err
	}
	el, err := c.finish(ctx, r, &next)
	if err != nil { // another try may be better
		c.open.put(one)
	}
	return el, err
}

// show asks for the form of a run's stage.
func (c *commands) show(ctx context.Context, one *run) (*xmlstream.Element, error) {
	stage := &one.cmd.stages[one.stage]
	form, err := stage.form(ctx, c, one)
	if err != nil {
		return nil, err
	}
	if !c.open.put(one) {
		return nil, stanza.NewError(stanza.ResourceConstraint, "too many commands are open")
	}
	forth := "next"
	if one.stage == len(one.cmd.stages)-1 {
		forth = "complete"
	}
	actions := xmlstream.New(ns.Commands, "actions", "execute", forth)
	if one.stage > 0 {
		actions.Append(xmlstream.New(ns.Commands, "prev"))
	}
	form.Type, form.Title = payload.FormToFill, one.cmd.name
	return answer(one, "executing").Append(actions.Append(xmlstream.New(ns.Commands, forth)), form.Element()), nil
}

// finish does what is asked for, and writes down who has done what, and to whom.
func (c *commands) finish(ctx context.Context, r request, one *run) (*xmlstream.Element, error) {
	out, err := one.cmd.do(c, ctx, r, one)
	result := done
	var serr *stanza.Error
	switch {
	case errors.As(err, &serr):
		result = refused
	case err != nil || out.fault != "":
		result = failed
	}
	c.Count(result)
	attrs := []any{"admin", r.from.String(), "command", one.cmd.short(), "users", abridged(one.users), "result", result}
	if serr != nil {
		attrs = append(attrs, "condition", string(serr.Condition))
	}
	c.Log.Info("administration", attrs...)
	if err != nil {
		return nil, err
	}
	el := answer(one, "completed")
	if out.form != nil {
		out.form.Type, out.form.Title = payload.FormResults, one.cmd.name
		el.Append(out.form.Element())
	}
	note := func(kind, text string) {
		if text != "" {
			el.Append(xmlstream.New(ns.Commands, "note", "type", kind).AppendText(text))
		}
	}
	note("info", out.info)
	// "If a command completes but fails, the responder MUST include at least one <note type='error'/>" (section 3.4).
	note("error", out.fault)
	return el, nil
}

func answer(one *run, status string) *xmlstream.Element {
	return xmlstream.New(ns.Commands, "command", "node", one.cmd.node, "sessionid", one.id, "status", status)
}

// namesInLog is how many users a line of the log has.
const namesInLog = 10

func abridged(users []string) string {
	text := strings.Join(users[:min(len(users), namesInLog)], " ")
	if len(users) > namesInLog {
		text += " and more"
	}
	return text
}
