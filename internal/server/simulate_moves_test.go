package server_test

import (
	"fmt"
	"strings"
	"time"

	"rollcall/internal/xmpptest"
)

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
	case blocks:
		if m.c%4 == 3 {
			l.askBlocklist()
			break
		}
		l.block(s.folk[people[m.b%len(people)]], m.c%2 == 0)
	case reads:
		l.browse(m.b)
	case hides:
		l.hide(m.b%3 > 0)
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
		l.goAway(m)
	case stops:
		l.stop(time.Duration(1+m.b)*2*time.Second, m)
	case slows:
		s.delay = []time.Duration{100 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond, 400 * time.Millisecond}[m.b%4]
		for _, l := range s.lines {
			if l.route != nil {
				l.route.Slow(s.delay)
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

// cutOff cuts the connection; some of what is on the way arrives. Over BOSH the client mostly goes on with other connections:
// nothing of its stream may be lost then, nor come twice, and the server must not end it.
func (l *line) cutOff(m move) {
	l.sim.counts["cuts"]++
	l.held, l.mustEnd = false, time.Time{}
	up, down := l.route.InFlight()
	up, down = up*m.b/23, down*m.c/23
	if l.over == xmpptest.BOSH && m.d%4 > 0 {
		l.sim.say("connections of %s are cut", l.d)
		l.sim.counts["cuts that BOSH heals"]++
		l.well = time.Now()
		l.route.Hold(true, false)
		if m.d%4 == 1 {
			l.route.CutLast(up, down)
		} else {
			l.route.Cut(up, down)
		}
		return
	}
	l.sim.say("%s is cut off", l.d)
	l.abused = true
	l.route.Cut(up, down)
	if l.over == xmpptest.BOSH {
		l.part()
	}
}

// goAway has a device be out of reach, without a word. Over BOSH it may go on when it is back.
func (l *line) goAway(m move) {
	s := l.sim
	s.counts["connections lost without a word"]++
	noticed := time.Duration(1+m.b) * 5 * time.Second
	switch l.over {
	case xmpptest.WebSocket:
		noticed = 0 // there is a proxy, and the server has to look itself
	case xmpptest.TCP:
		if l.enabled && m.c%2 == 0 {
			noticed = 0 // when the server has something for it, it does not answer
		}
	case xmpptest.BOSH:
		if m.d%2 == 0 {
			back := time.Duration(1+m.c) * time.Second
			s.say("%s is out of reach for %v", l.d, back)
			l.well = time.Now().Add(back)
			l.route.Lose(noticed)
			client := l.client
			s.after(back, client.Redial)
			return
		}
	}
	s.say("%s is out of reach", l.d)
	l.abused, l.vanished = true, true
	l.route.Lose(noticed)
	if l.over == xmpptest.TCP {
		s.vanished = append(s.vanished, vanished{l.route, l.d})
	}
	l.part()
}

// part has a device give its connection up, and keep its session if that can be resumed.
func (l *line) part() {
	l.hangUp()
	if l.id == "" {
		l.giveUp()
	}
}

// stop has a device read nothing for a while, after which it reads again or is cut off.
func (l *line) stop(d time.Duration, m move) {
	s, route := l.sim, l.route
	s.counts["readers that stop"]++
	s.say("%s stops reading", l.d)
	l.held, l.abused = true, true
	route.Hold(true, true)
	s.after(d, func() {
		if l.route != route {
			return
		}
		if m.d%3 == 0 && l.client != nil && !l.resuming { // it was no reader that had stopped, but a network that was gone
			l.cutOff(m)
			return
		}
		s.say("%s reads again", l.d)
		l.held, l.mustEnd = false, time.Time{}
		route.Hold(true, false)
	})
}

// come has a device begin a session; if it has one, that is replaced.
func (l *line) come(m move) {
	if l.dialing != nil || l.d.client != nil && m.b%4 > 0 && !(l.lost() && m.b%2 == 0) {
		return
	}
	if l.d.client != nil {
		l.sim.say("%s gives its session up", l.d)
		if l.route != nil {
			l.vanished = true
			l.route.Lose(30 * time.Second)
		}
		l.Close()
	}
	l.signIn(false, m)
}

// resume has a device go on with its session on another connection; the one that it has may seem to live.
func (l *line) resume(m move) {
	if l.client == nil || l.d.client == nil {
		l.sim.say("%s wants to resume", l.d)
		l.signIn(true, m)
		return
	}
	route := l.route // what it has just sent may arrive before its new connection, or after
	route.Hold(false, true)
	l.write(m, 0)
	l.write(m, 1)
	l.sim.after(time.Duration(1+m.c)*100*time.Millisecond, func() { route.Hold(false, false) })
	l.switchOver(m)
}

// switchOver has a device leave a connection that lives, and resume its session on another.
func (l *line) switchOver(m move) {
	l.sim.say("%s wants to resume by another connection", l.d)
	l.abused = true
	l.hangUp()
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
	if l.client != nil {
		_ = l.client.End() // what cannot be sent is lost with the connection
	}
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
		what := requests[2+m.d%(len(requests)-2)]
		if strings.Contains(what, "urn:xmpp:carbons") {
			l.copying = time.Time{} // they may end
		}
		l.request([]string{"get", "set"}[m.d%2], []string{"", "localhost", other.user.name + "@localhost"}[m.b%3], what, true, nil)
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
		if !l.lost() && !l.held && !to.managed && to.over != xmpptest.BOSH && l.sim.plan.outbox == 16<<10 { // others end when a write has hung for long enough
			to.mustEnd = time.Now().Add(10 * time.Second)
		}
	}
	text := strings.Repeat("x", 8<<10)
	for range 40 { // more than eight times the least limits.outbox_bytes
		_ = l.Send(fmt.Sprintf("<message to='%s@localhost/%s' type='headline' id='f'><body>%s</body></message>", to.d.user.name, to.d.resource, text))
	}
}
