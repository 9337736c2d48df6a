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
	if err := c.vouched(); err != nil {
		return nil, err
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

// vouched refuses who has shown no credential, for what signs in as any user.
func (c *call) vouched() error {
	if c.grant.by == byLoopback {
		return refuse(http.StatusForbidden,
			"who may call this is signed in as any user, so it needs a credential; set admin.token and send it as Authorization: Bearer TOKEN")
	}
	return nil
}

// readObject reads the body into v: strict JSON, without members that nobody knows.
func readObject(c *call, v any) error {
	body, err := readBody(c, maxPrebind)
	if err != nil {
		return err
	}
	var wrong *json.SemanticError
	switch err := json.Unmarshal(body, v, json.RejectUnknownMembers(true)); {
	case len(bytes.TrimSpace(body)) == 0:
		return refuse(http.StatusBadRequest, "the body is missing%s", examplePrebind)
	case errors.As(err, &wrong):
		return refuse(http.StatusBadRequest, "the body is not what it must be at %.80q%s", string(wrong.JSONPointer), examplePrebind)
	case err != nil:
		return badBody(err, examplePrebind)
	}
	return nil
}

// whose finds out whom a name means that came in a request for one user. Its error is a *refusal.
func (a *API) whose(c *call, ch choice, name string) (user, error) {
	u, err := a.resolve(c.grant, ch, name)
	switch {
	case err == nil:
		return u, nil
	case errors.Is(err, errForbidden):
		return u, refuse(http.StatusForbidden, "%.80q %v", name, err)
	case errors.Is(err, errBadName), errors.Is(err, errNoChoice):
		return u, refuse(http.StatusBadRequest, "%.80q %v", name, err)
	}
	return u, refuse(http.StatusNotFound, "%.80q %v", name, err)
}

func (a *API) readPrebind(c *call, ch choice) (u user, p Prebind, err error) {
	var b prebindBody
	if err = readObject(c, &b); err != nil {
		return u, p, err
	}
	if u, err = a.whose(c, ch, b.User); err != nil {
		return u, p, err
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
