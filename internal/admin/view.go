package admin

import (
	"context"
	"errors"
	"net/http"
)

// showRoster is GET /roster_admin/rosters/{user}.
func (a *API) showRoster(c *call) (*reply, error) {
	t, rosters, err := a.one(c)
	if err != nil {
		return nil, err
	}
	s, err := a.enter(c, 0, 1)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(a.ctx, refreshTime)
	defer cancel()
	v, err := rosters.Roster(ctx, t.local)
	switch {
	case errors.Is(err, ErrNoRoster):
		return nil, refuse(http.StatusNotFound, "%.80q %v", t.name, err)
	case err != nil:
		return nil, err
	}
	v.Host, v.User = t.host.Name, t.local
	rep := &reply{body: v}
	if v.Version != "" {
		rep.header = http.Header{"Etag": {`"` + v.Version + `"`}}
	}
	return rep, nil
}
