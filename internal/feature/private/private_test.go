package private

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

func piece(i int, text string) *xmlstream.Element {
	return xmlstream.New(fmt.Sprintf("urn:%d", i), "p").AppendText(text)
}

// However many requests it takes, a user does not come to have more than is allowed, and what is refused changes nothing.
func TestBounds(t *testing.T) {
	var value []byte
	put := func(all ...*xmlstream.Element) error {
		fresh, err := merge(value, all)
		if err == nil {
			value = fresh
		}
		return err
	}
	refused := func(err error) bool {
		var serr *stanza.Error
		return errors.As(err, &serr) && serr.Condition == stanza.PolicyViolation
	}
	for i := range maxPieces {
		if err := put(piece(i, "x")); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := put(piece(maxPieces, "x")); !refused(err) {
		t.Errorf("one more is taken: %v", err)
	}
	if err := put(piece(0, ""), piece(maxPieces, "x")); err != nil {
		t.Errorf("one in place of another: %v", err)
	}
	if err := put(piece(1, strings.Repeat("x", maxBytes))); !refused(err) {
		t.Errorf("a large one is taken: %v", err)
	}
	for i := 1; i < maxPieces; i++ { // each a tenth of what may be
		if err := put(piece(i, strings.Repeat("&", maxBytes/50))); refused(err) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(value) > maxBytes || len(value) < maxBytes*8/10 {
		t.Errorf("%d bytes are stored", len(value))
	}
	stored, err := parse(value)
	if err != nil || !stored.Is(ns.Private, "query") {
		t.Fatalf("what is stored cannot be read: %v", err)
	}
	for i := range maxPieces + 1 {
		if err := put(piece(i, "")); err != nil {
			t.Fatal(err)
		}
	}
	if value != nil {
		t.Errorf("%d bytes are left of nothing", len(value))
	}
}

// What a client can send is read again, whatever its namespaces make of it.
func TestWhatIsStoredCanBeRead(t *testing.T) {
	doc := "<query xmlns='jabber:iq:private'><p xmlns='urn:p'"
	for i := range 30 {
		doc += fmt.Sprintf(" xmlns:n%d='urn:n%d'", i, i)
	}
	for i := range 30 {
		doc += fmt.Sprintf(" n%d:a='1'", i)
	}
	doc += ">" + strings.Repeat("<n1:b n2:c='2'/>", 2000) + strings.Repeat("<d>", 60) + strings.Repeat("</d>", 60) + "</p></query>"
	el, err := xmlstream.ParseElement([]byte(doc), xmlstream.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	value, err := merge(nil, []*xmlstream.Element{el.First()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(value)
	if err != nil {
		t.Fatal(err)
	}
	if got.First().String() != el.First().String() {
		t.Error("it is something else")
	}
}
