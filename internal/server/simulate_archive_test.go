package server_test

import (
	"fmt"
	"slices"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Archives (XEP-0313) in a sim: each message that was acknowledged is in both archives once, in the order in which each client has
// sent it, and what was read once stays as it was.

// archived is a message in an archive.
type archived struct {
	id string
	n  int // of the letter
}

// reading is a query whose results are coming.
type reading struct {
	page []archived
}

// read has a device ask for a page of its archive, and then do something with it; an error says nothing.
func (l *line) read(set string, then func(page []archived, whole bool)) {
	s, r := l.sim, &reading{}
	s.counts["pages of archives"]++
	id := fmt.Sprint("p", s.requests)
	l.readings[id] = r
	session := l.session
	l.request("set", "", fmt.Sprintf("<query xmlns='urn:xmpp:mam:2' queryid='%s'><set xmlns='http://jabber.org/protocol/rsm'>%s</set></query>", id, set), true, func() {
		delete(l.readings, id)
		if fin := l.answer.Child(ns.MAM, "fin"); fin != nil && l.session == session {
			then(r.page, fin.Attr("complete") == "true")
		}
	})
}

// look has a device read the end of its archive. What it finds must be found again.
func (l *line) browse(n int) {
	p := l.d.user.name
	l.read(fmt.Sprintf("<max>%d</max><before/>", 1+n), func(page []archived, _ bool) {
		l.sim.pages[p] = append(l.sim.pages[p], page)
	})
}

// hearResult takes a message of a page. Other queries are nonsense.
func (l *line) hearResult(result *xmlstream.Element) {
	r := l.readings[result.Attr("queryid")]
	if r == nil {
		return
	}
	f := result.Child(ns.Forward, "forwarded")
	x := (*letter)(nil)
	if f != nil {
		x = l.sim.letterOf(f.Child(ns.Client, "message"))
	}
	if x == nil {
		l.sim.fail("an archive has what nobody has sent", "%s: %s", l.d, result)
		return
	}
	if x.user != l.d.user && x.from.user != l.d.user {
		l.sim.fail("an archive has what is somebody else's", "%s: %s", l.d, result)
	}
	r.page = append(r.page, archived{result.Attr("id"), x.n})
}

// checkArchives reads everybody's archive from its beginning and compares it with what was sent.
func (s *sim) checkArchives() {
	for i, name := range people {
		l := s.lines[2*i]
		var all []archived
		whole := false
		for pages := 0; !whole && pages < 100 && s.failure() == ""; pages++ {
			set := "<max>50</max>"
			if len(all) > 0 {
				set += "<after>" + all[len(all)-1].id + "</after>"
			}
			answered := false
			l.read(set, func(page []archived, complete bool) { answered, whole, all = true, complete, append(all, page...) })
			if s.pass(10 * time.Millisecond); !answered {
				s.fail("an archive cannot be read", "%s: %s", l.d, l.answer)
				return
			}
		}
		s.checkArchive(name, all)
	}
}

func (s *sim) checkArchive(name string, all []archived) {
	place, ids, last := map[int]int{}, map[string]bool{}, map[*device]int{}
	for i, a := range all {
		x := s.letters[a.n-1]
		if _, twice := place[a.n]; twice || ids[a.id] {
			s.fail("an archive has a message, or an id, twice", "%s: m%d as %s", name, a.n, a.id)
		}
		if last[x.from] > a.n {
			s.fail("an archive is not in order", "%s: m%d after m%d", name, a.n, last[x.from])
		}
		if !x.kept || x.refused || x.barred {
			s.fail("an archive has what should not be there", "%s: m%d, refused: %v, blocked: %v", name, a.n, x.refused, x.barred)
		}
		place[a.n], ids[a.id], last[x.from] = i, true, a.n
	}
	life, _ := s.health()
	for _, x := range s.letters {
		if x.user.name != name && x.from.user.name != name || !x.due(life) {
			continue
		}
		s.counts["archived messages that are due"]++
		if _, has := place[x.n]; !has {
			s.fail("an archive lacks a message", "%s: m%d, acknowledged: %v", name, x.n, x.acked)
		}
	}
	for _, page := range s.pages[name] {
		at := slices.Index(all, append(page, archived{})[0])
		if len(page) > 0 && (at < 0 || at+len(page) > len(all) || !slices.Equal(page, all[at:at+len(page)])) {
			s.fail("an archive is not as it was", "%s: %v is now %v", name, page, all)
		}
	}
}
