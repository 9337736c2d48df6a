package demo

import (
	"net/http"
	"strings"
	"testing"
)

func TestFeedBeginsWithTheState(t *testing.T) {
	f := start(t)
	page := f.follow("")
	if st := page.state(); st.Mode != modeOn || len(st.People) != len(people) || st.Boot == "" {
		t.Errorf("%+v", st)
	}
	f.act("mode", `{"mode":"unavailable"}`)
	if st := page.state(); st.Mode != modeUnavailable {
		t.Errorf("%+v", st)
	}
	f.act("remove", `{"owner":"alice","contact":"bob"}`)
	if st := page.state(); len(st.People[0].Contacts) != 1 {
		t.Errorf("%+v", st)
	}
}

// A page that comes back gets what it missed, and all there is when the demo was started anew meanwhile.
func TestFeedGoesOn(t *testing.T) {
	f := start(t)
	f.list("alice")
	f.list("bob")
	first, id := f.follow("").line(func(Line) bool { return true })
	if first.Text != "GET /contacts/alice" || first.Status != 200 || first.Note != "2 contacts" || first.Number != 1 || first.Answer != f.list("alice") {
		t.Errorf("%+v", first)
	}
	if next, _ := f.follow(id).line(func(Line) bool { return true }); next.Text != "GET /contacts/bob" {
		t.Errorf("after %s came %+v", id, next)
	}
	for _, other := range []string{"another-1", strings.TrimSuffix(id, "1") + "x", strings.TrimSuffix(id, "1") + "-1", "1"} {
		if all, _ := f.follow(other).line(func(Line) bool { return true }); all.Number != 1 {
			t.Errorf("after %s came %+v", other, all)
		}
	}
}

func TestFeedForgets(t *testing.T) {
	f := newFeed()
	first := f.line(Line{Text: strings.Repeat("x", 10), Answer: strings.Repeat("é", maxPayload)})
	f.put(first)
	for range maxLines {
		f.put(f.line(Line{}))
	}
	lines, _, _ := f.after(0)
	if len(lines) != maxLines || lines[0].Number != 2 {
		t.Errorf("%d lines, the first is %d", len(lines), lines[0].Number)
	}
	f.put(first) // answered after it was forgotten
	if lines, _, _ := f.after(0); len(lines) != maxLines || lines[0].Number != 2 {
		t.Errorf("%d lines, the first is %d", len(lines), lines[0].Number)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdef", 5, "ab…"}, {"aéé", 5, "aéé"}, {"aééé", 5, "a…"}, {"", 3, ""},
	} {
		if got := cut(c.in, c.n); got != c.want {
			t.Errorf("cut(%q, %d) = %q", c.in, c.n, got)
		}
	}
}

func TestFeedIsBounded(t *testing.T) {
	f := start(t)
	pages := make([]*follower, maxReaders)
	for i := range pages {
		pages[i] = f.follow("")
		pages[i].state()
	}
	if one := f.follow(""); one.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one page too many: %s", one.resp.Status)
	}
	f.end() // and every feed ends with it
	for _, p := range pages {
		for ok := true; ok; {
			_, ok = p.next()
		}
		if err := p.in.Err(); err != nil {
			t.Errorf("a feed ended with %v", err)
		}
	}
}
