package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Bounds of what a user may say.
const (
	maxListed     = 1_000 // addresses, in both lists
	maxPrefsBytes = 256 << 10
)

// prefs are what a user has said is to be archived (XEP-0441). They are not changed once they are made.
type prefs struct {
	Default       Policy // "": the user has said nothing
	Always, Never map[jid.JID]struct{}
}

// of tells what is to become of messages from or to somebody. Who is in both lists is in that of those never archived: what
// was not to be kept cannot be taken back.
func (p *prefs) of(other jid.JID) Policy {
	switch {
	case listed(p.Never, other):
		return Never
	case listed(p.Always, other):
		return Always
	}
	return p.Default
}

// listed: "If the listed JID contains a resource, compare against the target JID as-is. If the listed JID has no resource (it is
// a bare JID) then first strip any resource from the target JID prior to comparison" (section 2.3.1).
func listed(list map[jid.JID]struct{}, j jid.JID) bool {
	_, full := list[j]
	_, bare := list[j.Bare()]
	return full || bare
}

// cost is what they take in memory, roughly.
func (p *prefs) cost() (n int) {
	for _, list := range []map[jid.JID]struct{}{p.Always, p.Never} {
		for j := range list {
			n += 64 + len(j.String())
		}
	}
	return n
}

// element makes the <prefs/>. "The <always> and <never> MUST also be present (even if empty)."
func (p *prefs) element() *xmlstream.Element {
	list := func(name string, jids map[jid.JID]struct{}) *xmlstream.Element {
		el := xmlstream.New(ns.MAM, name)
		for _, j := range slices.SortedFunc(maps.Keys(jids), jid.JID.Compare) {
			el.Append(xmlstream.New(ns.MAM, "jid").AppendText(j.String()))
		}
		return el
	}
	return xmlstream.New(ns.MAM, "prefs", "default", string(p.Default)).Append(list("always", p.Always), list("never", p.Never))
}

// parsePrefs reads a <prefs/>. The error is a *stanza.Error.
func parsePrefs(el *xmlstream.Element) (*prefs, error) {
	p := &prefs{Default: Policy(el.Attr("default"))}
	switch p.Default {
	case Always, Never, Roster:
	default:
		return nil, stanza.NewError(stanza.BadRequest, "default is always, never or roster")
	}
	var err error
	if p.Always, err = parseList(el, "always"); err == nil {
		p.Never, err = parseList(el, "never")
	}
	if err == nil && len(p.Always)+len(p.Never) > maxListed {
		err = stanza.NewError(stanza.PolicyViolation, fmt.Sprintf("%d addresses may be listed", maxListed))
	}
	return p, err
}

func parseList(el *xmlstream.Element, name string) (map[jid.JID]struct{}, error) {
	all := map[jid.JID]struct{}{}
	list := el.Child(ns.MAM, name)
	if list == nil {
		return all, nil
	}
	for c := range list.Elements() {
		if !c.Is(ns.MAM, "jid") {
			return nil, stanza.NewError(stanza.BadRequest, "a list has addresses, each in <jid/>")
		}
		j, err := jid.Parse(strings.TrimSpace(c.Text()))
		if err != nil {
			return nil, stanza.NewError(stanza.JIDMalformed, "")
		}
		all[j.Clone()] = struct{}{}
	}
	return all, nil
}

func (a *Archives) key(user string) store.Key {
	return store.Key{Host: a.opts.Host, Username: user, Space: "archive", Name: "prefs"}
}

// readPrefs reads what a user has said.
func (a *Archives) readPrefs(ctx context.Context, user string) (*prefs, error) {
	value, err := a.opts.Prefs.Value(ctx, a.key(user))
	if errors.Is(err, store.ErrNotFound) {
		return &prefs{}, nil
	}
	var p *prefs
	if err == nil {
		p, err = decodePrefs(value)
	}
	if err != nil {
		a.opts.Log.Error("what a user wants archived cannot be read", "user", user, "error", err)
	}
	return p, err
}

// errUnreadable is about what was read, and not about the store.
var errUnreadable = errors.New("what is stored is no preferences")

func decodePrefs(value []byte) (*prefs, error) {
	el, err := xmlstream.ParseElement(value, xmlstream.Limits{Bytes: maxPrefsBytes, Children: maxPrefsBytes})
	if err == nil {
		var p *prefs
		if p, err = parsePrefs(el); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", errUnreadable, err)
}

func (a *Archives) showPrefs(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		p, err := a.readPrefs(ctx, iq.From.Local())
		if err != nil {
			return nil, a.failed(iq.From, err)
		}
		if p.Default == "" {
			p = &prefs{Default: a.tuning.Load().Default}
		}
		return p.element(), nil
	})
}

// setPrefs counts for the messages that come after its answer.
func (a *Archives) setPrefs(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	p, err := parsePrefs(iq.Payload())
	if err != nil {
		return nil, err
	}
	value := p.element().AppendXML(nil, "")
	if len(value) > maxPrefsBytes {
		return nil, stanza.NewError(stanza.PolicyViolation, fmt.Sprintf("%d bytes may be stored", maxPrefsBytes))
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		user := iq.From.Local()
		err := a.opts.Prefs.SetValue(ctx, a.key(user), value, 0)
		a.prefs.drop(user) // also where it failed: it may have been written
		return p.element(), a.failed(iq.From, err)
	})
}
