package scenario

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"rollcall/bench/peer"
	"rollcall/bench/service"
)

// The scenario is there to show that nobody's roster is fetched twice.
func TestStormFailsWhenARosterIsFetchedTwice(t *testing.T) {
	g, err := service.NewGraph(4, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	rosters, err := service.Serve("127.0.0.1:0", g, 0)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	fetch := func(user string) {
		resp, err := client.Get(fmt.Sprintf(rosters.URL(), user))
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	r := &run{Options: Options{Graph: g, Rosters: rosters}, server: &peer.Running{PIDs: []int{os.Getpid()}}}
	fetch("u2")
	rosters.Forget() // as the restart does
	fetch("u2")
	fetch("u3")
	if err := r.addRequests(); err != nil {
		t.Error(err)
	}
	fetch("u3")
	if err := r.addRequests(); err == nil || !strings.Contains(err.Error(), "u3 was fetched 2 times") {
		t.Errorf("got %v", err)
	}
	client.CloseIdleConnections()
	if err := rosters.Close(); err != nil {
		t.Error(err)
	}
}

func TestOnlySomeAreOnline(t *testing.T) {
	g, err := service.NewGraph(6, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Resize(2, 3); err != nil {
		t.Fatal(err)
	}
	c := newCrowd(g, nil)
	if len(c.members) != 2 || c.members[1].unseen != 1 || g.Deliveries() != 2 {
		t.Errorf("%d members, of whom u1 sees %d contacts; %d deliveries", len(c.members), c.members[1].unseen, g.Deliveries())
	}
}

// What was said before the server was killed may come again, and is neither missing nor unexpected; an error never is expected.
func TestMessagesFromBefore(t *testing.T) {
	before, _ := someone(t)
	old := string(before.members[0].appendMessage(nil, 1))
	c, m := someone(t)
	talk := &conversation{}
	talk.recording.Store(true)
	c.chat.Store(talk)
	if m.hear(old); c.trouble() == nil {
		t.Error("it came without a restart")
	}
	c, m = someone(t)
	c.patient = true
	c.chat.Store(talk)
	m.hear(old)
	if err := c.trouble(); err != nil || m.again.Load() != 1 || m.received.Load() != 0 || len(m.latencies) != 0 {
		t.Errorf("%v, %d times, %d received, times %v", err, m.again.Load(), m.received.Load(), m.latencies)
	}
	if m.hear(strings.Replace(old, "type='chat'", "type='error'", 1)); c.trouble() == nil {
		t.Error("an error was taken for a message")
	}
}
