package server_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rollcall/internal/xmpptest"
)

// action is a kind of step.
type action uint8

const (
	connect action = iota
	cutOff
	hearSome
	askRoster
	presence
	change
	changeCrowd
	notify
	notifyLater
	storm
	putWhole
	patchOne
	patchOneLater
	patchTwo
	confirm
	serviceTurns // to another way of answering
	serviceWell
	timePasses
	diskTurns
	restart
	crash
)

// weighted has each action as often as it is to come among so many.
var weighted = func() (all []action) {
	for a, times := range map[action]int{
		connect: 12, cutOff: 5, hearSome: 3, askRoster: 12, presence: 10, change: 20, changeCrowd: 1, notify: 10,
		notifyLater: 8, storm: 1,
		putWhole: 4, patchOne: 6, patchOneLater: 3, patchTwo: 2, confirm: 2, serviceTurns: 8, serviceWell: 4, timePasses: 10, diskTurns: 1, restart: 2, crash: 2,
	} {
		for range times {
			all = append(all, a)
		}
	}
	slices.Sort(all)
	return all
}()

// ways are how the service can be told to answer.
var ways = []string{
	xmpptest.Fine, xmpptest.ETag, xmpptest.ShortLived, xmpptest.Expiring, "etag short-lived", "etag expiring",
	"late:300ms", "late:3s", "late:3s etag", "late:7s", "late:1s flapping", "etag flapping", "etag some-bad",
	xmpptest.NotFound, xmpptest.HTML, "503", xmpptest.TooMany, xmpptest.Truncated, xmpptest.NotModified, xmpptest.Array,
	xmpptest.Drop, xmpptest.Hang, xmpptest.Stall, xmpptest.AllBad,
}

var durations = []time.Duration{
	time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond,
	999 * time.Millisecond, time.Second, 1100 * time.Millisecond, 2 * time.Second, 3 * time.Second, 5 * time.Second,
	10 * time.Second, 30 * time.Second, 61 * time.Second, 2 * time.Minute, 6 * time.Minute, 11 * time.Minute, 21 * time.Minute,
}

// do does one thing.
func (w *town) do(s step) {
	w.counts["steps"]++
	p := w.folk[people[s.A%len(people)]]
	d := w.devices[s.A%len(w.devices)]
	switch s.Do {
	case connect:
		if d.client == nil || s.B == 0 {
			d.connect()
		}
	case change:
		w.change(p, s)
	case changeCrowd:
		w.changeCrowd(p)
	case notify:
		w.say("the service notifies")
		w.notify(w.some(s)...)
	case notifyLater:
		w.later(w.some(s)...)
	case storm:
		w.storm(p, 2+s.B)
	case putWhole, patchOne, patchOneLater, patchTwo, confirm:
		w.send(p, s)
	case serviceTurns:
		w.serviceTurns(p, s)
	case serviceWell:
		w.serviceWell()
	case timePasses:
		w.pass(durations[s.A%len(durations)])
	case diskTurns:
		w.diskTurns(xmpptest.Failure(s.A % 4))
	case restart:
		w.again(w.world.Restart, w.sick || w.disk == nil)
	case crash:
		w.again(w.world.Crash, true)
	default:
		if d.client != nil {
			d.do(s)
		}
	}
	if !s.Amid {
		w.settle()
	}
}

// do does what needs a connection.
func (d *device) do(s step) {
	switch s.Do {
	case cutOff:
		if s.B > 0 {
			d.town.settle()
		}
		d.hear(s.B)
		if d.client != nil {
			d.town.say("%s is cut off", d)
			d.drop()
		}
	case hearSome:
		d.hear(everything)
	case askRoster:
		with := ownVersion
		if s.B < 4 {
			with = s.B
		}
		d.ask(with)
	case presence:
		d.present(s.B - 5)
	}
}

// some gives a few users, each once.
func (w *town) some(s step) (folk []*person) {
	for _, n := range []int{s.A, s.B, s.C}[:1+s.D%3] {
		if p := w.folk[people[n%len(people)]]; !slices.Contains(folk, p) {
			folk = append(folk, p)
		}
	}
	return folk
}

// send changes a contact, mostly, and sends it.
func (w *town) send(p *person, s step) {
	switch s.Do {
	case putWhole:
		w.put(p)
	case confirm:
		w.confirm(p)
	case patchTwo:
		q := w.folk[people[(s.A+1+s.B%2)%len(people)]]
		for _, two := range [][2]*person{{p, q}, {q, p}} {
			two[0].set(two[1].name, contact{sub: "both"})
			w.publish(two[0])
		}
		w.patchMany(p, q)
	default:
		name := w.changeOne(p, s)
		switch {
		case name == "":
		case s.Do == patchOne:
			w.patch(p, name)
		default:
			w.patchLater(p, name)
		}
	}
}

// change changes one contact. Where nobody is asked, it is sent.
func (w *town) change(p *person, s step) {
	name := w.changeOne(p, s)
	switch {
	case name == "" || !w.kind.pushOnly:
	case s.D%2 == 0:
		w.patch(p, name)
	default:
		w.put(p)
	}
}

// changeOne changes one contact and gives its name, "" when there is none.
func (w *town) changeOne(p *person, s step) string {
	name := append([]string{"dot"}, people...)[s.B%4]
	if name == p.name {
		return ""
	}
	c := p.roster[name]
	switch {
	case c == (contact{}):
		c = contact{sub: "both"}
	case s.C%4 == 0:
		c = contact{}
	case s.C%4 == 1:
		c.sub = []string{"both", "to", "from", "none"}[s.D%4]
	case s.C%4 == 2:
		c.name = []string{"", "A", "B"}[s.D%3]
	default:
		c.group = []string{"", "G", "H"}[s.D%3]
	}
	w.say("%s has %s as %+v", p.name, name, c)
	p.set(name, c)
	w.publish(p)
	return name
}

// changeCrowd adds many contacts, or removes them.
func (w *town) changeCrowd(p *person) {
	c := contact{sub: "both"}
	if p.roster["n0"] == c {
		c = contact{}
		p.blurred = true
	}
	w.say("%s has a crowd as %+v", p.name, c)
	for i := range crowd {
		p.set(fmt.Sprint("n", i), c)
	}
	w.publish(p)
	if w.kind.pushOnly {
		w.put(p)
	}
}

// storm notifies often about one user: "a storm of notifications for one user costs at most one fetch under way and one
// waiting".
func (w *town) storm(p *person, times int) {
	w.settle()
	calm := w.service.Busy() == 0 && p.mode == "late:300ms" // so that all come before the first fetch is answered
	before := w.service.Fetches(p.name)
	for range times {
		w.later(p)
	}
	time.Sleep(700 * time.Millisecond) // of the bubble's clock
	if n := w.service.Fetches(p.name) - before; calm && n > 2 {
		w.fail("a storm of notifications costs more than two fetches", "%d", n)
	}
}

func (w *town) serviceTurns(p *person, s step) {
	mode := ways[s.B%len(ways)]
	folk := []*person{p}
	if s.C%4 == 0 {
		folk = nil
		for _, name := range people {
			folk = append(folk, w.folk[name])
		}
	}
	for _, p := range folk {
		w.say("the service answers %s with %q", p.name, mode)
		if p.mode = mode; !p.truthful() {
			p.lies++
		}
		w.service.Answer(p.name, mode)
		p.blurred = p.blurred || strings.Contains(mode, "-bad") // of no contact, some are all
		if mode == xmpptest.AllBad {                            // which may be taken for an empty roster
			was := maps.Clone(p.roster)
			for name := range was {
				p.set(name, contact{})
			}
			for name, c := range was {
				p.set(name, c)
			}
		}
	}
}

func (w *town) serviceWell() {
	w.say("the service is well")
	for _, p := range w.folk {
		p.mode = xmpptest.Fine
		w.service.Answer(p.name, p.mode)
	}
	w.service.Release()
}

func (w *town) pass(d time.Duration) {
	w.say("%v pass", d)
	if w.tick != nil {
		w.tick(d)
		return
	}
	time.Sleep(d) // of the bubble's clock
}

func (w *town) diskTurns(f xmpptest.Failure) {
	if w.disk == nil {
		return
	}
	w.say("the disk fails: %d", f)
	w.disk.Fail(f)
	w.mu.Lock()
	w.sick = f != xmpptest.Works
	w.mu.Unlock()
	w.unreadable = f == xmpptest.Broken
	if w.unreadable { // nobody knows what cannot be read
		for _, d := range w.devices {
			d.astray = true
		}
		for _, p := range w.folk {
			p.seen = map[string]*version{}
		}
	}
}

// again ends the server in some way and starts it again. loses says that it may not have written everything.
func (w *town) again(how func() error, loses bool) {
	w.say("the server starts again; it may have lost something: %v", loses)
	for _, d := range w.devices {
		if d.client != nil {
			d.hear(everything)
			d.drop()
		}
	}
	w.reborn(how)
	if loses {
		w.forget()
	}
}

// reborn has the server end in some way and start again.
func (w *town) reborn(how func() error) {
	w.mu.Lock()
	w.life++
	w.mu.Unlock()
	if err := how(); err != nil {
		w.fail("the server does not start again", "%v", err)
	}
}

// forget says that the server may not have written everything before it ended.
func (w *town) forget() {
	for _, p := range w.folk {
		if !w.kind.pushOnly {
			p.floor = p.base
			clear(p.floors)
		}
	}
	for _, d := range w.devices {
		v := d.user.seen[d.ver]
		d.astray = d.astray || v == nil || w.disk == nil || !v.since.Before(w.disk.Written(d.user.name))
	}
}
