package server_test

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"rollcall/internal/xmpptest"
)

// calm lets things calm down and looks whether everybody believes what is true: the service and the disk are well, and
// each roster has been notified, or its copy has passed its age.
func (w *town) calm() {
	w.serviceWell()
	w.diskTurns(xmpptest.Works)
	w.pass(40 * time.Second) // requests are answered within 30 s
	w.posts.Wait()
	if w.lags {
		w.pass(time.Minute)
		w.healed()
	}
	var all []*person
	for _, name := range people {
		all = append(all, w.folk[name])
	}
	switch {
	case w.kind.pushOnly:
		for _, p := range all { // that the application tries again, or begins
			if p.unsure || p.turn == 0 || p.floor == 0 {
				w.put(p)
			}
		}
	case w.lost:
		w.pass(25 * time.Minute) // twice the age: the guard wants to hear it twice
	default:
		w.notify(all...)
		w.notify(all...) // again, for the guard
	}
	w.pass(time.Minute)
	w.compare()
	for _, d := range w.devices { // who asks again, is right as well
		if d.client != nil && d.answered {
			d.ask(ownVersion)
		}
	}
	w.pass(time.Second)
	w.compare()
	for _, d := range w.devices {
		if d.client != nil {
			d.drop()
		}
		d.connect()
		d.ask(ownVersion)
	}
	if slices.ContainsFunc(all, func(p *person) bool { return p.blurred }) {
		w.pass(25 * time.Minute) // who was offline has been asked about once, and the guard wants to hear it twice
	}
	w.pass(time.Second)
	w.compare()
	if n := w.service.Overlaps(); n > 0 {
		w.fail("two requests at a time for one user", "%d times", n)
	}
}

// healed looks whether what the server could not fetch has been fetched since it can, without another notification.
func (w *town) healed() {
	life, _ := w.health()
	for _, d := range w.devices {
		p, floor := d.user, d.due
		if p.wantedIn == life {
			floor = max(floor, p.wanted)
		}
		if d.client == nil || w.kind.pushOnly || !d.answered && !d.refused || len(d.asks) > 0 || d.inexact || d.doubtful || p.blurred || p.lies > 0 {
			continue
		}
		w.counts["rosters that have come by themselves"]++
		for name := range p.past {
			if !p.was(name, d.roster[name], floor) {
				w.fail("what could not be fetched is not fetched later", "%s has %s as %+v, turns since %d may be seen", d, name, d.roster[name], floor)
			}
		}
	}
}

// compare compares what each client believes with what is true.
func (w *town) compare() {
	w.settle()
	for _, d := range w.devices {
		if d.client != nil {
			d.hear(everything)
		}
	}
	for _, d := range w.devices {
		if d.client == nil {
			continue
		}
		if len(d.asks) > 0 {
			w.fail("a request is not answered", "%s: %v", d, d.asks)
		}
		if (d.answered || d.refused) && !d.inexact && !d.doubtful && !maps.Equal(d.roster, d.user.roster) {
			w.fail("a client has another roster than the service", "%s has %v, the service %v", d, d.roster, d.user.roster)
		}
		if d.available {
			d.compareSeen()
		}
	}
}

// compareSeen compares whom a client sees with who is there.
func (d *device) compareSeen() {
	for _, other := range d.town.devices {
		if other == d {
			continue
		}
		mine, theirs := d.user.roster[other.user.name].sub, other.user.roster[d.user.name].sub
		may := theirs == "both" || theirs == "from"
		wants := mine == "both" || mine == "to"
		own := other.user == d.user
		// A contact whom the roster does not ask for may show all the same; what the client makes of it is up to it.
		if !own && !wants && may && !d.town.kind.mutual {
			continue
		}
		want := ""
		if !own && d.town.apart != nil && d.town.apart(d.user, other.user) {
			may = false
		}
		if other.available && (own || may && wants) {
			want = strconv.Itoa(other.priority)
		}
		if got := d.seen[other.String()]; got != want {
			d.town.fail("a client sees somebody whom it should not, or not somebody whom it should",
				"%s sees %s as %q, should be %q (its roster %q, theirs %q)", d, other, got, want, mine, theirs)
		}
	}
}
