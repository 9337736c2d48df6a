package commands

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"rollcall/internal/jid"
	"rollcall/internal/payload"
)

// This file reads forms. What is read is bounded, and nothing of it is in an error but addresses: what stands in
// the wrong field may be a password.

// addresses reads the addresses in a field. Clients have one in each value, or a line of its own for each.
func (c *commands) addresses(form *payload.Form, field string, most int) (all []jid.JID, err error) {
	f, _ := form.Field(field)
	for _, value := range f.Values {
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			j, err := jid.Parse(line)
			switch {
			case err != nil || j.Local() == "":
				return nil, badPayload(fmt.Sprintf("number %d is no user's address; write user@%s", len(all)+1, c.Host))
			case j.Domain() != c.Host:
				return nil, badPayload(fmt.Sprintf("%.80q is no user of %s", line, c.Host))
			case slices.Contains(all, j):
				continue
			case len(all) == most:
				return nil, badPayload(fmt.Sprintf("at most %d at a time", most))
			}
			all = append(all, j.Clone())
		}
	}
	if len(all) == 0 {
		return nil, badPayload("there is no address")
	}
	return all, nil
}

// takeUsers reads addresses of users, without resources.
func takeUsers(field string, most int) func(*commands, request, *run) error {
	return func(c *commands, r request, one *run) error {
		all, err := c.addresses(r.form, field, most)
		one.users = nil
		for _, j := range all {
			if j.IsFull() {
				return badPayload(fmt.Sprintf("%.80q has a resource; a user's address is %s", j.String(), j.Bare()))
			}
			one.users = append(one.users, j.Local())
		}
		return err
	}
}

// takeSessions reads addresses with resources and without.
func takeSessions(c *commands, r request, one *run) (err error) {
	one.users = nil
	one.sessions, err = c.addresses(r.form, "accountjids", maxUsers)
	for _, j := range one.sessions {
		if !slices.Contains(one.users, j.Local()) {
			one.users = append(one.users, j.Local())
		}
	}
	return err
}

func takePassword(c *commands, r request, one *run) error {
	if err := takeUsers("accountjid", 1)(c, r, one); err != nil {
		return err
	}
	f, _ := r.form.Field("password")
	if one.password = f.Value(); one.password == "" {
		return badPayload("there is no password")
	}
	return nil
}

func takeNewUser(c *commands, r request, one *run) error {
	if err := takePassword(c, r, one); err != nil {
		return err
	}
	if again, _ := r.form.Field("password-verify"); again.Value() != one.password {
		return badPayload("the two passwords differ")
	}
	return nil
}

// maxText is the most of an announcement in bytes: each user's copy is made anew.
const maxText = 4096

func takeText(_ *commands, r request, one *run) error {
	f, _ := r.form.Field("announcement")
	one.text = strings.TrimSpace(strings.Join(f.Values, "\n"))
	switch {
	case one.text == "":
		return badPayload("there is no announcement")
	case len(one.text) > maxText || !utf8.ValidString(one.text):
		return badPayload(fmt.Sprintf("the announcement is too long: at most %d bytes", maxText))
	}
	return nil
}

// mostShown is how many users are listed.
const mostShown = 200

func takeMost(_ *commands, r request, one *run) (err error) {
	one.most = 100
	if f, ok := r.form.Field("max_items"); ok && f.Value() != "" {
		one.most, err = strconv.Atoi(f.Value())
	}
	if err != nil || one.most < 1 || one.most > mostShown {
		return badPayload(fmt.Sprintf("max_items is a number from 1 to %d", mostShown))
	}
	return nil
}
