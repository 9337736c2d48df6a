package server_test

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing/synctest"
	"time"

	"rollcall/internal/xmpptest"
)

// sim is a town over a network of its own. It is used by one goroutine, which brings everything in at moments at which nothing
// else moves; but for what the town's mutex guards.
type sim struct {
	*town
	plan   plan
	rng    *rand.Rand // of what nobody plans: used by the sim's goroutine only, so that it comes again
	lines  []*line
	routes int
	delay  time.Duration // of the network, each way

	agenda   []errand
	results  []func() // of requests; guarded by the town's mutex
	letters  []*letter
	bars     map[[2]*person]*bar
	pages    map[string][][]archived // what each user has read of the archive
	settled  int                     // letters that have long been where they belong
	vanished []vanished              // clients by TCP that are gone without a word
	prompted int                     // letters that have been looked at
	illUntil time.Time               // what the disk has done may show until then
	requests int
	ended    bool
}

// vanished is a client that is gone, and the way by which it was connected.
type vanished struct {
	route *xmpptest.Route
	d     *device
}

// errand is what is to be done at a time.
type errand struct {
	at time.Time
	do func()
}

func newSim(ctx context.Context, p plan) *sim {
	s := &sim{town: newTown(ctx, p.sequence), plan: p, rng: rand.New(rand.NewPCG(p.seed, 0x776f726c64)), delay: 20 * time.Millisecond,
		bars: map[[2]*person]*bar{}, pages: map[string][][]archived{}}
	s.apart = func(a, b *person) bool { certain, _ := s.barred(a, b); return certain }
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
		if l.route != nil {
			l.route.Cut(0, 0)
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
