package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// letter is a message that somebody has sent in a sim.
type letter struct {
	n       int
	from    *device
	to      *device // nil: to the account
	user    *person
	kept    bool // it has something in it that is stored
	private bool // it is not to be copied
	at      time.Time
	life    int // of the server
	prompt  bool

	acked       bool // by the server (XEP-0198)
	arrived     bool // the server has it: it has answered what came after it
	refused     bool
	barred      bool             // one of the two had blocked the other when it was sent, for certain
	mayBeBarred bool             // or may have, before it came
	mayBeLost   bool             // with a connection on which nothing is acknowledged
	mayRepeat   map[*device]bool // a device may get it again in another session
	got         map[*device]got
	copied      map[*device]int // in which session a copy of it was heard
}

// due tells whether the server must have stored it.
func (x *letter) due(life int) bool {
	return x.kept && !x.refused && !x.mayBeBarred && (x.acked || x.arrived && x.life == life)
}

// got is in which session of a device, and in which life of the server, a message was heard.
type got struct{ session, life int }

// heard is a message that a device has heard, and how many stanzas it had heard by then.
type heard struct {
	letter *letter
	count  uint32
}

// letterOf gives the letter that a message is; nil: none.
func (s *sim) letterOf(message *xmlstream.Element) *letter {
	if message == nil {
		return nil
	}
	number, ours := strings.CutPrefix(message.Attr("id"), "m")
	if !ours {
		return nil
	}
	return s.letter(number)
}

func (s *sim) letter(n string) *letter {
	i, err := strconv.Atoi(n)
	if err != nil || i < 1 || i > len(s.letters) {
		return nil
	}
	return s.letters[i-1]
}

// write has a device send a message: a third of them to one client, one in six nothing but a chat state.
func (l *line) write(m move, i int) {
	s := l.sim
	to := s.lines[(m.b+i)%len(s.lines)].d
	if to.user == l.d.user {
		to = s.lines[(m.b+i+2)%len(s.lines)].d
	}
	x := &letter{n: len(s.letters) + 1, from: l.d, user: to.user, kept: (m.c+i)%6 > 0, private: (m.a+i)%5 == 0, at: time.Now(), mayRepeat: map[*device]bool{}, got: map[*device]got{}, copied: map[*device]int{}}
	x.barred, x.mayBeBarred = s.barred(to.user, l.d.user)
	x.life, _ = s.health()
	address := to.user.name + "@localhost"
	if (m.d+i)%3 == 0 {
		x.to = to
		address += "/" + to.resource
	}
	x.prompt = s.fit(l) && s.reachable(x)
	s.letters = append(s.letters, x)
	content := fmt.Sprintf(`<body xml:%s  >%d</body>`, verbatim, x.n)
	if !x.kept {
		content = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
	}
	if x.private {
		content += "<private xmlns='urn:xmpp:carbons:2'/>"
	}
	s.counts["messages"]++
	s.say("%s writes m%d to %s", l.d, x.n, address)
	_ = l.send(fmt.Sprintf("<message to='%s' type='chat' id='m%d'>%s</message>", address, x.n, content), x)
	if l.managed && m.d%4 > 0 {
		l.raw("<r xmlns='urn:xmpp:sm:3'/>")
	}
}

// fit tells whether nothing is, or was just now, wrong with a device's connection.
func (s *sim) fit(l *line) bool {
	return l.d.client != nil && !l.lost() && !l.held && !l.lazy && !l.abused && time.Now().After(l.flooded) && time.Since(l.well) > 5*time.Second
}

// reachable tells whether a message must arrive soon, and is certain to find somebody: the one client that it is for, or
// clients of whom nobody is in a state in which some might wait for them.
func (s *sim) reachable(x *letter) bool {
	if time.Now().Before(s.illUntil) {
		return false
	}
	able := func(l *line) bool {
		return s.fit(l) && l.d.available && time.Since(l.shown) > 5*time.Second
	}
	if x.to != nil {
		return able(s.lineOf(x.to))
	}
	there := 0
	for _, l := range s.lines {
		if l.d.user != x.user || l.d.client == nil && time.Since(l.well) > noticed+resumable {
			continue
		}
		if !able(l) {
			return false
		}
		there++
	}
	return there > 0
}

// promptly is how soon a message arrives where nothing is wrong.
const promptly = 5 * time.Second

// checkPrompt looks whether messages have come that must have by now: "a reader that stops reading costs its own session and
// nobody else".
func (s *sim) checkPrompt() {
	life, _ := s.health()
	for _, x := range s.letters[s.prompted:] {
		if time.Since(x.at) < promptly {
			return
		}
		s.prompted = x.n
		if !x.prompt || x.life != life || s.illUntil.After(x.at) || x.refused && !x.barred || x.mayBeBarred && !x.barred {
			continue
		}
		came, undisturbed := false, s.fit(s.lineOf(x.from)) && s.lineOf(x.from).well.Before(x.at)
		for _, l := range s.lines {
			if _, has := x.got[l.d]; has {
				came = true
			}
			if l.d.user == x.user && (x.to == nil || x.to == l.d) {
				undisturbed = undisturbed && (l.d.client == nil && x.to == nil || s.fit(l) && l.shown.Before(x.at)) && l.well.Before(x.at)
			}
		}
		if undisturbed {
			s.counts["prompt messages"]++
		}
		switch {
		case undisturbed && x.barred && !x.refused:
			s.fail("who sends what is blocked is not told", "m%d from %s to %s", x.n, x.from, x.user.name)
		case x.barred || !undisturbed || !x.kept && s.hidden(x.user): // a chat state waits until somebody looks
		case !came:
			s.fail("a message does not come though nothing is wrong with who is to get it", "m%d from %s to %s", x.n, x.from, x.user.name)
		default:
			if i := slices.IndexFunc(s.lines, func(l *line) bool { return l.lacksCopy(x) }); i >= 0 {
				s.fail("a client has neither a message nor a copy of it", "m%d from %s to %s: %s", x.n, x.from, x.user.name, s.lines[i].d)
			}
		}
	}
}

// checkSettled looks whether messages have left the hands of those who are gone: the server has noticed by now.
func (s *sim) checkSettled() {
	life, _ := s.health()
	for _, x := range s.letters[s.settled:] {
		if time.Since(x.at) < noticed+resumable {
			return
		}
		s.settled = x.n
		if !x.due(life) || x.life != life || time.Since(s.illUntil) < noticed+resumable || s.mayBeLost(x) || len(x.got)+len(x.copied) > 0 {
			continue
		}
		for _, l := range s.lines {
			if l.d.user == x.user && s.fit(l) && l.d.available && l.well.Before(x.at) && l.shown.Before(x.at) {
				s.fail("a message stays with who is gone", "m%d from %s to %s, and not %s", x.n, x.from, x.user.name, l.d)
			}
		}
	}
}

// hearMessage takes a message that has come.
func (l *line) hearMessage(el *xmlstream.Element) {
	s := l.sim
	if inner, how := copyOf(el); inner != nil {
		l.hearCopy(el, inner, how)
		return
	}
	if result := el.Child(ns.MAM, "result"); result != nil {
		l.hearResult(result)
		return
	}
	x := s.letterOf(el)
	if x == nil {
		return
	}
	if el.Attr("type") == "error" {
		s.say("%s hears that m%d is refused: %s", l.d, x.n, el)
		x.refused = true
		life, _ := s.health()
		if x.from != l.d || x.kept && !x.mayBeBarred && life == x.life && s.illUntil.Before(x.at) {
			s.fail("a message is refused for no reason", "%s: %s", l.d, el)
		}
		return
	}
	late := el.Child(ns.Delay, "delay") != nil
	s.say("%s hears m%d, late: %v", l.d, x.n, late)
	if from := el.Attr("from"); from != x.from.user.name+"@localhost/"+x.from.resource || l.d.user != x.user {
		s.fail("a stanza under another name", "m%d of %s to %s comes to %s from %s", x.n, x.from, x.user.name, l.d, from)
	}
	life, _ := s.health()
	if was, twice := x.got[l.d]; twice && (was.session == l.session || was.life == life && !x.mayRepeat[l.d]) {
		s.fail("a message comes twice", "m%d to %s", x.n, l.d)
	}
	if x.barred {
		s.fail("what is blocked comes", "m%d to %s", x.n, l.d)
	}
	if session, copied := x.copied[l.d]; copied && session == l.session && !late {
		s.fail("a message comes with a copy of it", "m%d to %s", x.n, l.d)
	}
	s.counts["messages heard"]++
	x.got[l.d] = got{l.session, life}
	l.heard = append(l.heard, heard{x, l.handled})
	if late {
		return
	}
	if last := l.live[x.from]; last > x.n {
		s.fail("messages come out of order", "%s hears m%d after m%d", l.d, x.n, last)
	}
	l.live[x.from] = x.n
}

// confirm notes that the server has what we have said: that so many stanzas were heard.
func (l *line) confirm(count uint32) {
	l.heard = slices.DeleteFunc(l.heard, func(h heard) bool { return h.count <= count })
}

// settleLetters is for the end of a session: what the server does not know to have been heard may come again.
func (l *line) settleLetters() {
	if l.managed {
		for _, h := range l.heard {
			h.letter.mayRepeat[l.d] = true
		}
	}
	l.heard = nil
}

// mayBeLost tells whether a message may have been lost with a session in which nothing is acknowledged.
func (s *sim) mayBeLost(x *letter) bool {
	lost := x.mayBeLost
	for _, l := range s.lines {
		lost = lost || l.d.user == x.user && x.at.Before(l.unsure) // if it was for another client that was not there, too
	}
	return lost
}

// checkLetters looks in the end whether everything has come that is due.
func (s *sim) checkLetters() {
	life, _ := s.health()
	for _, x := range s.letters {
		due := x.due(life) && !s.mayBeLost(x)
		if due {
			s.counts["due messages"]++
		}
		if due && len(x.got) == 0 {
			s.fail("a message is lost", "m%d from %s to %s, acknowledged: %v", x.n, x.from, x.user.name, x.acked)
		}
	}
	for _, m := range s.disk.All() {
		if m.Undelivered {
			s.fail("a message waits though its recipient is there", "%s: %s", m.Username, m.Stanza)
		}
	}
}
