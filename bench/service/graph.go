// Package service plays the application that owns the contacts: it answers the fetches of docs/roster-http.md section 1, with
// little more than the cost of its sockets, and sends the notifications of section 2.
package service

import (
	"fmt"
	"strconv"
	"sync/atomic"
)

// Graph says who knows whom: Users users in a ring, each with the Contacts nearest ones as contacts, half on either side,
// so that every contact is mutual. Each user may have one friend more, which is what a refresh adds or removes.
type Graph struct {
	Users    int
	Contacts int // even, below Users
	Host     string

	// Online is how many users sign in, the first of the ring; an even number. The others exist for the roster service alone.
	Online int
	// Offline is how many contacts more each user has who never sign in. Neighbours in the ring share all but one of them.
	Offline int

	extra []atomic.Bool
}

// NewGraph returns a graph in which nobody has the friend more.
func NewGraph(users, contacts int, host string) (*Graph, error) {
	switch {
	case users < 2 || users%2 != 0:
		return nil, fmt.Errorf("%d users: give an even number of at least 2, for they chat in pairs", users)
	case contacts < 0 || contacts%2 != 0:
		return nil, fmt.Errorf("%d contacts: give an even number, half stand on either side of a user in a ring", contacts)
	case contacts >= users:
		return nil, fmt.Errorf("%d contacts of %d users: give fewer contacts than users", contacts, users)
	}
	return &Graph{Users: users, Contacts: contacts, Host: host, Online: users, extra: make([]atomic.Bool, users)}, nil
}

// Resize sets Online, where 0 stands for everybody, and Offline.
func (g *Graph) Resize(online, offline int) error {
	if online == 0 {
		online = g.Users
	}
	switch {
	case online < 2 || online%2 != 0 || online > g.Users:
		return fmt.Errorf("%d of %d users online: give an even number of at least 2, and no more than there are users", online, g.Users)
	case offline < 0:
		return fmt.Errorf("%d contacts who are never online: give 0 or more", offline)
	}
	g.Online, g.Offline = online, offline
	return nil
}

// RosterSize returns how many contacts everybody has, online or not, without the friend more.
func (g *Graph) RosterSize() int { return g.Contacts + g.Offline }

// OnlineContacts returns how many contacts of user i sign in.
func (g *Graph) OnlineContacts(i int) int {
	if g.Online == g.Users {
		return g.Contacts
	}
	n := 0
	for k := range g.Contacts {
		if g.Contact(i, k) < g.Online {
			n++
		}
	}
	return n
}

// Deliveries returns how many presences arrive when everybody online sends one to all contacts.
func (g *Graph) Deliveries() int {
	n := 0
	for i := range g.Online {
		n += g.OnlineContacts(i)
	}
	return n
}

// OfflineContact returns the address of the k-th contact of user i who never signs in, k from 0 to Offline-1.
func (g *Graph) OfflineContact(i, k int) string { return "o" + strconv.Itoa(i+k) + "@" + g.Host }

// User returns the localpart of user i.
func User(i int) string { return "u" + strconv.Itoa(i) }

// Index is the inverse of User for the localpart at the start of an address; false when the address is not a user's.
func Index(address []byte) (int, bool) {
	if len(address) < 2 || address[0] != 'u' {
		return 0, false
	}
	n := 0
	for i, c := range address[1:] {
		if c < '0' || c > '9' {
			return n, i > 0 && c == '@'
		}
		n = n*10 + int(c-'0')
		if n > 1<<30 {
			return 0, false
		}
	}
	return 0, false
}

// JID returns the bare address of user i.
func (g *Graph) JID(i int) string { return User(i) + "@" + g.Host }

// Extra returns the address of the friend that a refresh adds to user i: a local user who is never online.
func (g *Graph) Extra(i int) string { return "x" + strconv.Itoa(i) + "@" + g.Host }

// extraItem is that friend, in a roster.
const extraItem = `{"name":"A new friend","groups":{"Friends":true}}`

// HasExtra says whether user i has the friend more.
func (g *Graph) HasExtra(i int) bool { return g.extra[i].Load() }

// SetExtra gives user i the friend more, or takes it.
func (g *Graph) SetExtra(i int, has bool) { g.extra[i].Store(has) }

// Contact returns the k-th contact of user i, k from 0 to Contacts-1.
func (g *Graph) Contact(i, k int) int {
	distance := k/2 + 1
	if k%2 == 1 {
		distance = -distance
	}
	return (i + distance + g.Users) % g.Users
}

// Place is the inverse of Contact: the k for which other is the k-th contact of user i; false when it is none.
func (g *Graph) Place(i, other int) (int, bool) {
	distance := (other - i + g.Users) % g.Users
	k := 2*distance - 2
	if distance > g.Users/2 {
		k = 2*(g.Users-distance) - 1
	}
	return k, distance != 0 && k < g.Contacts
}

// AppendRoster appends user i's contacts as a document of roster-http.md section 1. Groups are in the form that every server
// understands, the one of mod_http_roster_admin.
func (g *Graph) AppendRoster(dst []byte, i int) []byte {
	dst = append(dst, '{')
	for k := range g.Contacts {
		other := g.Contact(i, k)
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `"u`...)
		dst = strconv.AppendInt(dst, int64(other), 10)
		dst = append(dst, '@')
		dst = append(dst, g.Host...)
		dst = append(dst, `":{"name":"User `...)
		dst = strconv.AppendInt(dst, int64(other), 10)
		dst = append(dst, `","groups":{"Friends":true}}`...)
	}
	for k := range g.Offline {
		if g.Contacts+k > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `"o`...)
		dst = strconv.AppendInt(dst, int64(i+k), 10)
		dst = append(dst, '@')
		dst = append(dst, g.Host...)
		dst = append(dst, `":{"name":"Somebody `...)
		dst = strconv.AppendInt(dst, int64(i+k), 10)
		dst = append(dst, `","groups":{"Others":true}}`...)
	}
	if g.HasExtra(i) {
		if g.RosterSize() > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, g.Extra(i)...)
		dst = append(append(dst, `":`...), extraItem...)
	}
	return append(dst, '}')
}
