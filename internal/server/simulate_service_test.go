package server_test

import (
	"testing/synctest"
	"time"

	"rollcall/internal/xmpptest"
)

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
			life, _ := s.health()
			if !ok || life != r.life {
				return
			}
			for i, p := range folk {
				if result := a.Users[p.name].Result; result == "error" || a.told(p) { // it tries until it has that
					p.wanted, p.wantedIn = max(p.wanted, turns[i]), life
				}
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
	how := []xmpptest.Failure{xmpptest.Works, xmpptest.ReadOnly, xmpptest.Broken, xmpptest.Lies, xmpptest.Slow, xmpptest.Slow}[m.a%6]
	s.diskTurns(how)
	s.illUntil = time.Now().Add(90 * time.Second)
	s.suffer(how, m)
	s.after(time.Duration(m.b)*time.Second, func() { s.diskTurns(xmpptest.Works) })
}

// suffer has clients do while the disk fails what meets it.
func (s *sim) suffer(how xmpptest.Failure, m move) {
	for i, l := range s.lines {
		if l.d.client == nil || l.dialing != nil || l.leaving || l.client == nil || l.resuming {
			continue
		}
		if i%2 == m.c%2 {
			l.askBlocklist()
		}
		if how == xmpptest.Slow && l.id != "" && !l.held { // what it sends is handled when it has come by another connection
			for i := range 4 {
				l.write(m, i)
			}
			s.after(time.Duration(1+m.d)*50*time.Millisecond, func() {
				if l.client != nil && l.id != "" && l.dialing == nil && !l.resuming && !l.leaving {
					l.switchOver(m)
				}
			})
		}
	}
}

// again has the server stop in good order or be killed, and start again.
func (s *sim) again(m move) {
	killed := m.do == crashes
	for _, l := range s.lines {
		l.doomed, l.abused = true, true
		if killed && l.route != nil {
			up, down := l.route.InFlight()
			l.route.Cut(up*m.b/23, down*m.c/23)
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
			l.giveUp()
		}
	}
	s.illUntil = time.Now().Add(5 * time.Second)
	if _, sick := s.health(); killed || sick {
		s.forget()
	}
}
