package host

import (
	"testing"

	"rollcall/internal/store"
)

func TestUIDs(t *testing.T) {
	mine, err := NewUIDs(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewUIDs([]byte("0123456789abcdef"))
	seen := map[string]bool{}
	for _, id := range []store.ID{1, 2, 1 << 40, 1<<40 + 1, 1<<63 - 1} {
		text := mine.Of(id)
		if got, ok := mine.Parse(text); got != id || !ok || len(text) != 22 || seen[text] {
			t.Errorf("%d is %q, which is %d, %v", id, text, got, ok)
		}
		if got, ok := other.Parse(text); ok {
			t.Errorf("with another key %q is %d", text, got)
		}
		seen[text] = true
	}
	for _, text := range []string{"", "1", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", mine.Of(7) + "A", mine.Of(7)[1:], mine.Of(0), mine.Of(-1)} {
		if got, ok := mine.Parse(text); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
	if _, err := NewUIDs(make([]byte, 15)); err == nil {
		t.Error("15 bytes are a key")
	}
}
