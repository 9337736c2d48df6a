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
