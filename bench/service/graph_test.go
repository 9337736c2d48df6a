package service

import (
	"encoding/json"
	"testing"
)

func TestGraphIsMutual(t *testing.T) {
	for _, size := range [][2]int{{2, 0}, {4, 2}, {10, 4}, {10, 8}, {100, 98}} {
		g, err := NewGraph(size[0], size[1], "h")
		if err != nil {
			t.Fatal(err)
		}
		for i := range g.Users {
			met := make(map[int]bool)
			for k := range g.Contacts {
				other := g.Contact(i, k)
				if met[other] || other == i {
					t.Fatalf("%v: contact %d of %d is %d, again or itself", size, k, i, other)
				}
				met[other] = true
				if got, ok := g.Place(i, other); got != k || !ok {
					t.Fatalf("%v: Place(%d, %d) = %d, %v, want %d", size, i, other, got, ok, k)
				}
				if _, ok := g.Place(other, i); !ok {
					t.Fatalf("%v: %d knows %d, but not the other way", size, i, other)
				}
			}
			for other := range g.Users {
				if _, ok := g.Place(i, other); ok != met[other] {
					t.Fatalf("%v: Place(%d, %d) says %v", size, i, other, ok)
				}
			}
		}
	}
}

func TestGraphRefusals(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {3, 2}, {4, 4}, {4, 1}, {4, -2}} {
		if _, err := NewGraph(size[0], size[1], "h"); err == nil {
			t.Errorf("%v: no error", size)
		}
	}
}

func TestIndex(t *testing.T) {
	for address, want := range map[string]int{"u0@h": 0, "u12@localhost/r": 12} {
		if got, ok := Index([]byte(address)); !ok || got != want {
			t.Errorf("%s: got %d, %v", address, got, ok)
		}
	}
	for _, address := range []string{"", "u", "u@h", "u1", "x1@h", "u1a@h", "u99999999999999999999@h"} {
		if got, ok := Index([]byte(address)); ok {
			t.Errorf("%q: got %d, want none", address, got)
		}
	}
}

func TestRosterDocument(t *testing.T) {
	for _, contacts := range []int{0, 4} {
		g, err := NewGraph(10, contacts, "h")
		if err != nil {
			t.Fatal(err)
		}
		for _, extra := range []bool{true, false} {
			g.SetExtra(3, extra)
			var got map[string]struct {
				Name   string
				Groups map[string]bool
			}
			if err := json.Unmarshal(g.AppendRoster(nil, 3), &got); err != nil {
				t.Fatal(err)
			}
			if _, has := got[g.Extra(3)]; has != extra {
				t.Errorf("%d contacts: the friend more: %v, want %v", contacts, has, extra)
			}
			delete(got, g.Extra(3))
			if len(got) != contacts {
				t.Errorf("%d contacts, want %d", len(got), contacts)
			}
			for k := range contacts {
				if item := got[g.JID(g.Contact(3, k))]; item.Name == "" || !item.Groups["Friends"] {
					t.Errorf("contact %d: %+v", k, item)
				}
			}
		}
	}
}
