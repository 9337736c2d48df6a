package demo

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Limits of what the panel may enter. A list can never be longer than there are people.
const (
	maxName   = 60 // characters of a contact's name
	maxGroup  = 30 // characters of a group's name
	maxGroups = 5  // groups of a contact
)

// person is somebody the application knows.
type person struct {
	ID   string // the localpart of the address
	Name string
}

// people are all of them, in the order in which they are shown.
var people = []person{
	{"alice", "Alice Moreau"},
	{"bob", "Bob Okafor"},
	{"carol", "Carol Lindqvist"},
	{"dave", "Dave Tanaka"},
}

// findPerson finds a person by ID.
func findPerson(id string) (person, bool) {
	i := slices.IndexFunc(people, func(p person) bool { return p.ID == id })
	if i < 0 {
		return person{}, false
	}
	return people[i], true
}

// first gives the name a person goes by in sentences.
func (p person) first() string {
	name, _, _ := strings.Cut(p.Name, " ")
	return name
}

// contact is what a person's list says of another person.
type contact struct {
	Name   string   // what the owner of the list calls the contact; may be empty
	Groups []string // without duplicates, in the order entered
}

func (c contact) equal(d contact) bool {
	return c.Name == d.Name && slices.Equal(c.Groups, d.Groups)
}

// list is one person's contacts, by ID.
type list map[string]contact

// firstLists is who knows whom at the start and after a reset. Alice and Dave, Bob and Carol, and Carol and Dave have
// yet to meet: that is left to the visitor.
func firstLists() map[string]list {
	return map[string]list{
		"alice": {"bob": {"Bob Okafor", []string{"Work"}}, "carol": {"Carol Lindqvist", []string{"Climbing"}}},
		"bob":   {"alice": {"Alice Moreau", []string{"Work"}}, "dave": {"Dave Tanaka", []string{"Band"}}},
		"carol": {"alice": {"Alice Moreau", []string{"Climbing"}}},
		"dave":  {"bob": {"Bob Okafor", []string{"Band"}}},
	}
}

// book is the application's database: every person's contacts. Its methods may be called by any goroutine.
type book struct {
	mu    sync.Mutex
	lists map[string]list
}

func newBook() *book { return &book{lists: firstLists()} }

// contactsOf gives a copy of a person's list; ok is false when there is no such person.
func (b *book) contactsOf(id string) (l list, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok = b.lists[id]
	return maps.Clone(l), ok
}

// all gives a copy of every list, taken at one moment.
func (b *book) all() map[string]list {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]list, len(b.lists))
	for id, l := range b.lists {
		all[id] = maps.Clone(l)
	}
	return all
}

// refusal is an answer to the panel that nothing was changed, and why.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// add makes contact known to owner, and with both also owner to contact. It gives the people whose lists changed.
// An empty name means the contact's own.
func (b *book) add(owner, other, name string, groups []string, both bool) ([]string, error) {
	o, c, err := pair(owner, other)
	if err != nil {
		return nil, err
	}
	groups, err = cleanGroups(groups)
	if err != nil {
		return nil, err
	}
	if name, err = cleanName(name); err != nil {
		return nil, err
	}
	if name == "" {
		name = c.Name
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	var changed []string
	if _, known := b.lists[owner][other]; !known {
		b.lists[owner][other] = contact{name, groups}
		changed = append(changed, owner)
	}
	if _, known := b.lists[other][owner]; both && !known {
		b.lists[other][owner] = contact{o.Name, groups}
		changed = append(changed, other)
	}
	if changed == nil {
		return nil, refuse(http.StatusConflict, "%s already has %s as a contact", o.first(), c.first())
	}
	return changed, nil
}

// remove takes contact off owner's list, and with both also owner off contact's. It gives the people whose lists
// changed.
func (b *book) remove(owner, other string, both bool) ([]string, error) {
	o, c, err := pair(owner, other)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var changed []string
	if _, known := b.lists[owner][other]; known {
		delete(b.lists[owner], other)
		changed = append(changed, owner)
	}
	if _, known := b.lists[other][owner]; both && known {
		delete(b.lists[other], owner)
		changed = append(changed, other)
	}
	if changed == nil {
		return nil, refuse(http.StatusNotFound, "%s does not have %s as a contact", o.first(), c.first())
	}
	return changed, nil
}

// change gives a contact another name, other groups, or both; nil leaves a thing as it is. With both, the groups are
// also set on the other side, where owner is a contact there. The name is only ever what owner calls the contact.
// It gives the people whose lists changed, none when everything was so already.
func (b *book) change(owner, other string, name *string, groups *[]string, both bool) ([]string, error) {
	o, c, err := pair(owner, other)
	if err != nil {
		return nil, err
	}
	var newName string
	if name != nil {
		if newName, err = cleanName(*name); err != nil {
			return nil, err
		}
	}
	var newGroups []string
	if groups != nil {
		if newGroups, err = cleanGroups(*groups); err != nil {
			return nil, err
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	item, known := b.lists[owner][other]
	if !known {
		return nil, refuse(http.StatusNotFound, "%s does not have %s as a contact", o.first(), c.first())
	}
	if name != nil {
		item.Name = newName
	}
	if groups != nil {
		item.Groups = newGroups
	}
	var changed []string
	if !item.equal(b.lists[owner][other]) {
		b.lists[owner][other] = item
		changed = append(changed, owner)
	}
	back, known := b.lists[other][owner]
	if both && known && groups != nil && !slices.Equal(back.Groups, newGroups) {
		back.Groups = newGroups
		b.lists[other][owner] = back
		changed = append(changed, other)
	}
	return changed, nil
}

// reset goes back to the first lists and gives the people whose lists changed.
func (b *book) reset() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := firstLists()
	var changed []string
	for _, p := range people {
		if !maps.EqualFunc(b.lists[p.ID], first[p.ID], contact.equal) {
			changed = append(changed, p.ID)
		}
	}
	b.lists = first
	return changed
}

// pair finds two different people.
func pair(owner, other string) (o, c person, err error) {
	o, ok := findPerson(owner)
	if !ok {
		return o, c, refuse(http.StatusNotFound, "there is nobody called %q here", owner)
	}
	c, ok = findPerson(other)
	if !ok {
		return o, c, refuse(http.StatusNotFound, "there is nobody called %q here", other)
	}
	if o == c {
		return o, c, refuse(http.StatusBadRequest, "nobody is their own contact")
	}
	return o, c, nil
}

func cleanName(s string) (string, error) {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > maxName {
		return "", refuse(http.StatusBadRequest, "a name has at most %d characters", maxName)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", refuse(http.StatusBadRequest, "a name has no control characters")
	}
	return s, nil
}

func cleanGroups(groups []string) ([]string, error) {
	var clean []string
	for _, g := range groups {
		g = strings.TrimSpace(g)
		if utf8.RuneCountInString(g) > maxGroup {
			return nil, refuse(http.StatusBadRequest, "a group's name has at most %d characters", maxGroup)
		}
		if strings.ContainsFunc(g, unicode.IsControl) {
			return nil, refuse(http.StatusBadRequest, "a group's name has no control characters")
		}
		if g != "" && !slices.Contains(clean, g) {
			clean = append(clean, g)
		}
	}
	if len(clean) > maxGroups {
		return nil, refuse(http.StatusBadRequest, "a contact is in at most %d groups", maxGroups)
	}
	return clean, nil
}
