package blocking

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
)

// fakeStore is a store that counts, and can hang or fail. What it does not have is not used here.
type fakeStore struct {
	others
	mu    sync.Mutex
	has   map[string][]byte // by username
	reads map[string]int
	fail  error
	hang  bool
}

type others interface{ store.Values }

func (v *fakeStore) Value(ctx context.Context, k store.Key) ([]byte, error) {
	v.mu.Lock()
	v.reads[k.Username]++
	value, ok := v.has[k.Username]
	fail, hang := v.fail, v.hang
	v.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case fail != nil:
		return nil, fail
	case !ok:
		time.Sleep(time.Millisecond)
		return nil, store.ErrNotFound
	}
	return value, nil
}

func (v *fakeStore) SetValue(_ context.Context, k store.Key, value []byte, _ int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.has[k.Username] = value
	return v.fail
}

func (v *fakeStore) count() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, reads := range v.reads {
		n += reads
	}
	return n
}

func newStore() *fakeStore { return &fakeStore{has: map[string][]byte{}, reads: map[string]int{}} }

func newBlocking(t *testing.T, v store.Values, o Options) *Blocking {
	t.Helper()
	o.Host, o.Store, o.Log = "localhost", v, slog.New(slog.DiscardHandler)
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func addresses(s ...string) (all []jid.JID) {
	for _, a := range s {
		all = append(all, jid.MustParse(a))
	}
	return all
}

// Section 5.
func TestBlocks(t *testing.T) {
	for _, test := range []struct{ item, covers, not string }{
		{"a@b.example/c", "a@b.example/c", "a@b.example a@b.example/d b.example b.example/c x@b.example/c"},
		{"a@b.example", "a@b.example a@b.example/c", "b.example b.example/a x@b.example a@c.example a@x.b.example"},
		{"b.example/c", "b.example/c", "b.example a@b.example/c b.example/d"},
		{"b.example", "b.example b.example/c a@b.example a@b.example/c", "c.example x.b.example a@x.b.example"},
	} {
		l := newList(addresses(test.item))
		for _, a := range strings.Fields(test.covers) {
			if !l.blocks(jid.MustParse(a)) {
				t.Errorf("%s does not cover %s", test.item, a)
			}
		}
		for _, a := range strings.Fields(test.not) {
			if l.blocks(jid.MustParse(a)) {
				t.Errorf("%s covers %s", test.item, a)
			}
		}
	}
	var unknown *blocklist
	if !unknown.blocks(jid.MustParse("a@b.example")) {
		t.Error("an unknown list is taken for an empty one")
	}
}

func TestListsAreStoredAsTheyAre(t *testing.T) {
	items := addresses("a@b.example", "b.example", "b.example/\U0001F600 'x' <&>", "ß@faß.example/ /", "a@b.example/c d")
	l := newList(items)
	if len(l.encode()) != l.bytes {
		t.Errorf("%d bytes, counted as %d", len(l.encode()), l.bytes)
	}
	got, wrong := parseList(l.encode())
	if wrong != 0 || !slices.Equal(got.items, items) {
		t.Errorf("%v (%d wrong) instead of %v", got.items, wrong, items)
	}
	if got, wrong := parseList([]byte("a@b.example\n\n@\nc@d.example\n")); wrong != 2 || !slices.Equal(got.items, addresses("a@b.example", "c@d.example")) {
		t.Errorf("%v, %d wrong", got.items, wrong)
	}
}

// What is read of users who are offline is kept for a while, and only so much of it.
func TestListsOfOfflineUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newStore()
		b := newBlocking(t, v, Options{})
		ask := func(local string) {
			t.Helper()
			if _, err := b.list(t.Context(), jid.MustParse(local+"@localhost")); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { ask("john") })
		}
		all.Wait()
		if v.count() != 1 {
			t.Errorf("%d reads for a hundred who ask at once", v.count())
		}
		time.Sleep(coldAge + time.Second)
		ask("john")
		if v.count() != 2 {
			t.Errorf("%d reads: what is kept grows too old", v.count())
		}
		const many = 3 * coldBytes / accountCost / 2
		for i := range many {
			ask(fmt.Sprintf("u%d", i))
			if i%100 == 0 {
				ask("john") // who is used is kept
			}
		}
		if ls := &b.lists; ls.bytes > coldBytes || len(ls.accounts) != ls.cold.Len() || ls.bytes < coldBytes/2 {
			t.Errorf("%d bytes, %d accounts, %d in order", ls.bytes, len(ls.accounts), ls.cold.Len())
		}
		before := v.count()
		ask("john")
		ask(fmt.Sprintf("u%d", many-1))
		if v.count() != before {
			t.Errorf("%d reads more for those who were used last", v.count()-before)
		}
		ask("u0")
		if v.count() != before+1 {
			t.Error("who was not used for longest is still there: the bound was not reached")
		}
	})
}

// A store that is away for a moment is waited for; of one that is away for longer nobody waits but those who came first.
func TestStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newStore()
		b := newBlocking(t, v, Options{})
		ask := func(local string, want error, atMost time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := b.list(t.Context(), jid.MustParse(local+"@localhost"))
			if took := time.Since(began); !errors.Is(err, want) || took > atMost {
				t.Errorf("%s: %v after %v", local, err, took)
			}
		}
		away := func(away bool) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.fail = nil
			if away {
				v.fail = store.ErrUnavailable
			}
		}
		for range 3 { // an absence after another is one of its own
			away(true)
			time.AfterFunc(store.Absence-2*time.Second, func() { away(false) })
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() { ask(fmt.Sprintf("u%d", i), nil, store.Absence) })
			}
			all.Wait()
			if n := v.count(); n > 50+2*int(store.Absence/store.Hush) {
				t.Errorf("%d reads", n)
			}
			v.reads = map[string]int{}
			b.lists.init() // nobody is known any more
		}
		away(true)
		ask("john", errUnknown, store.Absence)
		for range 20 {
			ask("jane", errUnknown, 0)
			time.Sleep(store.Hush)
		}
		away(false)
		ask("john", nil, time.Second)
	})
}

// A store that hangs keeps nobody waiting for longer than store.Absence, and not again at once; an old list is better than none.
func TestStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newStore()
		v.has["old"] = []byte("eve@localhost\n")
		b := newBlocking(t, v, Options{})
		old := jid.MustParse("old@localhost")
		if l, err := b.list(t.Context(), old); err != nil || !l.blocks(jid.MustParse("eve@localhost/x")) {
			t.Fatalf("%v, %v", l, err)
		}
		time.Sleep(coldAge + time.Second)
		v.hang = true
		for _, want := range []time.Duration{store.Absence, 0} {
			began := time.Now()
			l, err := b.list(t.Context(), jid.MustParse("new@localhost"))
			var serr *stanza.Error
			if l != nil || !errors.As(err, &serr) || serr.Type != stanza.Wait {
				t.Errorf("%v, %v", l, err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("it took %v instead of %v", took, want)
			}
		}
		if l, err := b.list(t.Context(), old); err != nil || !l.blocks(jid.MustParse("eve@localhost/x")) {
			t.Errorf("an old list is not used: %v, %v", l, err)
		}
		v.hang = false
		time.Sleep(store.Hush)
		if l, err := b.list(t.Context(), jid.MustParse("new@localhost")); err != nil || l != empty {
			t.Errorf("%v, %v", l, err)
		}
	})
}

func newSession(ctx context.Context, full string) *session.Session {
	return session.New(ctx, &sync.WaitGroup{}, jid.MustParse(full), nil, &session.Options{OutboxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
}

// put is a request of a user's, as far as lists are concerned.
func put(t *testing.T, b *Blocking, local string, items ...string) error {
	t.Helper()
	a := b.lists.keep(jid.MustParse(local + "@localhost"))
	release, err := a.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	old, next := a.current.Load(), newList(addresses(items...))
	if err := b.write(t.Context(), a, old, next); err != nil {
		return err
	}
	b.apply(a, old, next)
	return nil
}

// Where there is no store, lists outlive sessions in memory, but not those of anonymous users.
func TestListsInMemory(t *testing.T) {
	for _, forget := range []bool{false, true} {
		b := newBlocking(t, nil, Options{Forget: forget})
		s := newSession(t.Context(), "john@localhost/phone")
		b.opened(t.Context(), s)
		if err := put(t, b, "john", "eve@localhost"); err != nil {
			t.Fatal(err)
		}
		b.closed(t.Context(), s)
		if blocked := b.Of("john"); blocked == nil || !blocked(jid.MustParse("eve@localhost/pc")) {
			t.Error("those who are told that he goes are not those who are not blocked")
		}
		b.opened(t.Context(), s)
		if blocked := b.Of("john"); (blocked != nil) != !forget {
			t.Errorf("forget %v: after the last session ended somebody is blocked: %v", forget, blocked != nil)
		}
		if err := put(t, b, "john"); err != nil {
			t.Fatal(err)
		}
		b.closed(t.Context(), s)
		if ls := &b.lists; ls.lasting != 0 || ls.cold.Len() != len(ls.accounts) {
			t.Errorf("%d lists last", ls.lasting)
		}
	}
}

func TestListsInMemoryAreBounded(t *testing.T) {
	b := newBlocking(t, nil, Options{})
	for i := range inMemory + 1 {
		local := fmt.Sprintf("u%d", i)
		b.opened(t.Context(), newSession(t.Context(), local+"@localhost/r"))
		err := put(t, b, local, "eve@localhost")
		if full := i == inMemory; (err != nil) != full {
			t.Fatalf("list %d: %v", i, err)
		}
	}
	if err := put(t, b, "u0"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, b, fmt.Sprintf("u%d", inMemory), "eve@localhost"); err != nil {
		t.Errorf("there is room for one: %v", err)
	}
}

func TestListsAreBounded(t *testing.T) {
	v := newStore()
	b := newBlocking(t, v, Options{})
	b.opened(t.Context(), newSession(t.Context(), "john@localhost/r"))
	many := make([]string, maxItems)
	for i := range many {
		many[i] = fmt.Sprintf("u%d@spam.example", i)
	}
	if err := put(t, b, "john", many...); err != nil {
		t.Errorf("%d items: %v", len(many), err)
	}
	if err := put(t, b, "john", append(many, "one@too.many")...); err == nil {
		t.Error("one too many")
	}
	if err := put(t, b, "john", many[1:]...); err != nil {
		t.Errorf("one less: %v", err)
	}
	long := make([]string, maxBytes/1000+1)
	for i := range long {
		long[i] = fmt.Sprintf("%04d%s@spam.example", i, strings.Repeat("x", 995))
	}
	b.opened(t.Context(), newSession(t.Context(), "marie@localhost/r"))
	if err := put(t, b, "marie", long...); err == nil {
		t.Errorf("%d bytes", newList(addresses(long...)).bytes)
	}
}

// Nothing is left of sessions that have ended, whatever they have asked for.
func TestNothingIsLeft(t *testing.T) {
	b := newBlocking(t, newStore(), Options{})
	phone, tablet := newSession(t.Context(), "john@localhost/phone"), newSession(t.Context(), "john@localhost/tablet")
	b.opened(t.Context(), phone)
	b.opened(t.Context(), tablet)
	a := b.lists.keep(phone.JID().Bare())
	b.lists.interest(a, phone)
	b.lists.interest(a, tablet)
	b.lists.doubt(a)
	b.closed(t.Context(), phone)
	if told := b.lists.told(a); !slices.Equal(told, []*session.Session{tablet}) {
		t.Errorf("told: %v", told)
	}
	b.closed(t.Context(), tablet)
	b.lists.interest(a, tablet) // asked just before it ended
	b.lists.doubt(a)
	if told, doubted := b.lists.told(a), b.lists.doubted(); len(told)+len(doubted) > 0 || a.sessions != 0 {
		t.Errorf("told %v, doubted %v, %d sessions", told, doubted, a.sessions)
	}
}

// What a message costs between users who have blocked nobody.
func BenchmarkNobodyBlocked(b *testing.B) {
	o, err := New(Options{Host: "localhost", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 20_000 {
		o.opened(b.Context(), newSession(b.Context(), fmt.Sprintf("u%d@localhost/r", i)))
	}
	john := jid.MustParse("u17@localhost/r")
	b.ReportAllocs()
	for b.Loop() {
		if l, err := o.list(b.Context(), john); err != nil || l.blocks(john) {
			b.Fatal(l, err)
		}
	}
}
