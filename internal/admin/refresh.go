package admin

import (
	"context"
	"errors"
	"net/http"
)

const (
	whatRefresh = "refresh"
	whatProfile = "profile"
)

// refreshMany is POST /roster_admin/refresh.
func (a *API) refreshMany(c *call) (*reply, error) { return a.refreshNames(c, whatRefresh, refresh) }

// refreshProfiles is POST /profile_admin/refresh, its twin.
func (a *API) refreshProfiles(c *call) (*reply, error) {
	return a.refreshNames(c, whatProfile, refreshProfiles)
}

func (a *API) refreshNames(c *call, what string, do func(context.Context, *Host, []target) []RosterResult) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	s, err := a.enter(c, maxBody, 1)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	names, err := readNames(c)
	if err != nil {
		return nil, err
	}
	j := a.newJob(c, what)
	j.do = do
	users := details(c, j, false)
	if err := a.sort(c, j, ch, names); err != nil {
		return nil, err
	}
	return a.finish(c, j, s, users), nil
}

// refreshOne is GET /roster_admin/refresh/{user}.
func (a *API) refreshOne(c *call) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	s, err := a.enter(c, 0, 1)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	j := a.newJob(c, whatRefresh)
	j.do = refresh
	if err := a.sort(c, j, ch, []string{c.param}); err != nil {
		return nil, err
	}
	rep := a.finish(c, j, s, nil)
	if all, ok := rep.body.(answer); ok {
		rep.body = short{Status: all.Status, Message: all.Message}
	}
	return rep, nil
}

func refresh(ctx context.Context, h *Host, targets []target) []RosterResult {
	users := make([]string, len(targets))
	for i, t := range targets {
		users[i] = t.local
	}
	return h.Rosters.Refresh(ctx, users)
}

func refreshProfiles(ctx context.Context, h *Host, targets []target) []RosterResult {
	if h.Profiles == nil {
		results := make([]RosterResult, len(targets))
		for i := range results {
			results[i] = RosterResult{Result: Failed, Err: errNoProfiles}
		}
		return results
	}
	users := make([]string, len(targets))
	for i, t := range targets {
		users[i] = t.local
	}
	return h.Profiles.Refresh(ctx, users)
}

var errNoProfiles = errors.New("is of a host without profile.url, so there is nobody to ask")

// metrics is GET /metrics, for those who may see all hosts.
func (a *API) metrics(c *call) (*reply, error) {
	switch {
	case a.opts.Metrics == nil:
		return nil, refuse(http.StatusNotFound, "this server shows no metrics")
	case !c.grant.all:
		return nil, refuse(http.StatusForbidden, "metrics are of the whole server; use a credential of [admin]")
	}
	return &reply{stream: a.opts.Metrics}, nil
}
