package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"rollcall/internal/xmpptest"
)

// sim is a town over a network of its own. It is used by one goroutine, which brings everything in at moments at which nothing
// else moves; but for what the town's mutex guards.
type sim struct {
	*town
	plan  plan
	rng   *rand.Rand // of what nobody plans: used by the sim's goroutine only, so that it comes again
	lines []*line
	links int
	delay time.Duration // of the network, each way

	agenda   []errand
	results  []func() // of requests; guarded by the town's mutex
	letters  []*letter
	prompted int       // letters that have been looked at
	illUntil time.Time // what the disk has done may show until then
	requests int
	ended    bool
}

// errand is what is to be done at a time.
type errand struct {
	at time.Time
	do func()
}

func newSim(ctx context.Context, p plan) *sim {
	s := &sim{town: newTown(ctx, p.sequence), plan: p, rng: rand.New(rand.NewPCG(p.seed, 0x776f726c64)), delay: 20 * time.Millisecond}
	s.config, s.lags, s.tick = p.config, true, s.pass
	s.dial = s.dialNow
	s.hostConfig = []string{"offline.max_messages = 1000"}
	for i, d := range s.devices {
		s.lines = append(s.lines, &line{sim: s, d: d, n: i, stale: map[string]bool{}})
	}
	for _, p := range s.folk {
		if !s.kind.pushOnly { // the service has these rosters before anybody asks
			p.base, p.floor = p.turn, p.turn
		}
	}
	return s
}

func (s *sim) lineOf(d *device) *line { return s.lines[slices.Index(s.devices, d)] }

// forges tells whether the next stanza is to say that it is from somebody else.
func (s *sim) forges() bool { return s.rng.IntN(3) == 0 }

func (s *sim) play() {
	defer func() {
		if p := recover(); p != nil {
			s.fail("panic", "%v\n%s", p, debug.Stack())
		}
	}()
	if !s.start(0) {
		return
	}
	for _, m := range s.plan.moves {
		s.counts["moves"]++
		s.move(m)
		s.pass(m.wait)
		if s.failure() != "" {
			return
		}
	}
	s.finish()
}

// end stops everything.
func (s *sim) end() {
	s.ended = true
	for _, l := range s.lines {
		if l.link != nil {
			l.link.Cut(0, 0)
		}
		if l.dialing != nil {
			if r := <-l.dialing; r.client != nil {
				r.client.Close()
			}
		}
		l.hangUp()
		l.d.client = nil
	}
	s.close()
}

// pass lets time pass, and has everybody hear what comes.
func (s *sim) pass(d time.Duration) {
	end := time.Now().Add(d)
	for {
		synctest.Wait()
		s.attend()
		if s.failure() != "" {
			return
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		step := min(left, 10*time.Second, max(d/8, time.Second)) // clients answer requests for acknowledgements
		if len(s.agenda) > 0 {
			step = min(step, max(0, time.Until(s.agenda[0].at)))
		}
		time.Sleep(step) // of the bubble's clock
	}
}

// at has something done after a while.
func (s *sim) after(d time.Duration, do func()) {
	s.agenda = append(s.agenda, errand{time.Now().Add(d), do})
	slices.SortStableFunc(s.agenda, func(a, b errand) int { return a.at.Compare(b.at) })
}

// attend does what is to be done when everything has come to rest, and looks whether everything is as it must be.
func (s *sim) attend() {
	for len(s.agenda) > 0 && !s.agenda[0].at.After(time.Now()) {
		do := s.agenda[0].do
		s.agenda = s.agenda[1:]
		do()
		synctest.Wait()
	}
	for _, l := range s.lines {
		l.arrive()
		if l.d.client != nil {
			l.d.hear(everything)
		}
		if l.held || l.lost() || l.d.client == nil && l.dialing != nil {
			l.well = time.Now()
		}
	}
	s.mu.Lock()
	results := s.results
	s.results = nil
	s.mu.Unlock()
	for _, r := range results {
		r()
	}
	if _, sick := s.health(); sick {
		s.illUntil = time.Now().Add(90 * time.Second)
	}
	s.check()
}

// move has one thing happen.
func (s *sim) move(m move) {
	l := s.lines[m.a%len(s.lines)]
	switch m.do {
	case townStep:
		s.do(step{Do: townSteps[(m.a*24+m.b)%len(townSteps)], A: m.b, B: m.c, C: m.d, D: m.a, Amid: true})
	case comes:
		l.come(m)
	case resumes:
		if l.lost() && l.dialing == nil && l.client == nil || l.d.client != nil && l.id != "" && !l.leaving && m.b%3 == 0 {
			l.resume(m)
		}
	case notifies:
		s.notifies(m)
	case races:
		s.race(m)
	case diskFails:
		s.fails(m)
	case restarts, crashes:
		s.again(m)
	case timeGoes:
		s.pass([]time.Duration{10 * time.Second, 30 * time.Second, 61 * time.Second, 2 * time.Minute, 11 * time.Minute}[min(4, m.a/5)])
	default:
		if l.d.client != nil && l.dialing == nil && !l.leaving {
			l.move(m)
		}
	}
}

// move has a device that has a session do something.
func (l *line) move(m move) {
	s := l.sim
	switch m.do {
	case says:
		l.write(m, 0)
	case chats:
		for i := range 5 + m.d {
			l.write(m, i)
		}
	case shows:
		l.show(m)
	case asks:
		l.ask(m)
	}
	if l.client == nil || l.resuming {
		return
	}
	switch m.do {
	case leaves:
		l.leave()
	case isCut:
		l.cutOff(m)
	case isLost:
		s.counts["connections lost without a word"]++
		s.say("%s is out of reach", l.d)
		l.abused = true
		l.link.Lose(time.Duration(1+m.b) * 5 * time.Second)
		l.hangUp()
		if l.id == "" {
			l.over()
		}
	case stops:
		l.stop(time.Duration(1+m.b)*2*time.Second, m)
	case slows:
		s.delay = []time.Duration{100 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond, 400 * time.Millisecond}[m.b%4]
		for _, l := range s.lines {
			if l.link != nil {
				l.link.Slow(s.delay)
			}
		}
	case floods:
		l.flood(m)
	case dawdles:
		l.lazy, l.abused = l.managed, true
	case babbles:
		s.say("%s sends what is no XML", l.d)
		l.abused = true
		l.raw([]string{"<message><body></message>", "<!DOCTYPE x>", "<x:y/>", "</stream:stream>", "<iq"}[m.b%5])
	}
}

// cutOff cuts the connection; some of what is on the way arrives.
func (l *line) cutOff(m move) {
	l.sim.counts["cuts"]++
	l.sim.say("%s is cut off", l.d)
	l.held, l.abused, l.mustEnd = false, true, time.Time{}
	up, down := l.link.InFlight()
	l.link.Cut(up*m.b/23, down*m.c/23)
}

// stop has a device read nothing for a while, after which it reads again or is cut off.
func (l *line) stop(d time.Duration, m move) {
	s, link := l.sim, l.link
	s.counts["readers that stop"]++
	s.say("%s stops reading", l.d)
	l.held, l.abused = true, true
	link.Hold(true, true)
	s.after(d, func() {
		if l.link != link {
			return
		}
		if m.d%3 == 0 && l.client != nil && !l.resuming { // it was no reader that had stopped, but a network that was gone
			l.cutOff(m)
			return
		}
		s.say("%s reads again", l.d)
		l.held, l.mustEnd = false, time.Time{}
		link.Hold(true, false)
	})
}

// come has a device begin a session; if it has one, that is replaced.
func (l *line) come(m move) {
	if l.dialing != nil || l.d.client != nil && m.b%4 > 0 && !(l.lost() && m.b%2 == 0) {
		return
	}
	if l.d.client != nil {
		l.sim.say("%s gives its session up", l.d)
		if l.link != nil {
			l.link.Lose(30 * time.Second)
		}
		l.Close()
	}
	l.signIn(false, m)
}

// resume has a device go on with its session on another connection; the one that it has may seem to live.
func (l *line) resume(m move) {
	l.sim.say("%s wants to resume", l.d)
	if l.client != nil && l.d.client != nil { // what it has just sent may arrive before its new connection, or after
		l.abused = true
		link := l.link
		link.Hold(false, true)
		l.write(m, 0)
		l.write(m, 1)
		l.hangUp()
		l.sim.after(time.Duration(1+m.c)*100*time.Millisecond, func() { link.Hold(false, false) })
	}
	l.signIn(true, m)
}

// leave has a device end its session as it should be.
func (l *line) leave() {
	l.sim.say("%s leaves", l.d)
	l.abused = true
	if l.managed && l.enabled {
		l.acknowledge()
		l.confirm(l.handled)
	}
	l.raw("</stream:stream>")
	l.leaving = true
}

// show sends presence.
func (l *line) show(m move) {
	if l.quiet {
		return
	}
	l.shown = time.Now()
	if m.b >= 5 {
		l.d.present(m.b%5 - 1 + m.c%2)
		if !l.d.available { // it was -1
			l.hush()
		}
		return
	}
	l.d.priority, l.d.available = -1, false
	l.d.send("<presence type='unavailable'/>")
	l.hush()
}

// hush has a device that is unavailable see nobody from when nothing can come any more.
func (l *line) hush() {
	l.quiet = true
	l.ping(func() {
		l.quiet = false
		clear(l.d.seen)
	})
}

// ping asks the server for nothing but an answer.
func (l *line) ping(answer func()) {
	l.request("get", "", "<ping xmlns='urn:xmpp:ping'/>", true, answer)
}

func (l *line) request(kind, to, payload string, bound bool, answer func()) {
	l.sim.requests++
	l.sim.counts["requests"]++
	id := fmt.Sprint("q", l.sim.requests)
	if to != "" {
		to = " to='" + to + "'"
	}
	l.asked[id] = &query{time.Now(), bound, answer}
	l.sim.say("%s asks %s%s %s", l.d, id, to, payload)
	_ = l.Send(fmt.Sprintf("<iq type='%s' id='%s'%s>%s</iq>", kind, id, to, payload))
}

// ask has a device ask for something.
func (l *line) ask(m move) {
	other := l.sim.lines[m.b%len(l.sim.lines)].d
	switch m.c % 6 {
	case 0, 1:
		var sent []*letter
		for _, x := range l.sim.letters {
			if x.from == l.d && !x.arrived {
				sent = append(sent, x)
			}
		}
		session, said := l.session, l.said
		l.ping(func() {
			if l.session != session {
				return
			}
			if l.managed {
				l.confirm(said)
			}
			for _, x := range sent {
				x.arrived = x.arrived || l.wrote(x)
			}
		})
	case 2:
		l.request("get", other.user.name+"@localhost/"+other.resource, "<ping xmlns='urn:xmpp:ping'/>", false, nil)
	case 3: // whatever it is, it is answered once
		l.request([]string{"get", "set"}[m.d%2], []string{"", "localhost", other.user.name + "@localhost"}[m.b%3], requests[2+m.d%(len(requests)-2)], true, nil)
	case 4:
		l.request("get", "", []string{"", "<a xmlns='urn:x'/>", "<query xmlns='jabber:iq:roster'/><x/>"}[m.d%3], true, nil)
	case 5:
		if l.d.habit == forgets {
			l.d.ask(ownVersion)
		}
	}
}

// flood sends another device, which mostly does not read just then, more than may wait for it.
func (l *line) flood(m move) {
	to := l.sim.lines[m.b%len(l.sim.lines)]
	l.sim.counts["floods"]++
	l.sim.say("%s floods %s", l.d, to.d)
	l.flooded = time.Now().Add(5 * time.Minute)
	to.flooded = l.flooded
	if m.c%4 > 0 && to != l && to.client != nil && !to.resuming && !to.held {
		to.stop(20*time.Second, m)
		if !l.lost() && !l.held && !to.managed && l.sim.plan.outbox == 16<<10 { // others end when a write has hung for long enough
			to.mustEnd = time.Now().Add(10 * time.Second)
		}
	}
	text := strings.Repeat("x", 8<<10)
	for range 40 { // more than eight times the least limits.outbox_bytes
		_ = l.Send(fmt.Sprintf("<message to='%s@localhost/%s' type='headline' id='f'><body>%s</body></message>", to.d.user.name, to.d.resource, text))
	}
}

// notifies has the service notify, after a while, once or twice. What is lost on the way is never notified.
func (s *sim) notifies(m move) {
	folk := s.some(step{A: m.a, B: m.b, C: m.c, D: m.d})
	for i := range 1 + m.c%2*(m.d%2) {
		s.after(time.Duration(m.b*m.b*(i+1))*10*time.Millisecond, func() { s.notifyNow(folk) })
	}
}

func (s *sim) notifyNow(folk []*person) {
	s.say("the service notifies %s", namesOf(folk))
	turns, lies, honest := make([]int, len(folk)), make([]int, len(folk)), make([]bool, len(folk))
	for i, p := range folk {
		turns[i], lies[i], honest[i] = p.turn, p.lies, p.truthful()
	}
	r := s.request("POST", "/roster_admin/refresh?detail=1", namesOf(folk), len(folk))
	s.posts.Go(func() {
		_, a, ok := s.post(r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.results = append(s.results, func() {
			if life, _ := s.health(); !ok || life != r.life {
				return
			}
			for i, p := range folk {
				if a.told(p) && honest[i] && p.truthful() && p.lies == lies[i] {
					s.bind(p, turns[i])
				}
			}
		})
	})
}

// bind notes that the server has said to have what was true at a turn. Clients have it when they are answered what they ask now,
// for "pushes are queued" before the answer.
func (s *sim) bind(p *person, turn int) {
	p.floor = max(p.floor, turn)
	floor := p.floor
	for _, l := range s.lines {
		d, session := l.d, l.session
		if d.user != p || d.client == nil || l.leaving || !d.answered {
			continue
		}
		l.ping(func() {
			if l.session == session && d.client != nil && d.answered && len(d.asks) == 0 && !d.inexact && !d.doubtful {
				d.floor = max(d.floor, floor)
				d.check(d.roster)
				s.counts["rosters that are bound to be new"]++
			}
		})
	}
}

// race has a roster change, and be notified, while a fetch is under way that does not know of it.
func (s *sim) race(m move) {
	p := s.folk[people[m.a%len(people)]]
	p.mode = ways[6+m.b%3] // late
	s.say("the service answers %s with %q", p.name, p.mode)
	s.service.Answer(p.name, p.mode)
	s.notifyNow([]*person{p})
	s.after(time.Duration(1+m.c)*10*time.Millisecond, func() {
		s.change(p, step{B: m.c, C: m.d, D: m.b})
		s.notifyNow([]*person{p})
	})
}

// fails has the disk fail for a while.
func (s *sim) fails(m move) {
	s.diskTurns(xmpptest.Failure(m.a % 4))
	s.illUntil = time.Now().Add(90 * time.Second)
	s.after(time.Duration(m.b)*time.Second, func() { s.diskTurns(xmpptest.Works) })
}

// again has the server stop in good order or be killed, and start again.
func (s *sim) again(m move) {
	killed := m.do == crashes
	for _, l := range s.lines {
		l.doomed, l.abused = true, true
		if killed && l.link != nil {
			up, down := l.link.InFlight()
			l.link.Cut(up*m.b/23, down*m.c/23)
		}
	}
	how := s.world.Restart
	if killed {
		s.counts["kills"]++
		how = s.world.Crash
	} else {
		s.counts["restarts"]++
	}
	s.say("the server starts again, killed: %v", killed)
	s.reborn(how)
	synctest.Wait()
	for _, l := range s.lines {
		if l.dialing != nil {
			if r := <-l.dialing; r.client != nil {
				r.client.Close()
			}
			l.dialing = nil
		}
		if l.d.client == nil {
			continue
		}
		l.d.hear(everything)
		if l.d.client != nil {
			l.over()
		}
	}
	s.illUntil = time.Now().Add(5 * time.Second)
	if _, sick := s.health(); killed || sick {
		s.forget()
	}
}
