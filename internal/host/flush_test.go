package host

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/store"
)

// A message that comes while a client takes long for those before it has waited when it is sent, and its copies say so (XEP-0203,
// XEP-0297). If the client goes, the message is as one that came while nobody was there: that is said at once, not when the next client
// comes, who is told how long it has waited.
func TestMessagesBehindOthers(t *testing.T) {
	var unclaimed, copied []string
	note := func(to *[]string) StanzaHandler {
		return func(_ context.Context, p *Passage) (bool, error) {
			*to = append(*to, fmt.Sprint(p.ID, " ", p.Since().UTC().Year()))
			return false, nil
		}
	}
	o := Options{Mail: Mail{Box: NewMemory(1 << 20), Lasts: true, Limit: 100},
		Features: []Feature{{Name: "test", Stages: map[Stage]StanzaHandler{Unclaimed: note(&unclaimed), Copied: note(&copied)}}}}
	for _, goes := range []bool{true, false} {
		bubble(t, o, func(t *testing.T, h *Host) {
			john := arrive(t, h, "john", "x", 0, false)
			say := func(id string) {
				john.says(h, "<message to='marie@localhost' type='chat' id='"+id+"'><body>"+id+"</body></message>")
			}
			const before = flightHigh + 3
			for i := range before {
				say(fmt.Sprint("old", i))
			}
			marie := arrive(t, h, "marie", "phone", 0, true)
			h.arrived(marie.Session)
			if got := strings.Count(marie.heard(), "<message "); got != flightHigh {
				t.Fatalf("%d came", got)
			}
			h.registry.WantCopies(1)
			unclaimed, copied = nil, nil
			say("new")
			if marie.heard() != "" || unclaimed != nil {
				t.Error("it has come before those before it", unclaimed)
			}
			copied = nil // the sender's
			if !goes {
				time.Sleep(flushLate)
				if err := marie.Acknowledged(marie.line, flightHigh); err != nil {
					t.Fatal(err)
				}
				got := marie.heard()
				if strings.Count(got, "id='new'") != 1 || !strings.Contains(got, "<body>new</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='2000-01-01T00:00:00.000Z'/>") {
					t.Errorf("came: %s", got)
				}
				if fmt.Sprint(copied) != "[new 2000]" || unclaimed != nil {
					t.Errorf("copied %q, unclaimed %q", copied, unclaimed)
				}
				return
			}
			marie.lost()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if fmt.Sprint(unclaimed) != "[new 1]" || len(copied) != 1 {
				t.Errorf("unclaimed %q, copied %q", unclaimed, copied)
			}
			time.Sleep(time.Hour)
			again := arrive(t, h, "marie", "pc", 0, false)
			h.arrived(again.Session)
			got := again.heard()
			if strings.Count(got, "<delay ") != before+1 || strings.Count(got, "id='new'") != 1 {
				t.Errorf("came: %s", got)
			}
			if len(copied) != 1 || len(unclaimed) != 1 {
				t.Errorf("once more: copied %q, unclaimed %q", copied, unclaimed)
			}
		})
	}
}

// slowToStrike is a mailbox that takes the first message out when it may.
type slowToStrike struct {
	store.Mailbox
	may chan struct{}
}

func (m *slowToStrike) Delivered(host, username string, ids []store.ID, done func(error)) {
	<-m.may
	m.Mailbox.Delivered(host, username, ids, done)
}

// A message that was delivered, and of which the store is just being told, is not sent again by a flush that begins meanwhile
// (server.TestWorld, seed 273 of its day).
func TestDeliveredWhileTheStoreIsTold(t *testing.T) {
	box := &slowToStrike{Mailbox: NewMemory(1 << 20)}
	o := Options{Mail: Mail{Box: box, Lasts: true, Limit: 100}}
	bubble(t, o, func(t *testing.T, h *Host) {
		box.may = make(chan struct{})
		john := arrive(t, h, "john", "x", 0, false)
		say := func(id string) {
			john.says(h, "<message to='marie@localhost' type='chat' id='"+id+"'><body>x</body></message>")
		}
		say("old")
		phone := arrive(t, h, "marie", "phone", 0, false)
		h.arrived(phone.Session)
		if got := phone.heard(); strings.Count(got, "id='old'") != 1 {
			t.Fatalf("came: %s", got)
		}
		pc := arrive(t, h, "marie", "pc", 5, true)
		say("new")
		if got := pc.heard(); strings.Count(got, "id='new'") != 1 {
			t.Fatalf("came: %s", got)
		}
		pc.lost()
		time.Sleep(2 * time.Minute) // it is not resumed: another flush
		synctest.Wait()
		close(box.may)
		synctest.Wait()
		if got := phone.heard(); strings.Count(got, "id='new'") != 1 || strings.Contains(got, "id='old'") {
			t.Errorf("came then: %s", got)
		}
		if n, err := box.CountWaiting(t.Context(), "localhost", "marie", 10); n != 0 || err != nil {
			t.Errorf("%d wait, %v", n, err)
		}
	})
}
