package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/jid"
)

// Sessions are the clients of one host that are signed in. Its methods are called by any goroutine.
type Sessions interface {
	// List describes the sessions of a user, or with "" all of them, in any order.
	List(user string) []SessionInfo
	// End ends the session with a full JID, canonical, and waits until others have seen it go, or ctx is done. It is
	// false when there is no such session.
	End(ctx context.Context, full string) bool
}

// A SessionInfo describes a client that is signed in.
type SessionInfo struct {
	JID       string    `json:"jid"`       // full
	Transport string    `json:"transport"` // "tcp", "websocket", "bosh"
	Remote    string    `json:"remote"`    // host:port of the peer, which may be a proxy
	Secure    bool      `json:"secure"`    // TLS, by this server
	TLS       string    `json:"tls,omitempty"`
	Cipher    string    `json:"cipher,omitempty"`
	Since     time.Time `json:"since"`
	Idle      int64     `json:"idle"`               // seconds since the client last sent a stanza
	Detached  bool      `json:"detached,omitempty"` // it has lost its connection and may come back to the session (XEP-0198)
	Available bool      `json:"available"`          // has sent presence
	Priority  int       `json:"priority"`           // while it is available
}

// SessionList is the answer of GET /admin/sessions.
type SessionList struct {
	Sessions []SessionInfo `json:"sessions"` // by JID
	Total    int           `json:"total"`    // how many there are, shown or not
}

const (
	someSessions = 100   // are shown when nobody says ?limit=
	mostSessions = 1_000 // can be
)

// listSessions is GET /admin/sessions?host=&user=&limit=.
func (a *API) listSessions(c *call) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	q := c.r.URL.Query()
	limit := someSessions
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 0 || limit > mostSessions {
			return nil, refuse(http.StatusBadRequest, "limit is a number from 0 to %d", mostSessions)
		}
	}
	var hosts []*Host
	name := q.Get("user")
	local := ""
	switch {
	case name != "":
		u, err := a.resolve(c.grant, ch, name)
		if err != nil {
			return nil, refuse(http.StatusNotFound, "%.80q %v", name, err)
		}
		hosts, local = []*Host{u.host}, u.local
	case q.Get("host") != "" && ch.host == nil:
		return nil, refuse(http.StatusNotFound, "%.80q is no host of this server", ch.name)
	case q.Get("host") != "":
		hosts = []*Host{ch.host}
	default:
		for _, h := range a.hosts {
			if c.grant.allows(h) {
				hosts = append(hosts, h)
			}
		}
	}
	list := SessionList{Sessions: []SessionInfo{}}
	for _, h := range hosts {
		if h.Sessions != nil {
			list.Sessions = append(list.Sessions, h.Sessions.List(local)...)
		}
	}
	slices.SortFunc(list.Sessions, func(x, y SessionInfo) int { return strings.Compare(x.JID, y.JID) })
	list.Total = len(list.Sessions)
	list.Sessions = list.Sessions[:min(limit, list.Total)]
	return ok(list)
}

// endSession is DELETE /admin/sessions/{jid}.
func (a *API) endSession(c *call) (*reply, error) {
	j, err := jid.Parse(c.param)
	if err != nil || !j.IsFull() {
		return nil, refuse(http.StatusBadRequest, "%.80q is no full JID; write user@host/resource, as GET %s has it", c.param, sessionsPath)
	}
	h := a.hosts[j.Domain()]
	switch {
	case h == nil:
		return nil, refuse(http.StatusNotFound, "%.80q %v", c.param, errUnknownHost)
	case !c.grant.allows(h):
		return nil, refuse(http.StatusForbidden, "%.80q %v", c.param, errForbidden)
	}
	ctx, cancel := context.WithTimeout(a.ctx, bodyTime)
	defer cancel()
	if h.Sessions == nil || !h.Sessions.End(ctx, j.String()) {
		return nil, refuse(http.StatusNotFound, "there is no session %.80q", j.String())
	}
	job := a.newJob(c, "session ended")
	e := job.event(tally{names: 1}, "")
	e.Host, e.host, e.Users = h.Name, h, []string{j.String()}
	a.feed.publish(e)
	a.opts.Log.Info("session ended by an operator", "peer", job.peer, "by", job.by, "credential", job.credential, "jid", j.String())
	return ok(short{Status: "ok", Message: "session ended"})
}
