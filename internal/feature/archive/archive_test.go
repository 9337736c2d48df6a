package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/store/storetest"
	"rollcall/internal/xmlstream"
)

func parse(t testing.TB, xml string) *xmlstream.Element {
	t.Helper()
	el, err := xmlstream.ParseElement([]byte(xml), xmlstream.Limits{Bytes: 1 << 20, Children: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return el
}

func newArchive(t testing.TB, o store.Options) (*Archives, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	uids, err := host.NewUIDs(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Host: "localhost", Archive: s, Prefs: s, UIDs: uids, Tuning: Tuning{Default: Always}, OutboxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)}), s
}

// everyStore runs a test on both databases.
func everyStore(t *testing.T, test func(t *testing.T, a *Archives, s *store.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		a, s := newArchive(t, store.Options{})
		test(t, a, s)
	})
	t.Run("postgresql", func(t *testing.T) {
		a, s := newArchive(t, store.Options{URL: storetest.URL(t)})
		test(t, a, s)
	})
}

// fill adds messages to a user's archive; what they say is their number, from a first one on.
func fill(t interface{ Fatal(...any) }, s *store.Store, user string, first, n int) {
	told := make(chan error, n)
	for i := range n {
		with := "marie@localhost"
		if (first+i)%3 == 0 {
			with = "eve@localhost"
		}
		s.Append([]store.Entry{{Host: "localhost", Username: user, With: with, Archived: true, Stanza: []byte(strconv.Itoa(first + i))}},
			func(_ []store.ID, err error) { told <- err })
	}
	for range n {
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
}

// page asks for a page as a client does, and gives the numbers of its messages, and its ends.
func (a *Archives) page(ctx context.Context, user string, query *xmlstream.Element) (numbers []int, first, last string, complete bool, err error) {
	q, err := parseQuery(query)
	if err != nil {
		return nil, "", "", false, err
	}
	me, _ := jid.New(user, "localhost", "phone")
	got, fin, err := a.read(ctx, &request{query: q, iq: &host.IQ{Passage: &host.Passage{Stanza: &stanza.Stanza{From: me}}}})
	if err != nil {
		return nil, "", "", false, err
	}
	for _, m := range got {
		n, _ := strconv.Atoi(string(m.Stanza))
		numbers = append(numbers, n)
	}
	set := fin.Child(ns.RSM, "set")
	if el := set.Child(ns.RSM, "first"); el != nil {
		first, last = el.Text(), set.Child(ns.RSM, "last").Text()
	}
	return numbers, first, last, fin.Attr("complete") == "true", nil
}

// Whoever pages through an archive sees each message once, in order, forwards and backwards, in pages of any size, by RSM or by the
// fields of the form, while messages are added at its end and go from its beginning. A page that begins after one that has gone is
// not to be had, and who then begins anew misses nothing that is there.
func TestPaging(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Archives, s *store.Store) {
		users := 0
		rapid.Check(t, func(r *rapid.T) {
			users++
			w := &walk{Context: t.Context(), a: a, s: s, user: "user" + strconv.Itoa(users)}
			w.add(r, rapid.IntRange(0, 30).Draw(r, "messages"))
			if rapid.Bool().Draw(r, "one of them only") {
				w.with = "marie@localhost"
			}
			if rapid.Bool().Draw(r, "backwards") {
				w.backwards(r)
			} else {
				w.forwards(r)
			}
		})
	})
}

type walk struct {
	context.Context
	a          *Archives
	s          *store.Store
	user, with string
	there      []int // the numbers of those in the archive
	last       int
}

func (w *walk) add(r *rapid.T, n int) {
	fill(r, w.s, w.user, w.last, n)
	for range n {
		w.there = append(w.there, w.last)
		w.last++
	}
}

// wanted are those in the archive that the query means.
func (w *walk) wanted() (all []int) {
	for _, n := range w.there {
		if w.with == "" || n%3 != 0 {
			all = append(all, n)
		}
	}
	return all
}

// happen has something happen between two pages.
func (w *walk) happen(r *rapid.T) {
	switch rapid.IntRange(0, 3).Draw(r, "between") {
	case 0:
		w.add(r, rapid.IntRange(1, 3).Draw(r, "added"))
	case 1:
		keep := rapid.IntRange(0, len(w.there)).Draw(r, "kept")
		if _, err := w.s.TrimMessages(w, "localhost", w.user, time.Time{}, keep); err != nil {
			r.Fatal(err)
		}
		w.there = w.there[len(w.there)-keep:]
	}
}

func (w *walk) query(r *rapid.T, rsm, field, uid string) *xmlstream.Element {
	var b strings.Builder
	b.WriteString("<query xmlns='urn:xmpp:mam:2'>")
	form := ""
	if w.with != "" {
		form += "<field var='with'><value>" + w.with + "</value></field>"
	}
	set := "<max>" + strconv.Itoa(rapid.IntRange(1, 12).Draw(r, "max")) + "</max>"
	switch {
	case uid == "":
		set += rsm
	case field != "" && rapid.Bool().Draw(r, "by the form"):
		form += "<field var='" + field + "'><value>" + uid + "</value></field>" + ""
		if field == "before-id" {
			set += rsm
		}
	default:
		name := strings.TrimSuffix(field, "-id")
		set += "<" + name + ">" + uid + "</" + name + ">"
	}
	if form != "" {
		b.WriteString("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>" + form + "</x>")
	}
	b.WriteString("<set xmlns='http://jabber.org/protocol/rsm'>" + set + "</set></query>")
	el, err := xmlstream.ParseElement([]byte(b.String()), xmlstream.Limits{})
	if err != nil {
		r.Fatal(err)
	}
	return el
}

func (w *walk) forwards(r *rapid.T) {
	seen, uid := -1, ""
	for {
		numbers, _, last, complete, err := w.a.page(w, w.user, w.query(r, "", "after-id", uid))
		if errors.Is(err, errNoID) && uid != "" && !slices.Contains(w.there, seen) {
			uid = "" // anew
			continue
		}
		if err != nil {
			r.Fatal(err)
		}
		after := seen
		if uid == "" {
			after = -1
		}
		want := slices.DeleteFunc(w.wanted(), func(n int) bool { return n <= after })
		check(r, numbers, want[:min(len(want), len(numbers))], len(numbers) == len(want), complete)
		if n := len(numbers); n > 0 {
			seen, uid = numbers[n-1], last
		}
		if complete {
			return
		}
		w.happen(r)
	}
}

func (w *walk) backwards(r *rapid.T) {
	seen, uid := w.last, ""
	for {
		numbers, first, _, complete, err := w.a.page(w, w.user, w.query(r, "<before/>", "before-id", uid))
		if errors.Is(err, errNoID) && uid != "" && !slices.Contains(w.there, seen) {
			return // all that was before it has gone too
		}
		if err != nil {
			r.Fatal(err)
		}
		want := slices.DeleteFunc(w.wanted(), func(n int) bool { return n >= seen })
		check(r, numbers, want[len(want)-min(len(want), len(numbers)):], len(numbers) == len(want), complete)
		if n := len(numbers); n > 0 {
			seen, uid = numbers[0], first
		}
		if complete {
			return
		}
		w.happen(r)
	}
}

func check(r *rapid.T, got, want []int, all, complete bool) {
	if !slices.Equal(got, want) {
		r.Fatalf("%v instead of %v", got, want)
	}
	if complete != all {
		r.Fatalf("%d messages, complete: %v", len(got), complete)
	}
}

// A page is bounded in messages and in bytes, and has one message at least.
func TestPageIsBounded(t *testing.T) {
	a, s := newArchive(t, store.Options{})
	a.opts.OutboxBytes = 40_000
	fill(t, s, "many", 0, 2*pageMost)
	numbers, _, _, complete, err := a.page(t.Context(), "many", parse(t, `<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>100000</max></set></query>`))
	if err != nil || complete || len(numbers) > pageMost {
		t.Errorf("%d messages, %v, %v", len(numbers), complete, err)
	}
	for i := range 4 {
		told := make(chan error)
		s.Append([]store.Entry{{Host: "localhost", Username: "large", Archived: true, Stanza: fmt.Appendf(nil, "%0*d", 9_000+i*20_000, i)}},
			func(_ []store.ID, err error) { told <- err })
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
	for _, backwards := range []string{"", "<before/>"} {
		numbers, _, _, complete, err = a.page(t.Context(), "large", parse(t, `<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>`+backwards+`</set></query>`))
		if err != nil || complete || len(numbers) != 1 {
			t.Errorf("%v: %v, %v, %v", backwards, numbers, complete, err)
		}
	}
}

// BenchmarkPage reads pages from archives of several sizes: the last 50 messages, the 50 after one in the middle, and those
// exchanged with somebody.
func BenchmarkPage(b *testing.B) {
	a, s := newArchive(b, store.Options{})
	for _, n := range []int{1_000, 100_000} {
		user := "of" + strconv.Itoa(n)
		for i := 0; i < n; i += 1_000 {
			fill(b, s, user, i, 1_000)
		}
		_, _, middle, _, err := a.page(b.Context(), user, parse(b, "<query xmlns='urn:xmpp:mam:2'/>"))
		if err != nil {
			b.Fatal(err)
		}
		for name, query := range map[string]string{
			"last":   `<set xmlns='http://jabber.org/protocol/rsm'><max>50</max><before/></set>`,
			"middle": `<set xmlns='http://jabber.org/protocol/rsm'><max>50</max><after>` + middle + `</after></set>`,
			"with": `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='with'><value>eve@localhost</value></field></x>` +
				`<set xmlns='http://jabber.org/protocol/rsm'><max>50</max><before/></set>`,
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				el := parse(b, "<query xmlns='urn:xmpp:mam:2'>"+query+"</query>")
				for b.Loop() {
					if numbers, _, _, _, err := a.page(b.Context(), user, el); err != nil || len(numbers) != 50 {
						b.Fatal(len(numbers), err)
					}
				}
			})
		}
	}
}

// FuzzQuery: whatever a client asks, it gets an answer or an error that says what is wrong with it.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		`<query xmlns='urn:xmpp:mam:2' queryid='1'/>`,
		`<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='with'><value>a@b/c</value></field><field var='start'><value>2026-01-01T00:00:00Z</value></field></x><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set><flip-page/></query>`,
		`<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='ids'><value>1</value><value>AAAAAAAAAAAAAAAAAAAAAA</value></field></x></query>`,
	} {
		f.Add([]byte(seed))
	}
	uids, err := host.NewUIDs(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		el, err := xmlstream.ParseElement(data, xmlstream.Limits{})
		if err != nil {
			return
		}
		q, err := parseQuery(el)
		var of store.Query
		if err == nil {
			of, _, err = q.stored(uids)
		}
		if err != nil {
			if serr := (*stanza.Error)(nil); !errors.As(err, &serr) {
				t.Fatalf("%s: %v", data, err)
			}
			return
		}
		if of.Limit < 0 || of.Limit > pageMost || len(of.IDs) > maxIDs || of.Limit == 0 != q.count {
			t.Fatalf("%s: %+v", data, of)
		}
	})
}

// What is kept follows what was tuned last, and is counted as archives are gone through.
func TestTune(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Archives, s *store.Store) {
		fill(t, s, "john", 0, 5)
		fill(t, s, "marie", 0, 2)
		for _, want := range []struct{ most, messages, users int }{{0, 7, 2}, {3, 5, 2}, {1, 2, 2}} {
			a.Tune(Tuning{Default: Always, MaxMessages: want.most})
			if err := a.trim(t.Context()); err != nil {
				t.Fatal(err)
			}
			if messages, users := a.Kept(); messages != want.messages || users != want.users {
				t.Errorf("of %d at most %d messages of %d users are kept, want %d of %d", want.most, messages, users, want.messages, want.users)
			}
		}
	})
}

// A clock that is set forward for a while takes nothing away; one that stays so is believed, as is one that is set back.
func TestClockIsSet(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		ahead []time.Duration // at each time that the archives are gone through, an hour after the one before
		kept  []int
	}{
		"for an hour": {[]time.Duration{0, year, 0, 0}, []int{3, 3, 3, 3}},
		"for long":    {[]time.Duration{0, year, year}, []int{3, 3, 0}},
		"back":        {[]time.Duration{0, -year, -year}, []int{3, 3, 3}},
		"a little":    {[]time.Duration{0, time.Minute, 2 * time.Minute}, []int{3, 3, 3}},
		"not":         {[]time.Duration{0, 0, 0}, []int{3, 3, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			a, s := newArchive(t, store.Options{})
			a.Tune(Tuning{Default: Always, MaxAge: 24 * time.Hour})
			fill(t, s, "john", 0, 3)
			for i, ahead := range c.ahead {
				ran := time.Duration(i) * time.Hour
				a.clock = func() (time.Time, time.Duration) { return a.begun.Add(ran + ahead), ran }
				if err := a.trim(t.Context()); err != nil {
					t.Fatal(err)
				}
				if kept, _ := a.Kept(); kept != c.kept[i] {
					t.Errorf("after %v, with a clock that is %v ahead, %d messages are kept, want %d", ran, ahead, kept, c.kept[i])
				}
			}
		})
	}
}
