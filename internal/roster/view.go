package roster

import (
	"context"
	"time"
)

// A View is what is known of one user's roster, for people who look after the server.
type View struct {
	Known   *Known
	Held    *Held // nil when nothing is
	Online  bool
	Stale   bool      // it is to be asked for again before it is used
	Checked time.Time // when it was last known to be right; zero when not since the start
	Err     error     // why the last fetch failed; nil when it did not
}

// View gives what is known of a user's roster; ErrNoRoster when it is not known.
func (e *Engine) View(ctx context.Context, name string) (View, error) {
	u := e.pin(name)
	defer e.unpin(u)
	if err := u.untilLoaded(ctx); err != nil {
		return View{}, err
	}
	v := View{Known: u.Current(), Held: u.held.Load(), Online: e.isOnline(u)}
	if v.Known == nil {
		return View{}, ErrNoRoster
	}
	v.Stale = !u.fresh(v.Known)
	u.mu.Lock()
	defer u.mu.Unlock()
	v.Checked, v.Err = u.fetch.checked, u.fetch.lastErr
	return v, nil
}

// Newest gives a user's roster, whether the user is online or not, as User.Ask does: the service is asked when the copy is
// old, and when it does not answer in time the copy is given. nil: it is not known.
func (e *Engine) Newest(ctx context.Context, name string) *Known {
	u := e.pin(name)
	defer e.unpin(u)
	told := make(chan *Known, 1)
	u.Post(func() { u.Ask(func(o Outcome) { told <- o.Known }) })
	select {
	case k := <-told:
		return k
	case <-ctx.Done():
		return nil
	}
}

// Known gives a user's roster, however old the copy is. One of which there is no copy is asked for, as for a client.
func (e *Engine) Known(ctx context.Context, name string) (*Known, error) {
	u := e.pin(name)
	defer e.unpin(u)
	if err := u.untilLoaded(ctx); err != nil {
		return nil, err
	}
	if k := u.Current(); k != nil {
		return k, nil
	}
	if k := e.Newest(ctx, name); k != nil {
		return k, nil
	}
	return nil, ErrNoRoster
}

// Counts is how many rosters the engine holds, by what is known of them.
type Counts struct {
	Online  int  // users who are online
	Unknown int  // of these, those whose roster has not arrived
	Stale   int  // of these, those whose copy is known to be out of date
	Kept    int  // copies in memory of users who are offline
	Held    int  // of those in memory, those with a roster that the guard holds
	Journal int  // changes in the journals of all users, as they were counted last
	Unsaved int  // copies that wait to be written to the store
	Failing bool // the store does not take them
	// Oldest and Average are how long ago the copies of users who are online were known to be right.
	Oldest, Average time.Duration
}

// Counts counts the rosters.
func (e *Engine) Counts() Counts {
	c := Counts{Journal: int(e.keep.journal.Load()), Unsaved: e.keep.waiting(), Failing: e.keep.failing.Load()}
	now := time.Now()
	var sum time.Duration
	for _, u := range e.attachedUsers() {
		c.Online++
		k := u.Current()
		if k == nil {
			c.Unknown++
			continue
		}
		if u.outOfDate() {
			c.Stale++
		}
		age := now.Sub(k.AsOf)
		sum += age
		c.Oldest = max(c.Oldest, age)
	}
	if known := c.Online - c.Unknown; known > 0 {
		c.Average = sum / time.Duration(known)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.Kept = e.idle.Len()
	for _, u := range e.users {
		if u.held.Load() != nil {
			c.Held++
		}
	}
	return c
}
