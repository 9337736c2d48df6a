package server_test

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// habit is what a client does with rosters.
type habit uint8

const (
	forgets habit = iota // it keeps nothing between sessions, and knows no versions
	caches               // it keeps the roster with its version, as RFC 6121 section 2.6 has it
	merges               // the same, but a whole roster only adds to what it has: only pushes remove contacts (Converse.js)
)

// device is a client and what it believes.
type device struct {
	town     *town
	user     *person
	resource string
	habit    habit

	// What it keeps between sessions:
	roster  map[string]contact
	inexact bool   // it may have contacts that a whole roster has left out, and so another roster than its version is of
	ver     string // "" for none
	astray  bool   // its version may be none of the server's

	// What it has while it is connected:
	client    connection
	asks      map[string]string // requests for the roster that wait, with the version that was said ("-" for none)
	since     map[string]int    // the user's floor when each of them was made
	asked     time.Time         // when the last was
	floor     int               // the user's when the last was made that was answered
	number    int
	versioned bool // it has said a version
	wavers    bool // it has begun to say a version, or no longer does, and the server may not have heard it yet
	turn      int  // the user's when it asked
	due       int  // the same of the last request that was answered with an error: the roster has to come by itself
	answered  bool // it has got the roster
	refused   bool // it got an error instead: the roster comes in pushes
	doubtful  bool // its version may not have been known then
	unknown   bool // nor was it: pushes keep it
	available bool
	priority  int
	seen      map[string]string // the priority of others' resources that are available
	pushed    map[string]bool   // ids
}

func (d *device) String() string { return d.user.name + "/" + d.resource }

// connection is what a device needs of an xmpptest.Client.
type connection interface {
	Send(xml string) error
	Poll() (*xmlstream.Element, error)
	Close()
}

// connect signs in. A connection that there still is will be replaced.
func (d *device) connect() {
	w := d.town
	old := d.client
	d.leave()
	dial := w.dial
	if dial == nil {
		dial = func(d *device) (connection, error) { return w.world.Connect(w.ctx, d.user.name, d.resource) }
	}
	c, err := dial(d)
	if old != nil {
		old.Close()
	}
	if err != nil {
		w.fail("a client cannot sign in", "%s: %v", d, err)
		return
	}
	d.begin(c)
}

// begin begins a session.
func (d *device) begin(c connection) {
	d.town.say("%s comes", d)
	d.client, d.due = c, 0
	d.asks, d.since, d.seen, d.pushed = map[string]string{}, map[string]int{}, map[string]string{}, map[string]bool{}
	if d.habit == forgets || d.roster == nil {
		d.roster, d.ver, d.inexact, d.astray = map[string]contact{}, "", false, false
	}
}

// leave forgets what belongs to a session.
func (d *device) leave() {
	d.client, d.asks = nil, nil
	d.versioned, d.wavers, d.answered, d.refused, d.doubtful, d.unknown, d.available = false, false, false, false, false, false, false
}

// drop cuts the connection.
func (d *device) drop() {
	if d.client != nil {
		d.client.Close()
		d.leave()
	}
}

func (d *device) send(format string, args ...any) {
	xml := fmt.Sprintf(format, args...)
	d.town.say("%s sends %s", d, xml)
	if err := d.client.Send(xml); err != nil {
		d.town.fail("a stream has ended", "%s: %v", d, err)
	}
}

// The versions that a client can ask with.
const (
	ownVersion = iota
	noVersion  // the attribute is missing
	bootstrap  // it is empty
	alien      // it is none of the server's
)

// ask asks for the roster. Requests with a version are made one at a time, and when what came has been heard, as clients
// do: both change what a client would say.
func (d *device) ask(with int) {
	said, attr := "-", ""
	switch {
	case d.habit == forgets && len(d.asks) < 3:
	case d.habit == forgets || len(d.asks) > 0:
		return
	default:
		d.town.settle()
		if d.hear(everything); d.client == nil {
			return
		}
		if d.habit == merges {
			with = ownVersion
		}
		switch with {
		case noVersion, bootstrap:
			d.ver = ""
		case alien:
			d.ver, d.astray = "7-ofanotherserver", true
		}
		if with != noVersion {
			said = d.ver
		}
	}
	if said != "-" {
		attr = fmt.Sprintf(" ver='%s'", said)
	}
	d.wavers = d.versioned != (said != "-")
	d.versioned = said != "-"
	d.astray = d.astray || d.town.unreadable
	d.number++
	id := fmt.Sprint("roster-", d.number)
	if len(d.asks) == 0 {
		d.turn = d.user.turn
	}
	d.asks[id], d.since[id], d.asked = said, d.user.floor, time.Now()
	d.send("<iq type='get' id='%s'><query xmlns='jabber:iq:roster'%s/></iq>", id, attr)
	if d.versioned {
		d.town.settle() // a push that crosses it would come again
	}
}

// hear takes what has come, most stanzas at most, and looks at what the client believes then.
func (d *device) hear(most int) {
	for range most {
		el, err := d.client.Poll()
		if err != nil {
			d.town.fail("a stream has ended", "%s: %v", d, err)
			return
		}
		if el == nil {
			break
		}
		d.town.say("%s hears %s", d, el)
		switch {
		case el.Local == "presence":
			d.hearPresence(el)
		case el.Local == "iq" && el.Attr("type") == "set":
			d.hearPush(el)
		case el.Local == "iq":
			d.hearAnswer(el)
		default:
			d.town.fail("an unexpected stanza came", "%s: %s", d, el)
		}
	}
}

const everything = 1 << 20

func (d *device) hearPresence(el *xmlstream.Element) {
	from := strings.Replace(el.Attr("from"), "@localhost", "", 1)
	switch el.Attr("type") {
	case "":
		d.seen[from] = "0"
		if p := el.Child(ns.Client, "priority"); p != nil {
			d.seen[from] = p.Text()
		}
	case "unavailable":
		delete(d.seen, from)
	default:
		d.town.fail("an unexpected presence came", "%s: %s", d, el)
	}
}

func (d *device) hearAnswer(el *xmlstream.Element) {
	said, waits := d.asks[el.Attr("id")]
	if !waits {
		d.town.fail("a request is answered twice", "%s: %s", d, el)
		return
	}
	d.floor = d.since[el.Attr("id")]
	delete(d.asks, el.Attr("id"))
	d.wavers = false
	d.town.counts[fmt.Sprintf("answers: %s, %v", el.Attr("type"), el.Child(ns.Roster, "query") != nil)]++
	query := el.Child(ns.Roster, "query")
	stranger := d.ver == "" || d.astray // the server may not know what it has
	switch {
	case el.Attr("type") == "error":
		d.refused = !d.answered
		d.due = max(d.due, d.turn)
		d.doubtful = d.astray
		d.inexact = d.inexact || d.ver == "" && d.habit != forgets && len(d.roster) > 0
		return
	case query != nil:
		d.hearWhole(query, stranger)
	case said == "-" || said == "":
		d.town.fail("an empty result to a client without a version", "%s", d)
	}
	d.answered, d.refused, d.doubtful, d.unknown = true, false, false, false
}

// hearWhole takes a whole roster.
func (d *device) hearWhole(query *xmlstream.Element, stranger bool) {
	if !stranger {
		d.town.fail("a whole roster to a client that has a version which is known", "%s has %q", d, d.ver)
	}
	all := map[string]contact{}
	for item := range query.Elements() {
		name, c := d.item(item)
		if _, twice := all[name]; twice {
			d.town.fail("a contact is twice in a roster", "%s: %s", d, query)
		}
		all[name] = c
	}
	d.check(all)
	d.inexact, d.doubtful, d.unknown = false, false, false
	if d.habit == merges {
		for name, c := range d.roster {
			if _, has := all[name]; !has {
				d.inexact = true
				d.town.counts["ghosts"]++
				if !d.astray {
					d.town.fail("a contact stays for ever that is gone", "%s: %s", d, name)
				}
				all[name] = c
			}
		}
	}
	d.roster = all
	if !d.versioned {
		d.ver = ""
	}
	d.got(query)
}

// item reads an item; a contact that is removed is the zero contact.
func (d *device) item(el *xmlstream.Element) (name string, c contact) {
	name = strings.TrimSuffix(el.Attr("jid"), "@localhost")
	c = contact{sub: el.Attr("subscription"), name: el.Attr("name")}
	for g := range el.Elements() {
		c.group += g.Text()
	}
	if c.sub == "remove" {
		c = contact{}
	}
	return name, c
}

func (d *device) hearPush(el *xmlstream.Element) {
	query := el.Child(ns.Roster, "query")
	if query == nil {
		d.town.fail("an unexpected request came", "%s: %s", d, el)
		return
	}
	if id := el.Attr("id"); d.pushed[id] {
		d.town.fail("a push came twice", "%s: %s", d, el)
	} else {
		d.pushed[id] = true
	}
	if !d.answered && !d.refused {
		d.town.fail("a push to a client that has not been answered", "%s: %s", d, el)
	}
	d.town.counts["pushes"]++
	items := 0
	for item := range query.Elements() {
		items++
		name, c := d.item(item)
		if d.roster[name] == c && !d.inexact && !d.doubtful {
			d.town.fail("a push without a change", "%s: %s", d, el)
		}
		if c == (contact{}) {
			delete(d.roster, name)
		} else {
			d.roster[name] = c
		}
	}
	if items != 1 {
		d.town.fail("a push of other than one contact", "%s: %s", d, el)
	}
	d.got(query)
}

// got notes the version that a client has now. Who has the same version has the same roster.
func (d *device) got(query *xmlstream.Element) {
	ver := query.Attr("ver")
	if d.versioned != (ver != "") && !d.refused && !d.wavers {
		d.town.fail("a version to a client that keeps none, or none to one that does", "%s: %s", d, query)
	}
	switch {
	case ver == "":
		return
	case !d.versioned: // it crossed a request without a version
	case ver != d.ver:
		if d.doubtful && d.unknown {
			d.town.fail("a version for a roster that nobody knows", "%s: %s", d, query)
		}
		d.ver, d.astray, d.doubtful = ver, false, false
	case d.doubtful:
		d.inexact, d.unknown = true, true
	}
	v := d.user.seen[ver]
	switch {
	case d.inexact:
	case v == nil:
		d.user.seen[ver] = &version{time.Now(), maps.Clone(d.roster)}
	case !maps.Equal(v.roster, d.roster):
		d.town.fail("two rosters with one version", "%s has %v with %s, another client %v", d, d.roster, ver, v.roster)
	}
}

// check compares a roster with what was true when it can have been made.
func (d *device) check(roster map[string]contact) {
	for name := range d.user.past {
		floor := max(d.user.floor, d.user.floors[name])
		if d.town.lags {
			floor = d.floor
		}
		if c := roster[name]; !d.user.was(name, c, floor) {
			d.town.fail("a client has what was never so, or is so no more", "%s has %s as %+v; turns since %d may be seen of %+v",
				d, name, c, floor, d.user.past[name])
		}
	}
	for name := range roster {
		if d.user.past[name] == nil {
			d.town.fail("a client has a contact that never was", "%s has %s", d, name)
		}
	}
}

// present sends presence; a priority less than 0: unavailable.
func (d *device) present(priority int) {
	d.priority, d.available = priority, priority >= 0
	if d.available {
		d.send("<presence><priority>%d</priority></presence>", priority)
		return
	}
	d.send("<presence type='unavailable'/>")
	d.town.settle()
	d.hear(everything)
	d.seen = map[string]string{} // who is unavailable sees nobody
}
