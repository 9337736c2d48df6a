package server_test

import (
	"slices"
	"strings"
	"time"

	"rollcall/internal/feature/blocking"
	"rollcall/internal/ns"
	"rollcall/internal/store"
)

// Blocking (XEP-0191) in a sim: what was sent after a user was told that somebody is blocked never comes, in either direction, and
// presence goes by it.

// bar is what is known of whether one user has blocked another.
type bar struct {
	certain  bool // it is in force
	possible bool // it may be
	asked    []*barring
}

// barring is a request to block or to unblock somebody.
type barring struct {
	at     time.Time
	beside bool // another was under way at the same time: nobody can tell which came first
}

// forgotten is after how long a request that was not answered has no effect any more.
const forgotten = 5 * time.Minute

func (s *sim) bar(who, whom *person) *bar {
	key := [2]*person{who, whom}
	if s.bars[key] == nil {
		s.bars[key] = &bar{}
	}
	return s.bars[key]
}

// barred tells whether messages between two users are blocked: for certain, and whether they may be.
func (s *sim) barred(a, b *person) (certain, possible bool) {
	one, other := s.bar(a, b), s.bar(b, a)
	return one.certain || other.certain, one.possible || other.possible
}

// between calls something for each message between two users.
func (s *sim) between(a, b *person, do func(x *letter)) {
	for _, x := range s.letters {
		if x.user == a && x.from.user == b || x.user == b && x.from.user == a {
			do(x)
		}
	}
}

// block has a device block somebody, or unblock.
func (l *line) block(whom *person, on bool) {
	s := l.sim
	if whom == l.d.user {
		return
	}
	b, r := s.bar(l.d.user, whom), &barring{at: time.Now()}
	b.asked = slices.DeleteFunc(b.asked, func(r *barring) bool { return time.Since(r.at) > forgotten })
	b.asked = append(b.asked, r)
	for _, other := range b.asked {
		other.beside = len(b.asked) > 1
	}
	name := "unblock"
	if on {
		name, b.possible = "block", true
		s.between(l.d.user, whom, func(x *letter) { x.mayBeBarred = x.mayBeBarred || len(x.got) == 0 })
	} else {
		b.certain = false
		s.between(l.d.user, whom, func(x *letter) { x.barred = x.barred && (x.acked || x.arrived || x.refused) })
	}
	l.request("set", "", "<"+name+" xmlns='urn:xmpp:blocking'><item jid='"+whom.name+"@localhost'/></"+name+">", true, func() {
		b.asked = slices.DeleteFunc(b.asked, func(other *barring) bool { return other == r })
		if l.answer.Attr("type") == "result" && !r.beside {
			s.counts[name+"s"]++
			b.certain, b.possible = on, on
		}
	})
}

// settleBars says who is blocked for certain when nothing is under way any more: what is written.
func (s *sim) settleBars() {
	for _, a := range people {
		value, err := s.disk.Read(store.Key{Host: "localhost", Username: a, Space: blocking.Space, Name: blocking.ListName})
		if err != nil && err != store.ErrNotFound {
			s.fail("the list of those who are blocked cannot be read", "%s: %v", a, err)
		}
		for _, b := range people {
			bar, is := s.bar(s.folk[a], s.folk[b]), strings.Contains(string(value), b+"@localhost\n")
			if bar.certain && !is || !bar.possible && is {
				s.fail("another is blocked than should be", "%s has blocked %s: %v", a, b, is)
			}
			bar.certain, bar.possible, bar.asked = is, is, nil
		}
	}
}

// checkBlocklists asks for everybody's list.
func (s *sim) checkBlocklists() {
	for i, name := range people {
		l := s.lines[2*i]
		l.request("get", "", "<blocklist xmlns='urn:xmpp:blocking'/>", true, func() {
			list := l.answer.Child(ns.Blocking, "blocklist")
			for _, other := range people {
				if is := list != nil && strings.Contains(list.String(), "'"+other+"@localhost'"); list == nil || is != s.bar(l.d.user, s.folk[other]).certain {
					s.fail("another is blocked than should be", "%s: %s", name, l.answer)
				}
			}
		})
	}
	s.pass(10 * time.Millisecond)
}

// askBlocklist has a device ask whom its user has blocked.
func (l *line) askBlocklist() {
	l.request("get", "", "<blocklist xmlns='urn:xmpp:blocking'/>", true, nil)
}
