package rosterdoc

import (
	"errors"
	"io"
	"slices"
)

// AppendItem appends one contact as a document that has nothing else. DecodeItem gives it back.
func AppendItem(dst []byte, i Item) []byte {
	dst = append(appendString(append(dst, '{'), i.JID.String()), ':')
	return append(i.appendJSON(dst), '}')
}

// DecodeItem reads what AppendItem has written.
func DecodeItem(b []byte) (Item, error) {
	r, dropped, err := Decode(b, Options{})
	switch {
	case err != nil:
		return Item{}, err
	case r.Len() != 1 || len(dropped) != 0:
		return Item{}, errors.New("rosterdoc: not one contact")
	}
	return r.item(0), nil
}

func sortItems(items []Item) {
	slices.SortFunc(items, func(a, b Item) int { return a.JID.Compare(b.JID) })
}

// end makes sure that nothing follows.
func (d *decoder) end() error {
	if _, err := d.json.ReadToken(); err != io.EOF {
		return errors.New("the document goes on after its end")
	}
	return nil
}

// Size is about how many bytes of memory a roster takes, without the addresses and names that are shared.
func (r *Roster) Size() int {
	if r == nil {
		return 0
	}
	n := 64 + len(r.entries)*24 + len(r.names)*8
	for _, s := range r.sets {
		n += 24 + 16*len(s)
	}
	return n
}
