package rosterapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
)

// A Roster is the document of the contract's section 1: a user's contacts, by their addresses.
//
//	rosterapi.Roster{
//		"marie@example.com": {Name: "Marie", Groups: []string{"Friends", "Work"}},
//		"news.example.com":  {Subscription: rosterapi.To},
//	}
//
// It is written as JSON in the contract's main form, always the same for the same contacts: addresses and groups are
// sorted. A nil Roster is an empty one, {}. Unmarshalling reads that form as package encoding/json does; [Decode] reads
// all forms, and as strictly as rollcall.
type Roster map[string]Item

// An Item is what a user has of a contact. The zero Item is a contact without a name whose presence is shown and who
// is shown the user's.
type Item struct {
	Name         string       `json:"name,omitempty"`         // "": none; at most 1,023 bytes
	Groups       []string     `json:"groups,omitempty"`       // at most 64, of at most 1,023 bytes each
	Subscription Subscription `json:"subscription,omitempty"` // "" means Both
	Ask          Ask          `json:"ask,omitempty"`          // the contact has been asked for its presence and has not answered
}

// A Subscription says who sees whose presence (RFC 6121 section 2.1.2.5).
type Subscription string

// The subscriptions. The empty one means Both.
const (
	Both Subscription = "both" // each sees the other's presence
	To   Subscription = "to"   // the user sees the contact's
	From Subscription = "from" // the contact sees the user's
	None Subscription = "none" // neither
)

// Ask is the member "ask" of an item, which is "subscribe" or absent (RFC 6121 section 2.1.2.2).
type Ask bool

// MarshalJSON writes "subscribe" or null.
func (a Ask) MarshalJSON() ([]byte, error) {
	if a {
		return []byte(`"subscribe"`), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON takes "subscribe" and null.
func (a *Ask) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"subscribe"`:
		*a = true
	case "null":
		*a = false
	default:
		return fmt.Errorf(`rosterapi: "ask" is %.40s: the only value is "subscribe"`, b)
	}
	return nil
}

// MarshalJSON writes the contract's main form.
func (r Roster) MarshalJSON() ([]byte, error) {
	type plain Roster // without this method
	sorted := make(plain, len(r))
	for address, item := range r {
		if !slices.IsSorted(item.Groups) {
			item.Groups = slices.Sorted(slices.Values(item.Groups))
		}
		sorted[address] = item
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(sorted); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// A Dropped is what a document said and rollcall does not take.
type Dropped struct {
	Key     string `json:"key"`               // the contact as the document has it, or its place in a list; cut when long
	Reason  string `json:"reason"`            // a clause: "has no valid address: …"
	Warning bool   `json:"warning,omitempty"` // the contact was kept, with a change that Reason names
}

// Decode reads a document as rollcall does: in any of the contract's forms, with all its rules and limits. The user,
// "john@example.com", is whose roster it is; "" leaves out what depends on it.
//
// A document that rollcall refuses whole is an error, which says why. Contacts that it would leave out, or take with a
// change, are in the second result. A test of an application may look at both; package conformance does so.
func Decode(document []byte, user string) (Roster, []Dropped, error) {
	var o rosterdoc.Options
	if user != "" {
		owner, err := jid.Parse(user)
		if err != nil {
			return nil, nil, fmt.Errorf("rosterapi: the user: %w", err)
		}
		o.Owner = owner
	}
	doc, left, err := rosterdoc.Decode(document, o)
	if err != nil {
		return nil, nil, err
	}
	roster := make(Roster, doc.Len())
	for item := range doc.All() {
		roster[item.JID.String()] = Item{
			Name: item.Name, Groups: slices.Clone(item.Groups),
			Subscription: Subscription(item.Subscription.String()), Ask: Ask(item.Ask),
		}
	}
	var dropped []Dropped
	for _, d := range left {
		dropped = append(dropped, Dropped{Key: d.Key, Reason: d.Reason, Warning: d.Warning})
	}
	return roster, dropped, nil
}

// A Patch changes some contacts of a roster and leaves the others alone: a JSON merge patch (RFC 7396). A contact whose
// value is nil is removed; one that the roster does not have is added.
//
//	rosterapi.Patch{
//		"marie@example.com":   {Name: new("Marie Curie")},
//		"michael@example.com": nil,
//	}
type Patch map[string]*ItemPatch

// An ItemPatch says what is new about a contact. What is nil or empty stays as it is.
type ItemPatch struct {
	Name         *string      `json:"name,omitempty"`         // a pointer to "" takes the name away
	Groups       []string     `json:"groups,omitzero"`        // all of them; empty and not nil takes them away
	Subscription Subscription `json:"subscription,omitempty"` // Both and not "" goes back to it
	Ask          *Ask         `json:"ask,omitempty"`
}
