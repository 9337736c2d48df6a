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

	folk       map[string]*person
	devices    []*device
	unreadable bool           // the disk gives nothing back
	life       int            // counts the server's starts
	sick       bool           // the disk fails
	posts      sync.WaitGroup // requests under way
	history    []string

	counts map[string]int // what happened, how often

	// Of a town in which time passes otherwise (see sim); nil when they are not needed:
	config, hostConfig []string                            // lines of the server's
	dial               func(d *device) (connection, error) // how a client signs in
	tick               func(d time.Duration)               // lets time pass
	apart              func(a, b *person) bool             // whether one of two has blocked the other
	lags               bool                                // what the server has sent takes time: see device.floor

	mu     sync.Mutex
	failed string // the first thing that was wrong, in words that are the same each time
}

// person is a user, and the roster as the service has it.
type person struct {
	name   string
	roster map[string]contact
	past   map[string][]state // of each contact that there ever was
	turn   int                // counts the roster's changes
	// floor is the first turn that may still be seen: the server has said that it has that one, or a later one. base is what it
	// is when the server has forgotten that.
	floor, base int
	floors      map[string]int // the same for single contacts
	unsure      bool           // what was sent may not have been taken
	// wanted is the turn of the last notification that the server has taken, in one of its lives: it goes on to try.
	wanted, wantedIn int
	mode             string // how the service answers
	lies             int    // counts how often it has begun to answer what is not so
	blurred          bool   // the server may hold back what the service has, or have what it was not told to
	seen             map[string]*version
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
		w.folk[name] = &person{name: name, roster: map[string]contact{}, past: map[string][]state{}, floors: map[string]int{}, seen: map[string]*version{}}
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
	o := xmpptest.Options{Log: serverLog(), PushOnly: w.kind.pushOnly, Config: w.config}
	var err error
	switch {
	case disk == 99:
		if w.sqlite, err = store.Open(w.ctx, store.Options{DataDir: w.folder}); err != nil {
			w.fail("no database", "%v", err)
			return false
		}
		w.disk = xmpptest.NewDisk(w.sqlite)
	case disk < 90 || w.kind.pushOnly:
		w.disk = xmpptest.NewDisk(nil)
	}
	o.Disk = w.disk
	o.HostConfig = slices.Clone(w.hostConfig)
	if w.kind.batches {
		o.HostConfig = append(o.HostConfig, "roster.batch_url = 'http://app/batch'")
	}
	if w.kind.mutual {
		o.HostConfig = append(o.HostConfig, "roster.mutual = true")
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
	doc := fmt.Sprintf(`{"subscription": %q`, c.sub)
	if c.name != "" {
		doc += fmt.Sprintf(`, "name": %q`, c.name)
	}
	if c.group != "" {
		doc += fmt.Sprintf(`, "groups": [%q]`, c.group)
	}
	return doc + "}"
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

// was tells whether that was true of a contact at a turn, or later.
func (p *person) was(name string, c contact, floor int) bool {
	past := p.past[name]
	for i := len(past) - 1; i >= 0; i-- {
		if past[i].contact == c {
			return true
		}
		if past[i].from <= floor {
			return false
		}
	}
	return c == (contact{})
}

// settle waits until nothing moves any more but time.
func (w *town) settle() { synctest.Wait() }

// answer is what the contract says that a request is answered with.
type answer struct {
	Status  *string
	Message *string
	Updated *int
	Errors  *int
	Users   map[string]struct{ Result string } // with ?detail=1
}

// told tells whether the server has what it was told of a user.
func (a answer) told(p *person) bool {
	result := a.Users[p.name].Result
	return result == "changed" || result == "unchanged"
}

// A request is one to the HTTP API, about so many users.
type request struct {
	method, path, body string
	users              int
	life               int // of the server, when it was sent; whatever becomes of it when that ends
	sick               bool
}

// post sends a request and looks at the answer. ok says that there is one, whatever it is. It may be called by any
// goroutine.
func (w *town) post(r request) (status int, a answer, ok bool) {
	began := time.Now()
	status, text, err := w.world.Ask(r.method, "http://localhost"+r.path, r.body)
	if time.Since(began) > 31*time.Second { // of the bubble's clock
		w.fail("a request is answered late", "%+v: after %v", r, time.Since(began))
	}
	w.say("%s %s %s gets %d %s %v", r.method, r.path, r.body, status, strings.TrimSpace(string(text)), err)
	life, sick := w.health()
	if err != nil {
		if life == r.life {
			w.fail("a request is not answered", "%+v: %v", r, err)
		}
		return 0, a, false
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Status == nil || a.Message == nil || a.Updated == nil || a.Errors == nil {
		w.fail("an answer lacks one of the four members", "%+v: %d %s", r, status, text)
		return 0, a, false
	}
	switch {
	case status == 200 && *a.Updated+*a.Errors != r.users:
		w.fail("an answer does not count every user", "%+v: %s", r, text)
	case status == 503 && (life != r.life || sick || r.sick): // it may be sent again
	case status == 503 && r.method == "PATCH" && !w.kind.pushOnly: // it has become a refresh, and that failed
	case status == 503:
		w.fail("a request is refused for no reason", "%+v: %s", r, text)
	case status == 404 && strings.HasSuffix(r.path, "/confirm"): // no roster is known
	case status != 200 && status != 503 && status != 409:
		w.fail("a request is refused", "%+v: %d %s", r, status, text)
	}
	return status, a, true
}

func (w *town) request(method, path, body string, users int) request {
	life, sick := w.health()
	return request{method, path, body, users, life, sick}
}

func (w *town) health() (life int, sick bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life, w.sick
}

// notify tells the server that rosters have changed, and waits for the answer.
func (w *town) notify(folk ...*person) {
	turns := map[*person]int{}
	for _, p := range folk {
		turns[p] = p.turn
	}
	_, a, ok := w.post(w.request("POST", "/roster_admin/refresh?detail=1", namesOf(folk), len(folk)))
	if !ok {
		return
	}
	for _, p := range folk {
		if a.told(p) {
			w.raise(p, turns[p], "")
		} else if result := a.Users[p.name].Result; result != "offline" && result != "held" && result != "error" {
			w.fail("a user is not told what became of", "%s: %q", p.name, result)
		}
	}
}

// truthful tells whether what the service says is so: the server cannot know better.
func (p *person) truthful() bool { return p.mode != xmpptest.AllBad && p.mode != xmpptest.NotModified }

// later notifies without waiting for the answer.
func (w *town) later(folk ...*person) {
	w.say("the service notifies %s", namesOf(folk))
	r := w.request("POST", "/roster_admin/refresh", namesOf(folk), len(folk))
	w.posts.Go(func() { w.post(r) })
}

// put sends a roster as it is.
func (w *town) put(p *person) {
	status, a, ok := w.post(w.request("PUT", "/roster_admin/rosters/"+p.name+"?detail=1", document(p.roster), 1))
	if ok && status == 200 && a.told(p) {
		p.unsure = false
		w.raise(p, p.turn, "")
	} else {
		p.unsure = true
	}
}

// patch sends one contact as it is.
func (w *town) patch(p *person, name string) {
	status, a, ok := w.post(w.request("PATCH", "/roster_admin/rosters/"+p.name+"?detail=1", patchOf(p, name), 1))
	switch {
	case ok && status == 409 && w.kind.pushOnly:
		w.put(p)
	case ok && status == 200 && a.told(p) && !p.unsure && w.kind.pushOnly:
		w.raise(p, p.turn, "")
	case ok && status == 200 && a.told(p):
		w.raise(p, p.turn, name)
	default:
		p.unsure = true
	}
}

func patchOf(p *person, name string) string {
	if c, ok := p.roster[name]; ok {
		doc := strings.TrimSuffix(c.document(), "}") // what a patch does not say stays, so that it must say all
		if c.name == "" {
			doc += `, "name": null`
		}
		if c.group == "" {
			doc += `, "groups": null`
		}
		return fmt.Sprintf(`{"%s@localhost": %s}}`, name, doc)
	}
	return fmt.Sprintf(`{"%s@localhost": null}`, name)
}

// patchLater sends one contact without waiting for the answer. It has arrived when something else is sent.
func (w *town) patchLater(p *person, name string) {
	p.unsure = true
	w.say("the service patches %s of %s", name, p.name)
	r := w.request("PATCH", "/roster_admin/rosters/"+p.name, patchOf(p, name), 1)
	w.posts.Go(func() { w.post(r) })
	w.settle()
}

// patchMany sends one contact of each of two users, in one request.
func (w *town) patchMany(p, q *person) {
	body := fmt.Sprintf(`{"%s": %s, "%s": %s}`, p.name, patchOf(p, q.name), q.name, patchOf(q, p.name))
	_, a, _ := w.post(w.request("PATCH", "/roster_admin/rosters?detail=1", body, 2))
	for _, two := range [][2]*person{{p, q}, {q, p}} {
		if a.told(two[0]) {
			w.raise(two[0], two[0].turn, two[1].name)
		} else {
			two[0].unsure = true
		}
	}
}

// confirm applies what the guard holds.
func (w *town) confirm(p *person) {
	w.post(w.request("POST", "/roster_admin/rosters/"+p.name+"/confirm", "", 1))
}

// raise notes that the server has said to have what was true at a turn, of one contact or of all (""): all that has been
// sent is as new.
func (w *town) raise(p *person, turn int, name string) {
	if !p.truthful() && !w.kind.pushOnly {
		return
	}
	w.settle()
	for _, d := range w.devices {
		if d.user == p && d.client != nil {
			d.hear(everything)
		}
	}
	if name == "" {
		p.floor = max(p.floor, turn)
	} else {
		p.floors[name] = max(p.floors[name], turn)
	}
	if w.lags {
		return
	}
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
