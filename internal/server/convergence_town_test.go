package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"rollcall/internal/store"
	"rollcall/internal/xmpptest"
)

// people are users; dot is somebody's contact and never comes. Others are numbered: a crowd of contacts.
var people = []string{"ann", "ben", "cid"}

const crowd = 25

// contact is what a roster says of somebody; the zero value: nothing.
type contact struct{ sub, name, group string }

// town is a world and what is true in it. It is used by one goroutine, but for what mu guards.
type town struct {
	ctx     context.Context
	kind    kind
	lost    bool
	folder  string // of the database; "": in memory
	sqlite  *store.Store
	disk    *xmpptest.Disk
	service *xmpptest.Service
	world   *xmpptest.World
	started time.Time

	folk    map[string]*person
	devices []*device
	life    int            // counts the server's starts
	sick    bool           // the disk fails
	posts   sync.WaitGroup // requests under way
	history []string

	counts map[string]int // what happened, how often

	mu     sync.Mutex
	failed string // the first thing that was wrong, in words that are the same each time
}

// person is a user, and the roster as the service has it.
type person struct {
	name   string
	roster map[string]contact
	past   map[string][]state // of each contact that there ever was
	turn   int                // counts the roster's changes
	// floor is the first turn that may still be seen: the server has said that it has that one, or a later one.
	floor   int
	mode    string // how the service answers
	blurred bool   // the server may hold back what the service has, or have what it was not told to
	seen    map[string]*version
}

// state is what a contact was from a turn on.
type state struct {
	from int
	contact
}

// version is what a version of a roster is known to be.
type version struct {
	since  time.Time // when somebody had it first
	roster map[string]contact
}

func newTown(ctx context.Context, s sequence) *town {
	w := &town{ctx: ctx, kind: s.kind, lost: s.Lost, service: xmpptest.NewService(), started: time.Now(), folk: map[string]*person{}, counts: map[string]int{}}
	for i, name := range people {
		w.folk[name] = &person{name: name, roster: map[string]contact{}, past: map[string][]state{}, seen: map[string]*version{}}
		for j, resource := range []string{"phone", "web"} {
			d := &device{town: w, user: w.folk[name], resource: resource, habit: []habit{caches, forgets}[j]}
			if s.Merges>>(2*i+j)&1 == 1 {
				d.habit = merges
			}
			w.devices = append(w.devices, d)
		}
		for j, other := range people {
			if s.Know>>(3*i+j)&1 == 1 && other != name {
				w.folk[name].set(other, contact{sub: "both"})
			}
		}
		w.publish(w.folk[name])
	}
	return w
}

// Context and Errorf make a town what a World needs.
func (w *town) Context() context.Context { return w.ctx }

func (w *town) Errorf(format string, args ...any) {
	w.fail("the world is not as it should be", "%s", fmt.Sprintf(format, args...))
}

// fail notes that something is wrong: in words that do not depend on who and when, and in detail.
func (w *town) fail(what, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == "" {
		w.failed = what
	}
	w.history = append(w.history, "WRONG: "+what+": "+fmt.Sprintf(format, args...))
}

func (w *town) failure() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *town) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, fmt.Sprintf("%9.3f  ", time.Since(w.started).Seconds())+fmt.Sprintf(format, args...))
}

// start starts the world. disk says where rosters are: in the database now and then, for that takes time, and mostly in
// its likeness.
func (w *town) start(disk int) bool {
	o := xmpptest.Options{Log: serverLog(), PushOnly: w.kind.pushOnly}
	var err error
	switch {
	case disk == 99:
		if w.sqlite, err = store.Open(w.ctx, w.folder); err != nil {
			w.fail("no database", "%v", err)
			return false
		}
		w.disk = xmpptest.NewDisk(w.sqlite)
	case disk < 90 || w.kind.pushOnly:
		w.disk = xmpptest.NewDisk(nil)
	}
	o.Disk = w.disk
	if w.kind.batches {
		o.HostConfig = []string{"roster.batch_url = 'http://app/batch'"}
	}
	if w.kind.mutual {
		o.HostConfig = []string{"roster.mutual = true"}
	}
	if w.world, err = xmpptest.Start(w, w.service, o); err != nil {
		w.fail("the server does not start", "%v", err)
		return false
	}
	return true
}

func (w *town) close() {
	for _, d := range w.devices {
		d.drop()
	}
	w.service.Release()
	if w.world != nil {
		w.world.Close()
	}
	w.posts.Wait()
	if w.sqlite != nil {
		if err := w.sqlite.Close(); err != nil {
			w.fail("the database does not close", "%v", err)
		}
	}
}

// publish has the service answer with what is true.
func (w *town) publish(p *person) { w.service.Set(p.name, document(p.roster)) }

// document is the contract's document of a roster.
func document(roster map[string]contact) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(roster)) {
		fmt.Fprintf(&b, ", %q: %s", name+"@localhost", roster[name].document())
	}
	return "{" + strings.TrimPrefix(b.String(), ", ") + "}"
}

func (c contact) document() string {
	doc := map[string]any{"subscription": c.sub}
	if c.name != "" {
		doc["name"] = c.name
	}
	if c.group != "" {
		doc["groups"] = []string{c.group}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err) // it is strings
	}
	return string(text)
}

// set makes something true of a contact; the zero contact: that there is none.
func (p *person) set(name string, c contact) {
	if p.past[name] == nil {
		p.past[name] = []state{{}}
	}
	p.turn++
	p.past[name] = append(p.past[name], state{p.turn, c})
	if c == (contact{}) {
		delete(p.roster, name)
	} else {
		p.roster[name] = c
	}
}

// was tells whether that was true of a contact at a turn that may still be seen.
func (p *person) was(name string, c contact) bool {
	past := p.past[name]
	for i := len(past) - 1; i >= 0; i-- {
		if past[i].contact == c {
			return true
		}
		if past[i].from <= p.floor {
			return false
		}
	}
	return c == (contact{})
}

// online tells whether a user has a session.
func (p *person) online(w *town) bool {
	return slices.ContainsFunc(w.devices, func(d *device) bool { return d.user == p && d.client != nil })
}

// settle waits until nothing moves any more but time.
func (w *town) settle() { synctest.Wait() }

// answer is what the contract says that a notification is answered with.
type answer struct {
	Status  *string
	Message *string
	Updated *int
	Errors  *int
}

// post sends a request about so many users and looks at the answer. It may be called by any goroutine.
func (w *town) post(method, path, contentType, body string, users, life int) (status int, a answer, ok bool) {
	status, text, err := w.world.Request(method, "", path, contentType, body)
	if err != nil || status == 503 || status == 500 && w.kind.pushOnly {
		w.mu.Lock()
		restarted := life != w.life
		w.mu.Unlock()
		switch {
		case restarted: // whatever became of it
		case err != nil:
			w.fail("a request is not answered", "%s %s: %v", method, path, err)
		case status == 503:
			w.fail("a request is refused for no reason", "%s %s: %d %s", method, path, status, text)
		}
		return status, a, false
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Status == nil || a.Message == nil || a.Updated == nil || a.Errors == nil {
		w.fail("an answer lacks one of the four members", "%s %s %s: %d %s", method, path, body, status, text)
		return status, a, false
	}
	w.say("%s %s %s gets %d %s", method, path, body, status, text)
	if status == 200 && *a.Updated+*a.Errors != users {
		w.fail("an answer does not count every user", "%s %s %s: %s", method, path, body, text)
	}
	return status, a, true
}

// notify tells the server that rosters have changed, and waits for the answer.
func (w *town) notify(folk ...*person) {
	turns := map[*person]int{}
	for _, p := range folk {
		turns[p] = p.turn
	}
	status, a, ok := w.post("POST", "/roster_admin/refresh", "application/json", namesOf(folk), len(folk), w.life)
	switch {
	case !ok:
	case status != 200:
		w.fail("a notification is refused", "%d", status)
	case *a.Errors == 0:
		for _, p := range folk {
			if p.online(w) && p.mode != xmpptest.AllBad && p.mode != xmpptest.NotModified && !p.blurred {
				w.raise(p, turns[p])
			}
		}
	}
}

// raise notes that the server has said to have what was true of a roster at a turn: all that has been sent is as new.
func (w *town) raise(p *person, turn int) {
	w.settle()
	for _, d := range w.devices {
		if d.user == p && d.client != nil {
			d.hear(everything)
		}
	}
	p.floor = max(p.floor, turn)
	for _, d := range w.devices {
		if d.user == p && d.answered && len(d.asks) == 0 && !d.inexact {
			d.check(d.roster)
		}
	}
}

func namesOf(folk []*person) string {
	names := make([]string, len(folk))
	for i, p := range folk {
		names[i] = p.name
	}
	body, err := json.Marshal(names)
	if err != nil {
		panic(err) // it is strings
	}
	return string(body)
}

// later notifies without waiting for the answer.
func (w *town) later(folk ...*person) {
	life := w.life
	w.say("the service notifies %s", namesOf(folk))
	w.posts.Go(func() {
		w.post("POST", "/roster_admin/refresh", "application/json", namesOf(folk), len(folk), life)
	})
}
