package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
)

func TestPrefs(t *testing.T) {
	p, err := parsePrefs(parse(t, `<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid> ROMEO@montague.lit </jid><jid>b@x/phone</jid></always>
		<never><jid>montague@montague.lit</jid><jid>romeo@montague.lit/orchard</jid><jid>else.where</jid></never></prefs>`))
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]Policy{
		"romeo@montague.lit": Always, "romeo@montague.lit/garden": Always, "romeo@montague.lit/orchard": Never,
		"b@x": Roster, "b@x/phone": Always, "b@x/pc": Roster, "montague@montague.lit/x": Never, "montague.lit": Roster,
		"else.where": Never, "somebody@else.where": Roster,
	} {
		if got := p.of(jid.MustParse(who)); got != want {
			t.Errorf("%s: %s instead of %s", who, got, want)
		}
	}
	again, err := parsePrefs(parse(t, p.element().String()))
	if err != nil || again.element().String() != p.element().String() {
		t.Errorf("%s, %v", again.element(), err)
	}
	var many strings.Builder
	for i := range maxListed + 1 {
		fmt.Fprintf(&many, "<jid>user%d@localhost</jid>", i)
	}
	var serr *stanza.Error
	if _, err := parsePrefs(parse(t, `<prefs xmlns='urn:xmpp:mam:2' default='never'><always>`+many.String()+`</always></prefs>`)); !errors.As(err, &serr) || serr.Condition != stanza.PolicyViolation {
		t.Error(err)
	}
}

// What a user has said is in the database and read from it, once for many who ask, and is not forgotten by who reads it at the same time.
func TestPrefsAreStored(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Archives, s *store.Store) {
		get := func() Policy {
			p, err := a.prefs.get(t.Context(), "john")
			if err != nil {
				t.Fatal(err)
			}
			return p.Default
		}
		if get() != "" {
			t.Error("the default")
		}
		value := parse(t, `<prefs xmlns='urn:xmpp:mam:2' default='never'/>`).AppendXML(nil, "")
		if err := s.SetValue(t.Context(), a.key("john"), value, 0); err != nil {
			t.Fatal(err)
		}
		if get() != "" {
			t.Error("it is read again without a reason")
		}
		a.prefs.drop("john")
		if get() != Never {
			t.Error("what is stored")
		}
	})
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		var mu sync.Mutex
		reads, result, fail := 0, &prefs{Default: Always}, error(nil)
		gate := make(chan struct{})
		c.init(func(context.Context, string) (*prefs, error) {
			mu.Lock()
			reads++
			p, err := result, fail
			mu.Unlock()
			<-gate
			return p, err
		})
		var askers sync.WaitGroup
		got := make([]*prefs, 10)
		for i := range got {
			askers.Go(func() { got[i], _ = c.get(t.Context(), "john") })
		}
		synctest.Wait()
		fresh := &prefs{Default: Never}
		mu.Lock()
		result = fresh
		mu.Unlock()
		c.drop("john") // it was written while it was read
		close(gate)
		askers.Wait()
		if reads != 1 || got[9] == nil || got[9] != got[0] {
			t.Error(reads, "reads")
		}
		if p, err := c.get(t.Context(), "john"); p != fresh || err != nil {
			t.Error("what was read before the write is remembered")
		}
		if p, _ := c.get(t.Context(), "john"); p != fresh || reads != 2 {
			t.Error(reads, "reads")
		}
		time.Sleep(cacheAge)
		if c.get(t.Context(), "john"); reads != 3 {
			t.Error("it is never read again")
		}
		fail = errors.New("the disk")
		began := time.Now()
		if p, err := c.get(t.Context(), "marie"); err == nil || time.Since(began) > store.Absence {
			t.Error(p, time.Since(began))
		}
		before := reads
		if _, err := c.get(t.Context(), "eve"); err == nil || reads != before {
			t.Error("a store that has just failed is asked again", err)
		}
		time.Sleep(store.Hush)
		fail = nil
		if _, err := c.get(t.Context(), "eve"); err != nil {
			t.Error(err)
		}
		fail = errors.New("the network") // for a moment: nobody hears of it
		time.AfterFunc(store.Absence/2, func() {
			mu.Lock()
			defer mu.Unlock()
			fail = nil
		})
		if _, err := c.get(t.Context(), "kate"); err != nil {
			t.Error(err)
		}
		// What is stored makes no sense: the store is well, and nobody waits for it.
		fail, began, before = errUnreadable, time.Now(), reads
		if _, err := c.get(t.Context(), "dot"); err == nil || reads != before+1 || time.Since(began) != 0 {
			t.Error(err, reads-before, time.Since(began))
		}
		fail = nil
		if _, err := c.get(t.Context(), "zoe"); err != nil || time.Since(began) != 0 {
			t.Error(err)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	c.init(func(context.Context, string) (*prefs, error) { return &prefs{Default: Always}, nil })
	for i := range 2 * cacheBytes / userCost {
		if _, err := c.get(t.Context(), fmt.Sprint("user", i)); err != nil {
			t.Fatal(err)
		}
	}
	if c.bytes > cacheBytes || c.order.Len() != len(c.users) || len(c.users) < 1000 {
		t.Error(c.bytes, c.order.Len(), len(c.users))
	}
}
