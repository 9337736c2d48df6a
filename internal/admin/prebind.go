package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"rollcall/internal/jid"
)

// A Prebind asks for a BOSH session of a user, for a page to go on with. Zero values stand for what is usual.
type Prebind struct {
	User       string // canonical localpart
	Resource   string // canonical
	Wait, Hold int    // of XEP-0124: seconds from 1 to 120, and requests, 1 or 2
}

// Prebound is such a session, and the answer of POST /admin/prebind.
type Prebound struct {
	JID string `json:"jid"` // full
	SID string `json:"sid"`
	RID string `json:"rid"` // a number, in a string as Converse.js shows it; of the page's first request
}

// ErrSessions says that a user cannot have the session. It is wrapped: the whole text is the answer's message.
var ErrSessions = errors.New("the session is refused")

const (
	maxPrebind  = 4 << 10 // bytes of a body
	prebindTime = 10 * time.Second
	mostWait    = 120
	mostHold    = 2
)

const examplePrebind = `; send an object such as {"user": "john"}`

// prebindBody is what the caller sends.
type prebindBody struct {
	User     string `json:"user"`
	Resource string `json:"resource"`
	Wait     *int   `json:"wait"`
	Hold     *int   `json:"hold"`
}

// prebind is POST /admin/prebind. It signs in as anybody, so being on this machine is not enough.
func (a *API) prebind(c *call) (*reply, error) {
	if c.grant.by == byLoopback {
		return nil, refuse(http.StatusForbidden,
			"who may call this is signed in as any user, so it needs a credential; set admin.token and send it as Authorization: Bearer TOKEN")
	}
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	u, p, err := a.readPrebind(c, ch)
	if err != nil {
		return nil, err
	}
	if u.host.Prebind == nil {
		return nil, refuse(http.StatusNotFound, "there is no BOSH on this server")
	}
	ctx, cancel := context.WithTimeout(a.ctx, prebindTime)
	defer cancel()
	got, err := u.host.Prebind(ctx, p)
	switch {
	case errors.Is(err, ErrSessions):
		return nil, refuse(http.StatusConflict, "%v", err)
	case err != nil && a.ctx.Err() != nil:
		return nil, a.stopping()
	case errors.Is(err, ErrBusy), err != nil && ctx.Err() != nil:
		return nil, busy(ErrBusy.Error())
	case err != nil:
		return nil, fmt.Errorf("prebind: %w", err)
	}
	a.opts.Log.Info("session made ahead", "peer", c.r.RemoteAddr, "by", c.grant.by, "credential", c.grant.name, "jid", got.JID)
	return ok(got)
}

// readPrebind reads the body: strict JSON, without members that nobody knows.
func (a *API) readPrebind(c *call, ch choice) (u user, p Prebind, err error) {
	body, err := readBody(c, maxPrebind)
	if err != nil {
		return u, p, err
	}
	var b prebindBody
	var wrong *json.SemanticError
	switch err := json.Unmarshal(body, &b, json.RejectUnknownMembers(true)); {
	case len(bytes.TrimSpace(body)) == 0:
		return u, p, refuse(http.StatusBadRequest, "the body is missing%s", examplePrebind)
	case errors.As(err, &wrong):
		return u, p, refuse(http.StatusBadRequest, "the body is not what it must be at %.80q%s", string(wrong.JSONPointer), examplePrebind)
	case err != nil:
		return u, p, badBody(err, examplePrebind)
	}
	if u, err = a.resolve(c.grant, ch, b.User); err != nil {
		status := http.StatusNotFound
		switch {
		case errors.Is(err, errForbidden):
			status = http.StatusForbidden
		case errors.Is(err, errBadName), errors.Is(err, errNoChoice):
			status = http.StatusBadRequest
		}
		return u, p, refuse(status, "%.80q %v", b.User, err)
	}
	p.User = u.local
	if b.Resource != "" {
		full, err := jid.New(u.local, u.host.Name, b.Resource)
		if err != nil {
			return u, p, refuse(http.StatusBadRequest, "%.80q cannot be a resource", b.Resource)
		}
		p.Resource = full.Resource()
	}
	if p.Wait, err = within("wait", b.Wait, mostWait); err != nil {
		return u, p, err
	}
	p.Hold, err = within("hold", b.Hold, mostHold)
	return u, p, err
}

func within(name string, sent *int, most int) (int, error) {
	switch {
	case sent == nil:
		return 0, nil
	case *sent < 1 || *sent > most:
		return 0, refuse(http.StatusBadRequest, "%s is a number from 1 to %d", name, most)
	}
	return *sent, nil
}
