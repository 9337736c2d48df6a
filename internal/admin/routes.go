package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	healthPath   = "/healthz"
	metricsPath  = "/metrics"
	statusPath   = "/admin/status"
	sessionsPath = "/admin/sessions"
	eventsPath   = "/admin/events"
	prebindPath  = "/admin/prebind"
	tokensPath   = "/admin/tokens"
	usersPath    = "/admin/users"
	describePath = "/admin/openapi.json"
	refreshPath  = "/roster_admin/refresh"
	rostersPath  = "/roster_admin/rosters"
	profilesPath = "/profile_admin/refresh"
)

// A route is one method at one path. A path may have one {name}, which stands for one segment as it was sent, or at the
// end {name...}, which stands for the rest.
type route struct {
	method, path string
	body         func(*API) int64 // most bytes of a body
	serve        func(*API, *call) (*reply, error)
}

var routes = []route{
	{http.MethodPost, refreshPath, fixed(maxBody), (*API).refreshMany},
	{http.MethodGet, refreshPath + "/{user}", fixed(maxBody), (*API).refreshOne},
	{http.MethodPost, profilesPath, fixed(maxBody), (*API).refreshProfiles},
	{http.MethodPatch, rostersPath, fixed(maxPatches), (*API).patchMany},
	{http.MethodGet, rostersPath + "/{user}", fixed(maxBody), (*API).showRoster},
	{http.MethodPut, rostersPath + "/{user}", (*API).largestRoster, (*API).putRoster},
	{http.MethodPatch, rostersPath + "/{user}", (*API).largestRoster, (*API).patchRoster},
	{http.MethodPost, rostersPath + "/{user}/confirm", fixed(maxBody), (*API).confirmRoster},
	{http.MethodGet, statusPath, fixed(maxBody), (*API).status},
	{http.MethodGet, sessionsPath, fixed(maxBody), (*API).listSessions},
	{http.MethodDelete, sessionsPath + "/{jid...}", fixed(maxBody), (*API).endSession},
	{http.MethodGet, eventsPath, fixed(maxBody), (*API).events},
	{http.MethodPost, prebindPath, fixed(maxPrebind), (*API).prebind},
	{http.MethodPost, tokensPath, fixed(maxPrebind), (*API).makeToken},
	{http.MethodDelete, tokensPath + "/{user}", fixed(maxPrebind), (*API).revokeTokens},
	{http.MethodGet, usersPath, fixed(maxBody), (*API).listUsers},
	{http.MethodPost, usersPath, fixed(maxUserBody), (*API).createUser},
	{http.MethodGet, usersPath + "/{user}", fixed(maxBody), (*API).showUser},
	{http.MethodPatch, usersPath + "/{user}", fixed(maxUserBody), (*API).patchUser},
	{http.MethodDelete, usersPath + "/{user}", fixed(maxBody), (*API).deleteUser},
	{http.MethodGet, describePath, fixed(maxBody), (*API).describe},
	{http.MethodGet, metricsPath, fixed(maxBody), (*API).metrics},
}

func fixed(n int64) func(*API) int64 { return func(*API) int64 { return n } }

// largestRoster is the limit for a document before it is known whose host it is for.
func (a *API) largestRoster() int64 {
	n := int64(maxBody)
	for _, h := range a.hosts {
		n = max(n, h.MaxBytes)
	}
	return n
}

// A call is a request on its way.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	arrived time.Time
	grant   grant
	param   string // what stands for {name} in the route's path, decoded
	undone  bool   // nothing came of it: the same request is no replay
}

// match finds the route of a request by the path as it was sent, percent-encoding included: no other spelling is
// known. Without a route, allowed are the methods that the path has.
func match(method, path string) (rt *route, param string, allowed []string) {
	for i := range routes {
		p, ok := routes[i].fits(path)
		if !ok {
			continue
		}
		if routes[i].method == method {
			return &routes[i], p, nil
		}
		allowed = append(allowed, routes[i].method)
	}
	slices.Sort(allowed)
	return nil, "", allowed
}

func (rt *route) fits(path string) (param string, ok bool) {
	before, rest, hasName := strings.Cut(rt.path, "{")
	if !hasName {
		return "", path == rt.path
	}
	name, after, _ := strings.Cut(rest, "}")
	param, ok = strings.CutPrefix(path, before)
	if ok {
		param, ok = strings.CutSuffix(param, after)
	}
	whole := strings.HasSuffix(name, "...")
	return param, ok && param != "" && (whole || !strings.Contains(param, "/"))
}

func (a *API) serve(c *call) (*reply, error) {
	path := c.r.URL.EscapedPath()
	if path == healthPath {
		return a.health(c.r)
	}
	rt, param, allowed := match(c.r.Method, path)
	limit := int64(maxBody)
	if rt != nil {
		limit = rt.body(a)
	}
	if err := a.access(c, limit); err != nil {
		return nil, err
	}
	if wait := a.requests.take(c.grant.key(c.r)); wait > 0 {
		no := refuse(http.StatusTooManyRequests, "more than %d requests a second; send many names in one request, or wait", a.requests.perSecond())
		no.retryAfter = wait
		return nil, no
	}
	switch {
	case rt == nil && len(allowed) > 0:
		no := refuse(http.StatusMethodNotAllowed, "%s is not for this path; use %s", c.r.Method, strings.Join(allowed, " or "))
		no.allow = strings.Join(allowed, ", ")
		return nil, no
	case rt == nil:
		return nil, refuse(http.StatusNotFound, "there is nothing at this path; notifications go to POST %s, and %s has the rest", refreshPath, describePath)
	}
	if err := a.here(c, rt); err != nil {
		return nil, err
	}
	var err error
	if c.param, err = url.PathUnescape(param); err != nil {
		return nil, refuse(http.StatusBadRequest, "the path has a stray %%")
	}
	return rt.serve(a, c)
}
