package rosterdoc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"rollcall/internal/jid"
)

// Limits of a document; the first two may be set in Options.
const (
	DefaultMaxBytes = 4 << 20
	DefaultMaxItems = 10_000
	MaxDepth        = 8    // objects and arrays within each other, the outermost counted
	MaxText         = 1023 // bytes of a name or a group
	MaxGroups       = 64   // different groups of one contact
)

// Options are what a document is read with. The zero Options are the defaults, for no user in particular.
type Options struct {
	Owner    jid.JID // whose roster it is: dropped from it, and the host of contacts given by localpart alone
	MaxItems int     // 0: DefaultMaxItems
	MaxBytes int     // 0: DefaultMaxBytes

	// Like is an older roster of the same user, or nil: what is the same in both is then shared, which is
	// also faster. It does not change the result.
	Like *Roster
}

// Dropped is what a document said and the roster does not.
type Dropped struct {
	Key     string // the contact as the document has it, or its place in a list; cut when long
	Reason  string // a clause for a log line: `has no valid address: …`
	Warning bool   // the contact was kept, with a change that Reason names
}

// ErrTooLarge is the reason of a refusal for size: bytes or contacts. Depth is none: it is bad form.
var ErrTooLarge = errors.New("too large")

// Decode reads a document in any of the contract's forms. They are told apart by shape: an object whose
// member "items" or "roster" is an array is a list, and its other members mean nothing; every other object
// maps addresses to items. So a contact whose address is the domain "items" or "roster" can be had in the
// main form, where its value is an object.
//
// A document that is not strict JSON, not an object or over a limit is refused whole: the error says why,
// and the roster is nil. A single contact that breaks a rule is left out and told in the second result,
// in the order of the document.
func Decode(b []byte, o Options) (*Roster, []Dropped, error) {
	if o.MaxItems == 0 {
		o.MaxItems = DefaultMaxItems
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if len(b) > o.MaxBytes {
		return nil, nil, fmt.Errorf("rosterdoc: the document has more than %d bytes: %w", o.MaxBytes, ErrTooLarge)
	}
	o.Owner = o.Owner.Bare()
	if r := quickly(b, &o); r != nil {
		return r, nil, nil
	}
	return decode(b, o)
}

// decode reads any document. The limits are set, and it is within MaxBytes.
func decode(b []byte, o Options) (*Roster, []Dropped, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	// One copy of the document, of which all its strings are pieces. The roster copies what it keeps.
	d.doc, d.opt = string(b), o
	d.json.Reset(bytes.NewBuffer(b)) // a bytes.Buffer is parsed where it is
	d.makeRoom()
	if err := d.document(); err != nil {
		return nil, nil, refusal(b, err)
	}
	return d.result()
}

// A decoder is one pass over one document.
type decoder struct {
	json jsontext.Decoder
	doc  string
	opt  Options

	found   []contact
	dropped []drop
	seen    int      // contacts so far, those that were dropped included
	list    string   // "items" or "roster" once the document is known to be a list
	groups  []string // of all contacts: each found one has a piece of it
	order   []int32  // of found, by address
}

// contact is an item and where it came from.
type contact struct {
	Item
	key string
	at  int
}

type drop struct {
	Dropped
	at int
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// keepCapacity is how many contacts' room a decoder keeps for its next document.
const keepCapacity = 1024

// makeRoom has room made once for about as many contacts as a large document has: as many as before, or by its length.
func (d *decoder) makeRoom() {
	const (
		shortest = 32 // bytes of a contact with a short address and nothing else
		few      = 128
	)
	n := d.opt.Like.Len() + few
	if d.opt.Like == nil {
		n = len(d.doc) / (2 * shortest)
	}
	if n = min(n, len(d.doc)/shortest, d.opt.MaxItems); n > few && n > cap(d.found) {
		d.found = make([]contact, 0, n)
		d.order = make([]int32, 0, n)
		d.groups = make([]string, 0, n)
	}
}

func (d *decoder) release() {
	// Nothing of the document may be held while the decoder waits for the next one.
	clear(d.found)
	clear(d.groups)
	d.doc, d.list, d.seen, d.opt = "", "", 0, Options{}
	d.found, d.groups, d.order, d.dropped = d.found[:0], d.groups[:0], d.order[:0], nil
	d.json.Reset(new(bytes.Buffer))
	if cap(d.found) <= keepCapacity && cap(d.groups) <= 4*keepCapacity {
		decoders.Put(d)
	}
}

// document reads the whole input: one object and nothing behind it.
func (d *decoder) document() error {
	switch kind := d.json.PeekKind(); kind {
	case '{':
	case 0: // a syntax error, which the next read tells
		_, err := d.json.ReadToken()
		return err
	default:
		// It may be bad JSON as well; that is then the better answer.
		if err := d.skip(); err != nil {
			return err
		}
		return fmt.Errorf("the document is %s, not an object of contacts", kindName(kind))
	}
	if err := d.members(d.topMember); err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); err != io.EOF {
		return errors.New("the document goes on after its end")
	}
	return nil
}

// topMember reads one member of the document itself.
func (d *decoder) topMember(key string) error {
	if isList := key == "items" || key == "roster"; isList && d.json.PeekKind() == '[' {
		if d.list != "" {
			return errors.New(`the document has both a list "items" and a list "roster"`)
		}
		// What came before was no contact, and what follows is none either.
		d.list, d.seen = key, 0
		clear(d.found)
		d.found, d.dropped = d.found[:0], nil
		return d.elements(d.listed)
	}
	if d.list != "" {
		return d.skip()
	}
	if err := d.count(); err != nil {
		return err
	}
	if kind := d.json.PeekKind(); kind != '{' {
		d.drop(key, "is "+kindName(kind)+", not an object")
		return d.skip()
	}
	return d.keyed(key)
}

// count takes one more contact.
func (d *decoder) count() error {
	if d.seen == d.opt.MaxItems {
		return fmt.Errorf("the document has more than %d contacts: %w", d.opt.MaxItems, ErrTooLarge)
	}
	d.seen++
	return nil
}

func (d *decoder) drop(key, reason string) {
	d.dropped = append(d.dropped, drop{Dropped{Key: cut(key), Reason: reason}, d.seen})
}

func (d *decoder) warn(key, reason string) {
	d.dropped = append(d.dropped, drop{Dropped{Key: cut(key), Reason: reason, Warning: true}, d.seen})
}

// result makes the roster of what was found. Contacts that repeat another's address are dropped here: it
// takes the sorting to see them.
func (d *decoder) result() (*Roster, []Dropped, error) {
	for i := range d.found {
		d.order = append(d.order, int32(i))
	}
	byAddress := func(a, b int32) int {
		// Of one address the first stands, so it has to come first.
		return cmp.Or(d.found[a].JID.Compare(d.found[b].JID), cmp.Compare(a, b))
	}
	if !slices.IsSortedFunc(d.order, byAddress) {
		slices.SortFunc(d.order, byAddress)
	}
	kept := d.order[:0]
	for _, i := range d.order {
		c := &d.found[i]
		if n := len(kept); n > 0 && d.found[kept[n-1]].JID == c.JID {
			d.dropped = append(d.dropped, drop{Dropped{Key: cut(c.key), Reason: "is there already as " + cut(c.JID.String())}, c.at})
			continue
		}
		kept = append(kept, i)
	}
	slices.SortStableFunc(d.dropped, func(a, b drop) int { return a.at - b.at })
	var dropped []Dropped
	for i := range d.dropped {
		dropped = append(dropped, d.dropped[i].Dropped)
	}
	return assemble(len(kept), func(i int) *Item { return &d.found[kept[i]].Item }, d.opt.Like), dropped, nil
}

// members calls f for each member of the object that comes next; f reads the value.
func (d *decoder) members(f func(name string) error) error {
	if err := d.open(); err != nil {
		return err
	}
	for d.json.PeekKind() != '}' {
		name, err := d.text()
		if err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// elements calls f for each element of the array that comes next; f reads it.
func (d *decoder) elements(f func(i int) error) error {
	if err := d.open(); err != nil {
		return err
	}
	for i := 0; d.json.PeekKind() != ']'; i++ {
		// A syntax error has no kind either: f's first read tells it.
		if err := f(i); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// open enters an object or array.
func (d *decoder) open() error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	if d.json.StackDepth() > MaxDepth {
		return fmt.Errorf("the document is nested deeper than %d", MaxDepth)
	}
	return nil
}

// skip reads a value that nobody wants; it has to be strict JSON all the same.
func (d *decoder) skip() error {
	switch d.json.PeekKind() {
	case '{':
		return d.members(func(string) error { return d.skip() })
	case '[':
		return d.elements(func(int) error { return d.skip() })
	}
	return d.json.SkipValue()
}

// text reads a string, where there can be nothing else: a member's name, or a value that was peeked at. It
// is a piece of the document unless it has escapes.
func (d *decoder) text() (string, error) {
	v, err := d.json.ReadValue()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(v, '\\') < 0 {
		end := int(d.json.InputOffset())
		return d.doc[end-len(v)+1 : end-1], nil
	}
	// Escapes that are no Unicode text (lone surrogates) were refused by ReadValue already.
	s, err := jsontext.AppendUnquote(nil, v)
	return string(s), err
}

// refusal is the error for a document that is refused whole.
func refusal(b []byte, err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case len(bytes.TrimLeft(b, " \t\r\n")) == 0:
		return errors.New("rosterdoc: the document is empty: an empty roster is {}")
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return errors.New("rosterdoc: the document begins with a byte order mark, which is not JSON (RFC 8259 section 8.1)")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("rosterdoc: the document is cut off after %d bytes", len(b))
	case errors.As(err, &syntax):
		return fmt.Errorf("rosterdoc: the document is not strict JSON: %s, at byte %d", cut(syntax.Err.Error()), syntax.ByteOffset)
	}
	return fmt.Errorf("rosterdoc: %w", err)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return "not JSON"
}
