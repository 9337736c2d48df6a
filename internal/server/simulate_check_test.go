package server_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"rollcall/internal/xmpptest"
)

// check looks whether everything is as it must be, at a moment at which nothing moves.
func (s *sim) check() {
	now := time.Now()
	for _, l := range s.lines {
		if l.d.client == nil || l.lost() {
			continue
		}
		if !l.mustEnd.IsZero() && now.After(l.mustEnd) {
			if !l.route.Gone() {
				s.fail("too much waits for a client that does not read", "%s", l.d)
			}
			l.mustEnd = time.Time{}
		}
		if l.held || l.abused || now.Before(l.flooded) {
			continue
		}
		if len(l.d.asks) > 0 && l.waited(l.d.asked) > s.patience()+5*time.Second { // which the service may take
			s.fail("a client waits for its roster", "%s: %v", l.d, l.d.asks)
		}
		for id, q := range l.asked {
			if q.bound && l.waited(q.at) > s.patience() {
				s.fail("a request is not answered", "%s: %s, for %v", l.d, id, l.waited(q.at))
			}
		}
	}
	s.checkPrompt()
	s.checkSettled()
}

// waited is how long something has been due since a time, with nothing wrong with the connection.
func (l *line) waited(since time.Time) time.Duration {
	return time.Since(slices.MaxFunc([]time.Time{since, l.well}, time.Time.Compare))
}

// patience is how long an answer may take. Who is blocked and the like is read from the disk, for 10 seconds at most each time.
func (s *sim) patience() time.Duration {
	if time.Now().Before(s.illUntil) {
		return 2 * time.Minute
	}
	return 5 * time.Second
}

// dialNow signs a device in when nothing is wrong any more.
func (s *sim) dialNow(d *device) (connection, error) {
	l := s.lineOf(d)
	l.newRoute(l.lastCarrier())
	l.route.Hurry()
	c, err := s.world.ConnectBy(s.ctx, l.route, l.over, d.user.name, d.resource)
	if err != nil {
		return nil, err
	}
	l.open(c, move{b: int(s.plan.resumes>>l.n) & 3})
	return l, nil
}

// lastCarrier is by what a device comes in the end.
func (l *line) lastCarrier() xmpptest.Carrier { return carriers[int(l.sim.plan.resumes>>(20+2*l.n))&3] }

// finish lets things calm down, and looks whether everybody has and believes what is true.
func (s *sim) finish() {
	s.say("the network is well")
	s.agenda, s.delay = nil, 0
	s.serviceWell()
	s.diskTurns(xmpptest.Works)
	s.illUntil = time.Now().Add(90 * time.Second)
	for _, l := range s.lines {
		if l.route != nil {
			l.held, l.mustEnd = false, time.Time{}
			l.route.Hurry()
		}
		if l.client != nil && l.over == xmpptest.BOSH {
			l.route.Cut(0, 0) // if it was out of reach, it is back
		}
		if l.hidden && !l.lost() {
			l.hide(false)
		}
		if l.lazy {
			l.lazy = false
			l.acknowledge()
		}
	}
	s.pass(5 * time.Second) // what has ended meanwhile is known to have
	for _, l := range s.lines {
		switch {
		case !l.lost() || l.dialing != nil:
		case s.plan.resumes>>(8+l.n)&1 == 1 && l.client == nil:
			l.resume(move{over: l.lastCarrier()})
		default:
			l.giveUp()
		}
	}
	s.touch()
	s.pass(noticed + resumable + 10*time.Second) // sessions that nobody resumes are gone
	there := 0
	for _, l := range s.lines {
		if l.d.client != nil {
			there++
		}
	}
	if s.failure() == "" {
		s.countSessions(there)
	}
	for _, l := range s.lines {
		if l.lost() {
			s.fail("a session is neither resumed nor over", "%s", l.d)
		}
	}
	s.lags = false
	s.settleBars()
	if s.failure() == "" {
		s.calm()
	}
	if s.failure() == "" {
		s.letterDay()
	}
}

// touch has something to be sent to each client that is gone without a word: then the server hears that it is not answered. Where
// that does not concern it, for it asks for no answers, the system tells it.
func (s *sim) touch() {
	for _, v := range s.vanished {
		c, err := s.world.ConnectBy(s.ctx, xmpptest.NewRoute(s.plan.seed, 0, 0), xmpptest.TCP, v.d.user.name, "other")
		if err != nil {
			s.fail("a client cannot sign in", "another of %s: %v", v.d.user.name, err)
			return
		}
		_ = c.Send(fmt.Sprintf("<message to='%s@localhost/%s' type='headline' id='t'><body>Are you there?</body></message>", v.d.user.name, v.d.resource))
		_ = c.End()
		synctest.Wait()
		c.Close()
	}
}

// letterDay has everybody be there until all messages have come, and then go.
func (s *sim) letterDay() {
	for _, d := range s.devices {
		d.present(0)
		s.lineOf(d).shown = time.Now()
	}
	s.pass(time.Minute)
	s.compare()
	s.checkLetters()
	s.checkArchives()
	s.checkBlocklists()
	s.countSessions(len(s.devices))
	for _, l := range s.lines {
		l.leave()
		s.pass(time.Millisecond)
	}
	s.pass(10 * time.Second)
	s.countSessions(0)
}

// countSessions asks the server how many sessions there are.
func (s *sim) countSessions(want int) {
	status, text, err := s.world.Ask("GET", "http://localhost/admin/sessions", "")
	var list struct{ Sessions []struct{ JID string } }
	if err == nil && status != 200 {
		err = fmt.Errorf("%d", status)
	}
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil || len(list.Sessions) != want {
		s.fail("there are other sessions than there should be", "%d wanted: %s %v", want, text, err)
	}
}
