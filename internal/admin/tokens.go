package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A Token signs its user in once, as a password does. It is the answer of POST /admin/tokens.
type Token struct {
	JID     string    `json:"jid"` // bare
	Text    string    `json:"token"`
	ID      string    `json:"id"` // to revoke it by; no secret
	Expires time.Time `json:"expires"`
}

// Revoked is how much was taken back.
type Revoked struct {
	Tokens   int `json:"tokens"`   // that nobody had used
	Sessions int `json:"sessions"` // that were opened with tokens, and have ended
}

// ErrNoTokens says that a host's users cannot have tokens.
var ErrNoTokens = errors.New("there are no tokens on this host: they need a data_dir or a database, and users who are not anonymous")

// How long a token may wait to be used, in seconds.
const (
	someTTL = 120
	mostTTL = 3600
)

type tokenBody struct {
	User string `json:"user"`
	TTL  *int   `json:"ttl"` // seconds
}

// makeToken is POST /admin/tokens. Whoever has a token is its user, so being on this machine is not enough.
func (a *API) makeToken(c *call) (*reply, error) {
	if err := c.vouched(); err != nil {
		return nil, err
	}
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	var b tokenBody
	if err := readObject(c, &b); err != nil {
		return nil, err
	}
	u, err := a.whose(c, ch, b.User)
	if err != nil {
		return nil, err
	}
	ttl, err := within("ttl", b.TTL, mostTTL)
	if err != nil {
		return nil, err
	}
	if ttl == 0 {
		ttl = someTTL
	}
	if u.host.MakeToken == nil {
		return nil, refuse(http.StatusNotFound, "%v", ErrNoTokens)
	}
	ctx, cancel := context.WithTimeout(a.ctx, prebindTime)
	defer cancel()
	t, err := u.host.MakeToken(ctx, u.local, time.Duration(ttl)*time.Second)
	if err != nil {
		return nil, a.tokenRefusal(ctx, err)
	}
	a.opts.Log.Info("token made", "peer", c.r.RemoteAddr, "by", c.grant.by, "credential", c.grant.name, "jid", t.JID, "id", t.ID, "expires", t.Expires)
	return ok(t)
}

// revokeTokens is DELETE /admin/tokens/{user}?id=.
func (a *API) revokeTokens(c *call) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	u, err := a.whose(c, ch, c.param)
	if err != nil {
		return nil, err
	}
	ids := c.r.URL.Query()["id"]
	switch {
	case len(ids) > 1 || len(ids) == 1 && (ids[0] == "" || len(ids[0]) > 64):
		return nil, refuse(http.StatusBadRequest, "id is that of one token, as POST %s has it; without it all of the user's are revoked", tokensPath)
	case len(ids) == 0:
		ids = []string{""}
	}
	if u.host.RevokeTokens == nil {
		return nil, refuse(http.StatusNotFound, "%v", ErrNoTokens)
	}
	ctx, cancel := context.WithTimeout(a.ctx, prebindTime)
	defer cancel()
	r, err := u.host.RevokeTokens(ctx, u.local, ids[0])
	if err != nil {
		return nil, a.tokenRefusal(ctx, err)
	}
	a.opts.Log.Info("tokens revoked", "peer", c.r.RemoteAddr, "by", c.grant.by, "credential", c.grant.name, "jid", u.local+"@"+u.host.Name,
		"id", ids[0], "tokens", r.Tokens, "sessions", r.Sessions)
	return ok(r)
}

// tokenRefusal says what to answer to an error of a Host's token functions.
func (a *API) tokenRefusal(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrNoTokens):
		return refuse(http.StatusNotFound, "%v", ErrNoTokens)
	case a.ctx.Err() != nil:
		return a.stopping()
	case errors.Is(err, ErrBusy), ctx.Err() != nil:
		return busy(ErrBusy.Error())
	}
	return fmt.Errorf("tokens: %w", err)
}
