package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestValueLife(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		k := Key{"localhost", "john", "private", "urn:x"}
		if _, err := s.Value(ctx, k); !errors.Is(err, ErrNotFound) {
			t.Errorf("before: %v", err)
		}
		if err := s.RemoveValue(ctx, k); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed before: %v", err)
		}
		for _, value := range []string{"one", "", "\x00\xff two"} {
			if err := s.SetValue(ctx, k, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Value(ctx, k); string(got) != value || err != nil {
				t.Errorf("%q, %v; want %q", got, err, value)
			}
		}
		for _, other := range []Key{{"localhost", "marie", "private", "urn:x"}, {"other", "john", "private", "urn:x"},
			{"localhost", "john", "vcard", "urn:x"}, {"localhost", "john", "private", "URN:X"}} {
			if _, err := s.Value(ctx, other); !errors.Is(err, ErrNotFound) {
				t.Errorf("%v: %v", other, err)
			}
		}
		if err := s.RemoveValue(ctx, k); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Value(ctx, k); !errors.Is(err, ErrNotFound) {
			t.Errorf("after: %v", err)
		}
	})
}

func TestValuesAreListed(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var want []string
		for i := range 2*valuesPage + 1 {
			want = append(want, fmt.Sprintf("a%03d", i))
		}
		names := append(slices.Clone(want), "", "a", "A", "b", "ab", "é", "a\U0010ffff", "á")
		for _, name := range names {
			if err := s.SetValue(ctx, Key{"localhost", "john", "blocked", name}, []byte(name), 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range []Key{{"localhost", "marie", "blocked", "a1"}, {"localhost", "john", "other", "a1"}} {
			if err := s.SetValue(ctx, k, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, prefix := range []string{"", "a", "a0", "A", "z", "é"} {
			var got []string
			for v, err := range s.Values(ctx, "localhost", "john", "blocked", prefix) {
				if err != nil || string(v.Value) != v.Name {
					t.Fatalf("%+v %v", v, err)
				}
				got = append(got, v.Name)
			}
			var want []string
			for _, name := range slices.Sorted(slices.Values(names)) {
				if strings.HasPrefix(name, prefix) {
					want = append(want, name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q: %q, want %q", prefix, got, want)
			}
		}
	})
}

func TestValuesHaveALimit(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		key := func(name string) Key { return Key{"localhost", "john", "private", name} }
		set := func(name string, limit int) error { return s.SetValue(ctx, key(name), []byte("x"), limit) }
		update := func(name string, limit int) error {
			return s.UpdateValue(ctx, key(name), limit, func([]byte) ([]byte, error) { return []byte("y"), nil })
		}
		for _, name := range []string{"a", "b"} {
			if err := set(name, 2); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(set("a", 2), update("b", 2), set("a", 1)); err != nil {
			t.Errorf("what is there may be written: %v", err)
		}
		for what, err := range map[string]error{"SetValue": set("c", 2), "UpdateValue": update("c", 2)} {
			if !errors.Is(err, ErrLimit) {
				t.Errorf("%s: %v, want ErrLimit", what, err)
			}
		}
		if err := errors.Join(set("c", 3), update("d", 0), s.RemoveValue(ctx, key("a")), update("e", 4)); err != nil {
			t.Error(err)
		}
	})
}

// Many change one value at the same time, and no change is lost.
func TestUpdateValueIsAtomic(t *testing.T) {
	const workers, each = 8, 10
	everyKind(t, func(t *testing.T, s *Store) {
		k := Key{"localhost", "john", "count", ""}
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range each {
					err := s.UpdateValue(t.Context(), k, 1, func(old []byte) ([]byte, error) {
						n := 0
						if old != nil {
							n, _ = strconv.Atoi(string(old))
						}
						return strconv.AppendInt(nil, int64(n+1), 10), nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got, err := s.Value(t.Context(), k); string(got) != strconv.Itoa(workers*each) || err != nil {
			t.Errorf("%s %v", got, err)
		}
		failed := errors.New("no")
		if err := s.UpdateValue(t.Context(), k, 0, func([]byte) ([]byte, error) { return nil, failed }); !errors.Is(err, failed) {
			t.Errorf("the error of change: %v", err)
		}
		if err := s.UpdateValue(t.Context(), k, 0, func([]byte) ([]byte, error) { return nil, nil }); err != nil {
			t.Error(err)
		}
		if _, err := s.Value(t.Context(), k); !errors.Is(err, ErrNotFound) {
			t.Errorf("nil removes: %v", err)
		}
	})
}

// What personal eventing does: one value has the names of all nodes, which are added by many at a time, and each node a value of its own,
// as large as values may be, by a name with anything in it.
func TestNodes(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		key := func(name string) Key { return Key{"localhost", "john", "pep", name} }
		names := []string{"urn:xmpp:avatar:data", "a%b_c'd\"e\\f", "N\u00e4he", "n", strings.Repeat("\U0001F34E", (MaxName-1)/4)}
		var wg sync.WaitGroup
		for i, name := range names {
			wg.Go(func() {
				value := bytes.Repeat([]byte{0, byte(i), 0xff, '\\'}, 200<<10)
				err := s.UpdateValue(ctx, key("list"), 0, func(old []byte) ([]byte, error) { return append(old, name+"\n"...), nil })
				if err := errors.Join(err, s.SetValue(ctx, key("n"+name), []byte("old"), 0), s.SetValue(ctx, key("n"+name), value, 0)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		list, err := s.Value(ctx, key("list"))
		if got := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n"); err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(names))) {
			t.Errorf("the names are %q, %v", got, err)
		}
		var listed []string
		for v, err := range s.Values(ctx, "localhost", "john", "pep", "n") {
			if err != nil {
				t.Fatal(err)
			}
			i := slices.Index(names, v.Name[1:])
			if i < 0 || !bytes.Equal(v.Value, bytes.Repeat([]byte{0, byte(i), 0xff, '\\'}, 200<<10)) {
				t.Errorf("%q has %d bytes", v.Name, len(v.Value))
			}
			listed = append(listed, v.Name[1:])
		}
		if !slices.Equal(listed, slices.Sorted(slices.Values(names))) {
			t.Errorf("listed are %q", listed)
		}
		for _, name := range names { // a node goes, and then its name
			err := s.UpdateValue(ctx, key("list"), 0, func(old []byte) ([]byte, error) { return bytes.ReplaceAll(old, []byte(name+"\n"), nil), nil })
			if err := errors.Join(s.RemoveValue(ctx, key("n"+name)), err); err != nil {
				t.Error(err)
			}
		}
		for v := range s.Values(ctx, "localhost", "john", "pep", "") {
			if v.Name != "list" || len(v.Value) != 0 {
				t.Errorf("%q is left, with %d bytes", v.Name, len(v.Value))
			}
		}
	})
}

// The database knows how large it is.
func TestSize(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		before, err := s.Size(t.Context())
		if err != nil || before <= 0 {
			t.Fatal(before, err)
		}
		incompressible := make([]byte, MaxValue)
		rand.NewChaCha8([32]byte{}).Read(incompressible)
		if err := s.SetValue(t.Context(), Key{"h", "u", "x", ""}, incompressible, 0); err != nil {
			t.Fatal(err)
		}
		if after, err := s.Size(t.Context()); err != nil || after < before+MaxValue {
			t.Errorf("%d bytes, and %d with a value of %d, %v", before, after, MaxValue, err)
		}
	})
}

// The largest of everything fits, in the indexes too, and what is larger is refused before it reaches a database.
func TestBounds(t *testing.T) {
	random := func(n int) string { // that no compression makes small
		var b strings.Builder
		for x := uint32(1); b.Len() < n; {
			x = x*1664525 + 1013904223
			b.WriteByte('a' + byte(x>>24)%26)
		}
		return b.String()
	}
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		long := random(maxPart)
		k := Key{long, long, random(MaxSpace), random(MaxName)}
		if err := s.SetValue(ctx, k, bytes.Repeat([]byte{0}, MaxValue), 5); err != nil {
			t.Error(err)
		}
		e := Entry{Host: long, Username: long, With: random(maxJID), Resource: long, StanzaID: random(MaxStanzaID),
			Stanza: bytes.Repeat([]byte("x"), 1<<20), Archived: true, Undelivered: true}
		ids, err := appendWait(s, e)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := s.Messages(ctx, long, long, Query{With: e.With, IDs: ids}); err != nil || len(p.Messages) != 1 {
			t.Errorf("%d messages, %v", len(p.Messages), err)
		}

		for what, change := range map[string]func(k *Key, e *Entry){
			"long":      func(k *Key, e *Entry) { k.Name, e.With = k.Name+"x", e.With+"x" },
			"NUL":       func(k *Key, e *Entry) { k.Name, e.StanzaID = "a\x00", "a\x00" },
			"not UTF-8": func(k *Key, e *Entry) { k.Space, e.Resource = "\xff", "\xff" },
			"user":      func(k *Key, e *Entry) { k.Username, e.Username = long+"x", long+"x" },
		} {
			k, e := k, e
			change(&k, &e)
			if err := s.SetValue(ctx, k, nil, 0); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: SetValue: %.200v, want ErrInvalid", what, err)
			}
			if _, err := appendWait(s, e); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: Append: %.200v, want ErrInvalid", what, err)
			}
		}
		if err := s.SetValue(ctx, k, make([]byte, MaxValue+1), 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("a large value: %.200v", err)
		}
		for what, entries := range map[string][]Entry{
			"none":       {},
			"many":       make([]Entry, maxEntries+1),
			"nowhere":    {{Host: "h", Username: "u"}},
			"huge":       {{Host: "h", Username: "u", Archived: true, Stanza: make([]byte, defaultQueueBytes/2)}},
			"two limits": {{Host: "h", Username: "u", Undelivered: true, Limit: 1}, {Host: "h", Username: "v", Undelivered: true, Limit: 1}},
		} {
			if _, err := appendWait(s, entries...); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %.200v, want ErrInvalid", what, err)
			}
		}
	})
}
