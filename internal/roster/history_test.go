package roster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rollcall/internal/rosterdoc"
)

// since asks what is different from a version.
func (w world) since(u *User, ver string) (k *Known, steps []Step, ok bool) {
	done := make(chan struct{})
	u.Do(func() {
		u.Since(ver, func(known *Known, all []Step, found bool) {
			k, steps, ok = known, all, found
			close(done)
		})
	})
	<-done
	return k, steps, ok
}

// TestEveryVersionLeadsToTheLast lets a roster change at random and the engine restart now and then. A client that has
// any version that ever was becomes equal to the roster with the steps since, and with no step that changes nothing; one
// that takes only some of the steps has just what the last one's version stands for.
func TestEveryVersionLeadsToTheLast(t *testing.T) {
	for seed := range uint64(16) {
		inLives(t, func(l lives) {
			lives := 4
			if seed%4 == 0 {
				l.disk, lives = nil, 1
			}
			rnd := rand.New(rand.NewPCG(seed, 0))
			past := map[string]*rosterdoc.Roster{} // what was, by version
			cut := map[string]*rosterdoc.Roster{}  // what clients had that were cut off, by what they had for a version
			check := func(w world, u *User) {
				maps.Copy(past, cut)
				for ver, was := range past {
					k, steps, ok := w.since(u, ver)
					if !ok {
						t.Fatalf("seed %d: version %s is not known", seed, ver)
					}
					client := was
					for i, s := range steps {
						next := stepped(client, s)
						if next.Equal(client) {
							t.Errorf("seed %d: from %s, step %d of %d changes nothing: %+v", seed, ver, i, len(steps), s)
						}
						client = next
					}
					if !client.Equal(k.Roster) {
						t.Errorf("seed %d: from %s:\n%s\nis not\n%s", seed, ver, client.AppendJSON(nil), k.Roster.AppendJSON(nil))
					}
					if len(steps) > 1 { // cut off on the way, and back
						half := rnd.IntN(len(steps)-1) + 1
						client = was
						for _, s := range steps[:half] {
							client = stepped(client, s)
						}
						cut[steps[half-1].Ver] = client
						_, rest, ok := w.since(u, steps[half-1].Ver)
						for _, s := range rest {
							client = stepped(client, s)
						}
						if !ok || !client.Equal(k.Roster) {
							t.Errorf("seed %d: cut off after %d steps from %s", seed, half, ver)
						}
					}
				}
			}
			for range lives {
				l.live(false, func(w world) {
					u := w.Attach("john", &ear{})
					if w.ask(u); u.Current() == nil {
						w.write("john", `{}`, false)
					}
					for range 10 {
						past[u.Current().Ver()] = u.Current().Roster
						var patch []string
						for i := range 5 {
							switch rnd.IntN(4) {
							case 0:
								patch = append(patch, fmt.Sprintf(`"c%d@h": null`, i))
							case 1:
								patch = append(patch, fmt.Sprintf(`"c%d@h": {"name": "%d", "groups": ["%d"]}`, i, rnd.IntN(2), rnd.IntN(2)))
							}
						}
						w.write("john", "{"+strings.Join(patch, ", ")+"}", true)
					}
					check(w, u)
				})
			}
		})
	}
}

// stepped is a client's roster after a push.
func stepped(r *rosterdoc.Roster, s Step) *rosterdoc.Roster {
	var items []rosterdoc.Item
	for it := range r.All() {
		if it.JID != s.Old.JID && it.JID != s.New.JID {
			items = append(items, it)
		}
	}
	if s.Kind != rosterdoc.Removed {
		items = append(items, s.New)
	}
	return rosterdoc.Build(items)
}

func TestVersionsThatAreNotKnown(t *testing.T) {
	inLives(t, func(l lives) {
		ver := ""
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives("ann@h")
			<-out
			results := w.refresh("john")
			(<-w.src.asked).gives("ben@h")
			<-results
			ver = u.Current().Ver()
			_, tag, _ := strings.Cut(ver, "-")
			for _, have := range []string{"x", "-", "1", "-" + tag, "0-" + tag, "-1-" + tag, "99-" + tag, "1-" + tag, "3-other", "zzzzzzzzzzzzzzzzzzzz-x"} {
				if _, _, ok := w.since(u, have); ok {
					t.Errorf("%q is taken for a version", have)
				}
			}
			if _, steps, ok := w.since(u, ver); !ok || len(steps) != 0 {
				t.Errorf("the last one: %v %v", steps, ok)
			}
		})
		// A version that was lost with the process is not taken for the one that has its number now.
		lost := ""
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives("ben@h")
			<-out
			l.disk.fail(errLost)
			results := w.refresh("john")
			(<-w.src.asked).gives("ben@h", "ghost@h")
			<-results
			lost = u.Current().Ver()
		})
		l.disk.fail(nil)
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives("ben@h", "cid@h")
			<-out
			if now := u.Current().Ver(); now == lost || now[:1] != lost[:1] {
				t.Fatalf("%s was lost, %s is there", lost, now)
			}
			if _, _, ok := w.since(u, lost); ok {
				t.Error("what was lost is known")
			}
			if _, steps, ok := w.since(u, ver); !ok || len(steps) != 1 {
				t.Errorf("%v %v", steps, ok)
			}
		})
	})
}

var errLost = fmt.Errorf("the power is gone")

// The journal keeps what is young, and at least a thousand changes.
func TestJournalIsTrimmed(t *testing.T) {
	t.Run("store", func(t *testing.T) { inLives(t, testTrim) })
	t.Run("memory", func(t *testing.T) {
		inLives(t, func(l lives) {
			l.disk = nil
			testTrim(l)
		})
	})
}

func testTrim(l lives) {
	l.live(false, func(w world) {
		u := w.Attach("john", &ear{})
		w.write("john", `{}`, false)
		first := u.Current().Ver()
		for i := range 10 { // as many changes as are kept
			var patch []string
			for c := range journalKeep / 10 {
				patch = append(patch, fmt.Sprintf(`"c%d@h": {"name": "%d"}`, c, i))
			}
			w.write("john", "{"+strings.Join(patch, ", ")+"}", true)
		}
		time.Sleep(journalAge - 2*trimEvery) // of the bubble's clock
		if _, steps, ok := w.since(u, first); !ok || len(steps) != journalKeep/10 {
			l.Errorf("the first is forgotten before its time: %v", steps)
		}
		time.Sleep(4 * trimEvery)
		if _, _, ok := w.since(u, first); ok {
			l.Error("the first is not forgotten")
		}
		last := u.Current().Ver()
		w.write("john", `{"c0@h": null}`, true)
		time.Sleep(2 * trimEvery)
		if _, steps, ok := w.since(u, last); !ok || len(steps) != 1 {
			l.Errorf("%v %v", steps, ok)
		}
		if kept := w.keep.journal.Load(); kept != journalKeep {
			l.Errorf("%d changes are kept", kept)
		}
	})
}
