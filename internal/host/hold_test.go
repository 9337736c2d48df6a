package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/internal/stanza"
)

// keeper is a feature that holds messages until they are stored.
type keeper struct{ release []func(error) }

func (k *keeper) feature() Feature {
	return Feature{Name: "keeper", Stages: map[Stage]StanzaHandler{Unclaimed: func(_ context.Context, p *Passage) (bool, error) {
		k.release = append(k.release, p.Hold())
		return true, nil
	}}}
}

// A message is acknowledged only when it is stored; when that fails its sender is sent an error, once, and it is handled.
func TestHold(t *testing.T) {
	for _, tc := range []struct {
		name    string
		release func(release func(error))
		want    string // in the answer
	}{
		{"stored", func(release func(error)) { release(nil) }, ""},
		{"not stored", func(release func(error)) { release(stanza.NewError(stanza.ResourceConstraint, "full")) }, "<resource-constraint "},
		{"a fault of ours", func(release func(error)) { release(errors.New("disk on fire")) }, "<internal-server-error "},
		{"twice", func(release func(error)) { release(nil); release(errors.New("again")) }, ""},
		{"never", func(func(error)) { time.Sleep(holdTimeout + time.Second) }, "<resource-constraint "},
		{"too late", func(release func(error)) { time.Sleep(holdTimeout + time.Second); release(errors.New("late")) }, "<resource-constraint "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := &keeper{}
			bubble(t, Options{Features: []Feature{k.feature()}}, func(t *testing.T, h *Host) {
				john := arrive(t, h, "john", "x", 0, true)
				john.says(h, "<message to='marie@localhost' type='chat' id='m1'><body>secret</body></message>")
				john.says(h, "<message to='john@localhost/nowhere' type='headline'/>")
				john.Acknowledge(john.line)
				expect(t, john.heard())
				tc.release(k.release[0])
				got := john.heard()
				expect(t, got, "<a xmlns='urn:xmpp:sm:3' h='2'/>")
				if tc.want != "" {
					expect(t, got, "id='m1'", tc.want)
				} else if strings.Contains(got, "<message ") {
					t.Error(got)
				}
			})
		})
	}
}

// What was acknowledged before and is redirected is not held back from anybody; its sender hears of a failure all the same.
func TestHoldOfWhatIsRedirected(t *testing.T) {
	k := &keeper{}
	bubble(t, Options{Features: []Feature{k.feature()}}, func(t *testing.T, h *Host) {
		john, marie := arrive(t, h, "john", "x", 0, true), arrive(t, h, "marie", "x", 0, true)
		marie.lost()
		john.says(h, "<message to='marie@localhost' type='chat' id='m1'/>")
		time.Sleep(time.Minute + time.Second)
		<-marie.Ended()
		if len(k.release) != 1 {
			t.Fatal("it was not redirected")
		}
		john.Acknowledge(john.line)
		expect(t, john.heard(), "h='1'")
		k.release[0](errors.New("not stored"))
		expect(t, john.heard(), "id='m1'", "<internal-server-error ")
	})
}
