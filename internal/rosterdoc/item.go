package rosterdoc

import (
	"fmt"
	"strings"

	"rollcall/internal/jid"
)

// draft is an item while it is read. Whatever is wrong with it is noted and the reading goes on: the rest
// of the document stands.
type draft struct {
	address  string
	hasJID   bool // the address came as "jid" or as the key, and not as "username"
	name     string
	hasNick  bool // the name came as "nick"
	groups   []string
	sub      Subscription
	ask      bool
	wrong    string // why the item is dropped: the first fault found
	warnings []string
}

func (t *draft) fault(format string, args ...any) {
	if t.wrong == "" {
		t.wrong = fmt.Sprintf(format, args...)
	}
}

// keyed reads an item of the main form: its address is the member's name.
func (d *decoder) keyed(key string) error {
	t := draft{address: key, hasJID: true, sub: Both}
	if err := d.members(func(name string) error { return d.member(&t, name) }); err != nil {
		return err
	}
	d.take(key, &t)
	return nil
}

// listed reads an item of a list: its address is a member of it.
func (d *decoder) listed(i int) error {
	if err := d.count(); err != nil {
		return err
	}
	if kind := d.json.PeekKind(); kind != '{' {
		d.drop(d.place(i), "is "+kindName(kind)+", not an object")
		return d.skip()
	}
	t := draft{sub: Both}
	if err := d.members(func(name string) error { return d.listMember(&t, name) }); err != nil {
		return err
	}
	key := t.address
	switch {
	case key == "" && d.list == "items":
		key = d.place(i)
		t.fault(`has no "jid"`)
	case key == "":
		key = d.place(i)
		t.fault(`has no "username"`)
	case !t.hasJID && !strings.Contains(key, "@"):
		// ejabberd SaaS: a user of the same host is named by the localpart alone.
		local, err := jid.Localpart(key)
		if err != nil {
			t.fault("%s", badAddress(err))
		}
		t.address = local + "@" + d.opt.Owner.Domain()
	}
	d.take(key, &t)
	return nil
}

// place names an element of the list that has no address.
func (d *decoder) place(i int) string { return fmt.Sprintf("%s[%d]", d.list, i) }

// take adds the item, or notes why not.
func (d *decoder) take(key string, t *draft) {
	if t.wrong != "" {
		d.drop(key, t.wrong)
		return
	}
	j, err := jid.Parse(t.address)
	if err != nil {
		d.drop(key, badAddress(err))
		return
	}
	if j.IsFull() {
		t.warnings = append(t.warnings, "has a resource, which was cut off: a roster has bare addresses")
		j = j.Bare()
	}
	if j == d.opt.Owner && !j.IsZero() {
		d.drop(key, "is the user whose roster this is")
		return
	}
	for _, w := range t.warnings {
		d.warn(key, w)
	}
	d.found = append(d.found, contact{
		Item: Item{JID: j, Name: t.name, Groups: t.groups, Subscription: t.sub, Ask: t.ask},
		key:  key, at: d.seen,
	})
}

func badAddress(err error) string {
	return "has no valid address: " + strings.TrimPrefix(err.Error(), "jid: ")
}

// listMember reads one member of an item in a list.
func (d *decoder) listMember(t *draft, name string) error {
	switch {
	case name == "jid":
		s, given, err := d.stringMember(t, name)
		if given {
			t.address, t.hasJID = s, true
		}
		return err
	case d.list == "roster" && name == "username":
		s, given, err := d.stringMember(t, name)
		if given && !t.hasJID {
			t.address = s
		}
		return err
	case d.list == "roster" && name == "nick":
		s, given, err := d.stringMember(t, name)
		if given {
			t.setName(s, name)
			t.hasNick = true
		}
		return err
	case d.list == "roster" && name == "name" && t.hasNick:
		_, _, err := d.stringMember(t, name)
		return err
	}
	return d.member(t, name)
}

// member reads one member of an item. Those that nobody knows are ignored.
func (d *decoder) member(t *draft, name string) error {
	switch name {
	case "name":
		s, given, err := d.stringMember(t, name)
		if given {
			t.setName(s, name)
		}
		return err
	case "groups":
		return d.groupsMember(t)
	case "subscription":
		s, given, err := d.stringMember(t, name)
		if given {
			sub, err := ParseSubscription(s)
			if err != nil {
				t.fault("has the subscription %q, which is none of both, to, from, none", cut(s))
			}
			t.sub = sub
		}
		return err
	case "ask":
		s, given, err := d.stringMember(t, name)
		if given {
			t.setAsk(s, d.list != "")
		}
		return err
	}
	return d.skip()
}

// stringMember reads the value of a member that is a string; null is as good as absent.
func (d *decoder) stringMember(t *draft, name string) (s string, given bool, err error) {
	switch kind := d.json.PeekKind(); kind {
	case '"':
		s, err = d.text()
		return s, err == nil, err
	case 'n':
	default:
		t.fault("has a %q that is %s, not a string", name, kindName(kind))
	}
	return "", false, d.skip()
}

func (t *draft) setName(s, member string) {
	if why := badText(s); why != "" {
		t.fault("has a %q that %s", member, why)
		return
	}
	t.name = s
}

func (t *draft) setAsk(s string, inList bool) {
	t.ask = s == "subscribe"
	// COMPAT MongooseIM, ejabberd: their lists have "none" and "unsubscribe" for a request that does not
	// wait for the contact's consent.
	if !t.ask && (!inList || s != "none" && s != "unsubscribe") {
		t.fault(`has an "ask" of %q: the only value is "subscribe"`, cut(s))
	}
}

// groupsMember reads groups in their three forms.
func (d *decoder) groupsMember(t *draft) error {
	start := len(d.groups)
	var err error
	switch kind := d.json.PeekKind(); kind {
	case '[':
		err = d.elements(func(int) error { return d.groupElement(t) })
	case '{':
		err = d.members(func(name string) error { return d.groupKey(t, name) })
	case '"':
		err = d.groupElement(t)
	case 'n':
		return d.skip()
	default:
		t.fault(`has "groups" that are %s, not an array, an object or a string`, kindName(kind))
		return d.skip()
	}
	if err != nil {
		return err
	}
	own := normalGroups(d.groups[start:])
	if len(own) > MaxGroups {
		t.fault("has more than %d groups", MaxGroups)
		return nil
	}
	// The capacity ends where the piece does: the next contact's groups follow it.
	t.groups = own[:len(own):len(own)]
	return nil
}

func (d *decoder) groupElement(t *draft) error {
	if kind := d.json.PeekKind(); kind != '"' {
		t.fault("has a group that is %s, not a string", kindName(kind))
		return d.skip()
	}
	s, err := d.text()
	if err != nil {
		return err
	}
	d.addGroup(t, s)
	return nil
}

// groupKey reads a member of the form that the module has: a group is in when its value is true.
func (d *decoder) groupKey(t *draft, name string) error {
	switch kind := d.json.PeekKind(); kind {
	case 't':
		d.addGroup(t, name)
	case 'f', 'n':
	default:
		t.fault("has a group whose value is %s, not true or false", kindName(kind))
	}
	return d.skip()
}

func (d *decoder) addGroup(t *draft, s string) {
	if s == "" {
		// "The server MUST NOT" take an item with an empty group (RFC 6121 section 2.3.3). In a document it
		// is most likely an empty field of a form, so the contact stands without it.
		t.warnings = append(t.warnings, "has a group without a name, which was left out")
		return
	}
	if why := badText(s); why != "" {
		t.fault("has a group that %s", why)
		return
	}
	d.groups = append(d.groups, s)
}

// badText says why a name or a group cannot be sent to clients; "" when it can.
func badText(s string) string {
	if len(s) > MaxText {
		return fmt.Sprintf("has more than %d bytes", MaxText)
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0x20 && c != 0xef:
			continue
		case c == '\t' || c == '\n' || c == '\r':
			continue
		case c == 0xef && !strings.HasPrefix(s[i:], "\ufffe") && !strings.HasPrefix(s[i:], "\uffff"):
			continue
		}
		return "has a character that XML does not allow"
	}
	return ""
}
