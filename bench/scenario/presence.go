package scenario

import (
	"context"
	"fmt"
)

// presence has every user change status, which goes to every contact; a round ends when all have heard of all.
func (r *run) presence(ctx context.Context) error {
	deliveries := r.Graph.Deliveries()
	if deliveries == 0 {
		return nil
	}
	stop, err := r.stopwatch(ctx, "presence")
	if err != nil {
		return err
	}
	for round := range r.Rounds {
		heard := expect(deliveries, true)
		r.crowd.presences.Store(heard)
		status := fmt.Appendf(nil, "<presence><show>away</show><status>back in %d minutes</status></presence>", round)
		for _, m := range r.crowd.members {
			if err := m.Send(status); err != nil {
				return err
			}
		}
		if err := heard.wait(ctx, "presences", r.Timeout); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	c, err := stop()
	if err != nil {
		return err
	}
	r.addCost("presence", "delivery", c, deliveries*r.Rounds)
	return nil
}
