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

func TestResize(t *testing.T) {
	g, err := NewGraph(10, 4, "h")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][2]int{{1, 0}, {3, 0}, {12, 0}, {-2, 0}, {0, -1}} {
		if err := g.Resize(wrong[0], wrong[1]); err == nil {
			t.Errorf("%v: no error", wrong)
		}
	}
	if err := g.Resize(0, 0); err != nil || g.Online != 10 || g.Deliveries() != 40 {
		t.Errorf("%v: %d online, %d deliveries", err, g.Online, g.Deliveries())
	}
	if err := g.Resize(4, 7); err != nil || g.RosterSize() != 11 {
		t.Errorf("%v: %d contacts", err, g.RosterSize())
	}
	// u0 knows u1, u2 and, offline, u8, u9; u1 knows u0, u2, u3 and u9.
	if g.OnlineContacts(0) != 2 || g.OnlineContacts(1) != 3 || g.Deliveries() != 10 {
		t.Errorf("%d and %d contacts online, %d deliveries", g.OnlineContacts(0), g.OnlineContacts(1), g.Deliveries())
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
	for _, size := range [][2]int{{0, 0}, {4, 0}, {0, 3}, {4, 3}} {
		contacts := size[0]
		g, err := NewGraph(10, contacts, "h")
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Resize(0, size[1]); err != nil {
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
			if len(got) != g.RosterSize() {
				t.Errorf("%d contacts, want %d", len(got), g.RosterSize())
			}
			for k := range g.Offline {
				if item := got[g.OfflineContact(3, k)]; item.Name == "" || !item.Groups["Others"] {
					t.Errorf("contact %d of those offline: %+v", k, item)
				}
			}
			for k := range contacts {
				if item := got[g.JID(g.Contact(3, k))]; item.Name == "" || !item.Groups["Friends"] {
					t.Errorf("contact %d: %+v", k, item)
				}
			}
		}
	}
}
