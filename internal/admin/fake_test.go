package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A keptRoster is a roster that a service was told.
type keptRoster struct {
	version int
	items   map[string]any
	held    bool
}

func (s *service) keptOf(user string) *keptRoster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[user]
}

// hold makes writes for a user wait until what it returns is closed.
func (s *service) hold(user string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holding == nil {
		s.holding = map[string]chan struct{}{}
	}
	s.holding[user] = make(chan struct{})
	return s.holding[user]
}

// write lets change work on a user's roster: nil where there is none.
func (s *service) write(user, ifMatch, what string, change func(map[string]any) (map[string]any, error)) RosterResult {
	s.mu.Lock()
	wait := s.holding[user]
	s.mu.Unlock()
	if wait != nil {
		<-wait
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, what)
	k := s.kept[user]
	version := ""
	var items map[string]any
	if k != nil {
		version, items = fmt.Sprintf("v%d", k.version), map[string]any{}
		maps.Copy(items, k.items)
	}
	if ifMatch != "" && ifMatch != version && (ifMatch != "*" || k == nil) {
		return RosterResult{Result: Failed, Version: version, Err: fmt.Errorf("%w: it is %q", ErrPrecondition, version)}
	}
	items, err := change(items)
	if err != nil {
		return RosterResult{Result: Failed, Version: version, Err: err}
	}
	if k == nil {
		k = &keptRoster{}
		if s.kept == nil {
			s.kept = map[string]*keptRoster{}
		}
		s.kept[user] = k
	}
	res := RosterResult{Result: Changed, Added: len(items)}
	if _, bad := items["a b"]; bad {
		delete(items, "a b")
		res.Dropped = []DroppedItem{{Key: "a b", Reason: "has no valid address"}}
	}
	k.version, k.items, k.held = k.version+1, items, false
	res.Version = fmt.Sprintf("v%d", k.version)
	return res
}

// Put implements Rosters.
func (s *service) Put(_ context.Context, user string, document []byte, ifMatch string) RosterResult {
	return s.write(user, ifMatch, "put "+user+" "+string(document), func(map[string]any) (map[string]any, error) {
		var items map[string]any
		if err := json.Unmarshal(document, &items); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDocument, err)
		}
		return items, nil
	})
}

// Patch implements Rosters.
func (s *service) Patch(_ context.Context, user string, patch []byte, ifMatch string) RosterResult {
	return s.write(user, ifMatch, "patch "+user+" "+string(patch), func(items map[string]any) (map[string]any, error) {
		var changes map[string]any
		if err := json.Unmarshal(patch, &changes); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDocument, err)
		}
		switch {
		case user == "busy":
			return nil, ErrBusy
		case slices.Contains(s.broken, user):
			return nil, errors.New("the service answered 503")
		case items == nil:
			return nil, ErrNoRoster
		}
		for contact, item := range changes {
			if item == nil {
				delete(items, contact)
			} else {
				items[contact] = item
			}
		}
		return items, nil
	})
}

// Confirm implements Rosters.
func (s *service) Confirm(_ context.Context, user string) RosterResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[user]
	switch {
	case k == nil:
		return RosterResult{Result: Failed, Err: ErrNoRoster}
	case !k.held:
		return RosterResult{Result: Unchanged, Version: fmt.Sprintf("v%d", k.version)}
	}
	k.held, k.version = false, k.version+1
	return RosterResult{Result: Changed, Removed: 30, Version: fmt.Sprintf("v%d", k.version)}
}

// Roster implements Rosters.
func (s *service) Roster(_ context.Context, user string) (*RosterView, error) {
	k := s.keptOf(user)
	switch {
	case user == "broken":
		return nil, errors.New("the disk is on fire")
	case k == nil:
		return nil, ErrNoRoster
	}
	items, err := json.Marshal(k.items)
	v := &RosterView{Version: fmt.Sprintf("v%d", k.version), Source: "put", AsOf: time.Now(), Items: items}
	if k.held {
		v.Held = &HeldView{Since: time.Now(), Removed: 30, RemovedContacts: []string{"marie@example.com"}}
	}
	return v, err
}

// List implements Sessions: everybody who is online has one.
func (s *service) List(user string) (list []SessionInfo) {
	for _, u := range s.online {
		if user == "" || u == user {
			list = append(list, SessionInfo{JID: u + "@a.example/x", Transport: "tcp", Remote: "192.0.2.1:5", Since: time.Now(), Idle: 74, Detached: true, Available: true})
		}
	}
	return list
}

// End implements Sessions.
func (s *service) End(_ context.Context, full string) bool {
	user, _, _ := strings.Cut(full, "@")
	if !slices.Contains(s.online, user) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, full)
	return true
}

func (s *service) written() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// guarded are Rosters that hold what they fetch.
type guarded struct{ *service }

// Refresh implements Refresher.
func (guarded) Refresh(_ context.Context, users []string) []RosterResult {
	results := make([]RosterResult, len(users))
	for i := range results {
		results[i] = RosterResult{Result: Held, Removed: 30}
	}
	return results
}

// waiting are Rosters whose service does not answer.
type waiting struct{ *service }

// Refresh implements Refresher.
func (waiting) Refresh(ctx context.Context, users []string) []RosterResult {
	<-ctx.Done()
	return nil
}
