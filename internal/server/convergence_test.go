package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// TestConvergence lets a few users and their application do things at random, in an order that a seed decides, and then
// compares what each client has come to believe with what is true: its roster, built from the result and the pushes as
// RFC 6121 clients build it, equals the service's, and it sees exactly those resources of its contacts that it may see.
// ROLLCALL_SEEDS sets how many seeds are tried, ROLLCALL_SEED one of them.
func TestConvergence(t *testing.T) {
	first, last := 1, 200
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_SEEDS")); err == nil {
		last = n
	}
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_SEED")); err == nil {
		first, last = n, n
	}
	for seed := first; seed <= last && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { converge(t, uint64(seed)) })
		})
	}
}

var people = []string{"ann", "ben", "cid", "dot"}

// town is a world and what is true in it.
type town struct {
	*testing.T
	rnd     *rand.Rand
	service *xmpptest.Service
	world   *xmpptest.World
	truth   map[string]map[string]string // user → contact → subscription
	names   map[string]map[string]string // user → contact → name
	views   []*view
	history []string
}

func converge(t *testing.T, seed uint64) {
	w := &town{T: t, rnd: rand.New(rand.NewPCG(seed, 0)), service: xmpptest.NewService(),
		truth: map[string]map[string]string{}, names: map[string]map[string]string{}}
	for _, p := range people {
		w.truth[p], w.names[p] = map[string]string{}, map[string]string{}
		w.publish(p)
	}
	var options xmpptest.Options
	mutual := seed%2 == 1
	if mutual {
		options.HostConfig = []string{"roster.mutual = true"}
	}
	world, err := xmpptest.Start(t, w.service, options)
	if err != nil {
		t.Fatal(err)
	}
	w.world = world
	defer func() {
		for _, v := range w.views {
			v.client.Close()
		}
		world.Close()
	}()
	for range 150 {
		w.step()
	}
	// The end: the service is well, everything has been notified, and time has passed for retries.
	for _, p := range people {
		w.service.Answer(p, xmpptest.Fine)
	}
	w.service.Release()
	w.notify(people...)
	time.Sleep(time.Minute) // of the bubble's clock
	for _, v := range w.views {
		v.hear()
		v.check(mutual)
	}
	if t.Failed() {
		t.Logf("what happened:\n%s", strings.Join(w.history, "\n"))
	}
}

func (w *town) say(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

func (w *town) publish(user string) {
	var items []string
	for c, sub := range w.truth[user] {
		items = append(items, fmt.Sprintf("%q: {\"subscription\": %q, \"name\": %q}", c+"@localhost", sub, w.names[user][c]))
	}
	sort.Strings(items)
	w.service.Set(user, "{"+strings.Join(items, ", ")+"}")
}

func (w *town) notify(users ...string) {
	body := `["` + strings.Join(users, `", "`) + `"]`
	w.say("the service notifies %s", body)
	if status, answer, err := w.world.Notify("", "", body); err != nil || status != 200 {
		w.Fatalf("notification: %d %s %v", status, answer, err)
	}
}

// step does one thing.
func (w *town) step() {
	user := people[w.rnd.IntN(len(people))]
	switch n := w.rnd.IntN(20); {
	case n < 3:
		w.connect(user)
	case n < 5 && len(w.views) > 0:
		i := w.rnd.IntN(len(w.views))
		w.say("%s goes", w.views[i].client.JID)
		w.views[i].client.Close()
		w.views = slices.Delete(w.views, i, i+1)
	case n < 9 && len(w.views) > 0:
		w.views[w.rnd.IntN(len(w.views))].act()
	case n < 14:
		w.change(user)
	case n < 17:
		w.notify(user, people[w.rnd.IntN(len(people))])
	case n == 17:
		mode := []string{xmpptest.NotFound, xmpptest.HTML, "503", xmpptest.Hang, xmpptest.Drop}[w.rnd.IntN(5)]
		w.say("the service answers %s with %s", user, mode)
		w.service.Answer(user, mode)
	case n == 18:
		w.say("the service is well")
		for _, p := range people {
			w.service.Answer(p, xmpptest.Fine)
		}
		w.service.Release()
	default:
		d := time.Duration(w.rnd.IntN(3000)) * time.Millisecond
		w.say("%v pass", d)
		time.Sleep(d) // of the bubble's clock
	}
	if w.rnd.IntN(2) == 0 { // otherwise the next thing comes on top of this one
		synctest.Wait()
	}
}

// change changes one roster.
func (w *town) change(user string) {
	contact := people[w.rnd.IntN(len(people))]
	if contact == user {
		return
	}
	switch w.rnd.IntN(3) {
	case 0:
		delete(w.truth[user], contact)
	case 1:
		w.truth[user][contact] = []string{"both", "to", "from", "none"}[w.rnd.IntN(4)]
	default:
		w.truth[user][contact] = "both"
		w.names[user][contact] = fmt.Sprint("name ", w.rnd.IntN(100))
	}
	w.say("%s has %s as %q", user, contact, w.truth[user][contact])
	w.publish(user)
}

// view is a client and what it believes.
type view struct {
	town      *town
	user      string
	client    *xmpptest.Client
	asked     bool
	available bool
	roster    map[string]string // contact → subscription and name
	seen      map[string]bool   // full JIDs of others that are available
	pushed    map[string]bool   // ids
}

func (w *town) connect(user string) {
	if len(w.views) > 12 {
		return
	}
	c, err := w.world.Connect(w.Context(), user, fmt.Sprint("r", w.rnd.IntN(3)))
	if err != nil {
		w.Fatal(err)
	}
	w.say("%s comes", c.JID)
	// A resource that is there already is replaced by the new one.
	w.views = slices.DeleteFunc(w.views, func(v *view) bool {
		same := v.client.JID == c.JID
		if same {
			v.client.Close()
		}
		return same
	})
	w.views = append(w.views, &view{town: w, user: user, client: c, roster: map[string]string{},
		seen: map[string]bool{}, pushed: map[string]bool{}})
}

// act has a client do something.
func (v *view) act() {
	xml := ""
	switch v.town.rnd.IntN(4) {
	case 0:
		v.asked = true
		xml = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>"
	case 1:
		if v.available {
			v.available = false
			xml = "<presence type='unavailable'/>"
			break
		}
		fallthrough
	default:
		v.available = true
		xml = fmt.Sprintf("<presence><priority>%d</priority></presence>", v.town.rnd.IntN(5))
	}
	v.town.say("%s sends %s", v.client.JID, xml)
	if err := v.client.Send(xml); err != nil {
		v.town.Fatal(err)
	}
	if !v.available {
		synctest.Wait()
		v.hear()
		v.seen = map[string]bool{} // who is unavailable sees nobody
	}
}

// hear reads what has come.
func (v *view) hear() {
	if err := v.client.Send("<iq type='get' id='barrier'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
		v.town.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.town.Context(), time.Minute)
	defer cancel()
	for {
		el, err := v.client.Receive(ctx)
		if err != nil {
			v.town.Fatalf("%s: %v\n%s", v.client.JID, err, strings.Join(v.town.history, "\n"))
		}
		switch {
		case el.Attr("id") == "barrier":
			return
		case el.Local == "presence":
			v.town.say("%s hears %s", v.client.JID, el)
			v.seen[el.Attr("from")] = el.Attr("type") == ""
		case el.Local == "iq" && el.Child(ns.Roster, "query") != nil:
			v.hearRoster(el)
		}
	}
}

func (v *view) hearRoster(iq *xmlstream.Element) {
	switch iq.Attr("type") {
	case "result":
		v.roster = map[string]string{}
	case "set":
		if v.pushed[iq.Attr("id")] {
			v.town.Errorf("%s: the push %s came twice", v.client.JID, iq.Attr("id"))
		}
		v.pushed[iq.Attr("id")] = true
	}
	for item := range iq.Child(ns.Roster, "query").Elements() {
		contact, _, _ := strings.Cut(item.Attr("jid"), "@")
		if item.Attr("subscription") == "remove" {
			if v.roster[contact] == "" {
				v.town.Errorf("%s: %s was removed, who was not there", v.client.JID, contact)
			}
			delete(v.roster, contact)
			continue
		}
		state := item.Attr("subscription") + " " + item.Attr("name")
		if iq.Attr("type") == "set" && v.roster[contact] == state {
			v.town.Errorf("%s: %s was pushed without a change", v.client.JID, contact)
		}
		v.roster[contact] = state
	}
}

// check compares what the client believes with the truth.
func (v *view) check(mutual bool) {
	w := v.town
	if v.asked {
		want := map[string]string{}
		for c, sub := range w.truth[v.user] {
			want[c] = sub + " " + w.names[v.user][c]
		}
		if fmt.Sprint(want) != fmt.Sprint(v.roster) {
			w.Errorf("%s has the roster %v, the service %v", v.client.JID, v.roster, want)
		}
	}
	if !v.available {
		return
	}
	for _, other := range w.views {
		if other == v {
			continue
		}
		mine, theirs := w.truth[v.user][other.user], w.truth[other.user][v.user]
		may := theirs == "both" || theirs == "from"
		wants := mine == "both" || mine == "to"
		own := other.user == v.user
		// A contact whom the roster does not ask for may show all the same; what the client makes of it is up to it.
		if !own && !wants && (may && !mutual) {
			continue
		}
		want := other.available && (own || (may && wants))
		if got := v.seen[other.client.JID]; got != want {
			w.Errorf("%s sees %s: %v, should be %v (its roster %q, theirs %q)", v.client.JID, other.client.JID, got, want, mine, theirs)
		}
	}
}
