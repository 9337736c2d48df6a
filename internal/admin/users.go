package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// Users are the accounts of one host whose passwords the server knows. Its methods are called by any goroutine; users are canonical
// localparts.
type Users interface {
	// Users lists accounts in the order of their names, by byte: those behind a name, and limit at most.
	Users(ctx context.Context, after string, limit int) ([]UserInfo, error)
	// User is one of them. The error of this method and of the four last ones is ErrNoUser when there is none.
	User(ctx context.Context, user string) (UserInfo, error)
	// Create makes an account of a user with a role. The error is ErrUserExists, a *BadPassword, or a fault of ours.
	Create(ctx context.Context, user, password string, r Role) error
	// Password sets another one. What the old one has opened cannot be resumed. The error may be a *BadPassword.
	Password(ctx context.Context, user, password string) error
	// Disable says whether the user may not sign in; if so it ends the user's sessions.
	Disable(ctx context.Context, user string, disabled bool) error
	// Role gives the user a role, which counts from then on.
	Role(ctx context.Context, user string, r Role) error
	// Delete removes the account with all that is its own, and ends its sessions.
	Delete(ctx context.Context, user string) error
}

// A Role is what a user may do for others: RoleUser, nothing, or RoleAdmin.
type Role string

// The roles.
const (
	RoleUser  Role = "user"
	RoleAdmin Role = "admin"
)

// A UserInfo describes an account.
type UserInfo struct {
	JID             string    `json:"jid"` // bare
	User            string    `json:"user"`
	Created         time.Time `json:"created"`
	PasswordChanged time.Time `json:"password_changed"`
	Disabled        bool      `json:"disabled"`
	Role            Role      `json:"role"` // of the account; the configuration may name more administrators
}

// UserList is the answer of GET /admin/users.
type UserList struct {
	Users []UserInfo `json:"users"`
	// Next is what ?after= of the next page is; "" when there is none.
	Next string `json:"next,omitempty"`
}

// The errors of Users.
var (
	ErrNoUser     = errors.New("there is no such account")
	ErrUserExists = errors.New("there is such an account already")
)

// BadPassword says why a password cannot be one, without quoting it.
type BadPassword struct{ Reason string }

// Error implements error.
func (e *BadPassword) Error() string { return e.Reason }

const (
	someUsers   = 100   // are shown when nobody says ?limit=
	mostUsers   = 1_000 // can be
	maxUserBody = 4 << 10
	usersTime   = 10 * time.Second
)

// userBody is what POST and PATCH take.
type userBody struct {
	User     string  `json:"user"`
	Password *string `json:"password"`
	Disabled *bool   `json:"disabled"`
	Role     *Role   `json:"role"`
}

// role gives what a body says, RoleUser when it says nothing.
func (b userBody) role() (Role, error) {
	switch {
	case b.Role == nil:
		return RoleUser, nil
	case *b.Role != RoleUser && *b.Role != RoleAdmin:
		return "", refuse(http.StatusBadRequest, "role is %q or %q", RoleUser, RoleAdmin)
	}
	return *b.Role, nil
}

// usersOf finds a host's accounts. They are a matter of credentials even on the server's own machine: whoever sets a password is
// that user.
func (a *API) usersOf(c *call, h *Host) (Users, error) {
	switch {
	case c.grant.by == byLoopback:
		return nil, refuse(http.StatusForbidden,
			"who may call this can sign in as any user, so it needs a credential; set admin.token and send it as Authorization: Bearer TOKEN")
	case h.Users == nil:
		return nil, refuse(http.StatusNotFound, "the users of %s have no accounts here; see auth.method", h.Name)
	}
	return h.Users, nil
}

// listUsers is GET /admin/users?host=&after=&limit=.
func (a *API) listUsers(c *call) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	switch {
	case ch.host == nil && ch.name == "":
		return nil, refuse(http.StatusBadRequest, "say which host's: ?host=DOMAIN")
	case ch.host == nil:
		return nil, refuse(http.StatusNotFound, "%.80q is no host of this server", ch.name)
	case !c.grant.allows(ch.host):
		return nil, refuse(http.StatusForbidden, "%.80q %v", ch.host.Name, errForbidden)
	}
	users, err := a.usersOf(c, ch.host)
	if err != nil {
		return nil, err
	}
	q, limit := c.r.URL.Query(), someUsers
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > mostUsers {
			return nil, refuse(http.StatusBadRequest, "limit is a number from 1 to %d", mostUsers)
		}
	}
	ctx, cancel := context.WithTimeout(a.ctx, usersTime)
	defer cancel()
	page, err := users.Users(ctx, q.Get("after"), limit+1)
	if err != nil {
		return nil, a.userFailed(ctx, err)
	}
	list := UserList{Users: page[:min(len(page), limit)]}
	if len(page) > limit {
		list.Next = page[limit-1].User
	}
	if list.Users == nil {
		list.Users = []UserInfo{}
	}
	return ok(list)
}

// userAt finds the account that a request is about.
func (a *API) userAt(c *call, ch choice, name string) (user, Users, error) {
	u, err := a.resolve(c.grant, ch, name)
	if err != nil {
		status := http.StatusNotFound
		switch {
		case errors.Is(err, errForbidden):
			status = http.StatusForbidden
		case errors.Is(err, errBadName), errors.Is(err, errNoChoice):
			status = http.StatusBadRequest
		}
		return u, nil, refuse(status, "%.80q %v", name, err)
	}
	users, err := a.usersOf(c, u.host)
	return u, users, err
}

// showUser is GET /admin/users/{user}.
func (a *API) showUser(c *call) (*reply, error) {
	return a.withUser(c, "", func(ctx context.Context, users Users, local string, _ userBody) error { return nil })
}

// createUser is POST /admin/users.
func (a *API) createUser(c *call) (*reply, error) {
	rep, err := a.withUser(c, `; send an object such as {"user": "john", "password": "…"}`,
		func(ctx context.Context, users Users, local string, b userBody) error {
			if b.Password == nil || b.Disabled != nil {
				return refuse(http.StatusBadRequest, `send "user" and "password", and "role" if the user has one`)
			}
			r, err := b.role()
			if err != nil {
				return err
			}
			return users.Create(ctx, local, *b.Password, r)
		})
	if err == nil {
		rep.status = http.StatusCreated
	}
	return rep, err
}

// patchUser is PATCH /admin/users/{user}.
func (a *API) patchUser(c *call) (*reply, error) {
	return a.withUser(c, `; send an object such as {"disabled": true}, {"role": "admin"} or {"password": "…"}`,
		func(ctx context.Context, users Users, local string, b userBody) error {
			changes := 0
			for _, given := range []bool{b.Password != nil, b.Disabled != nil, b.Role != nil} {
				if given {
					changes++
				}
			}
			switch {
			case b.User != "" || changes != 1:
				return refuse(http.StatusBadRequest, `send either "password", "disabled" or "role"`)
			case b.Password != nil:
				return users.Password(ctx, local, *b.Password)
			case b.Disabled != nil:
				return users.Disable(ctx, local, *b.Disabled)
			}
			r, err := b.role()
			if err != nil {
				return err
			}
			return users.Role(ctx, local, r)
		})
}

// deleteUser is DELETE /admin/users/{user}.
func (a *API) deleteUser(c *call) (*reply, error) {
	rep, err := a.withUser(c, "", func(ctx context.Context, users Users, local string, _ userBody) error {
		return users.Delete(ctx, local)
	})
	if err == nil {
		rep = &reply{body: short{Status: "ok", Message: "removed " + c.param}}
	}
	return rep, err
}

// withUser does something about one account, and answers with what it then is. hint is for those requests that have a body.
func (a *API) withUser(c *call, hint string, do func(ctx context.Context, users Users, local string, b userBody) error) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	var b userBody
	if hint != "" {
		if b, err = readUser(c, hint); err != nil {
			return nil, err
		}
	}
	name := c.param
	if name == "" {
		name = b.User
	}
	u, users, err := a.userAt(c, ch, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, usersTime)
	defer cancel()
	if err := do(ctx, users, u.local, b); err != nil {
		return nil, a.userFailed(ctx, err)
	}
	if c.r.Method != http.MethodGet {
		a.opts.Log.Info("account changed", "peer", c.r.RemoteAddr, "by", c.grant.by, "credential", c.grant.name,
			"host", u.host.Name, "user", u.local, "method", c.r.Method, "password", b.Password != nil, "disabled", b.Disabled != nil && *b.Disabled, "role", string(value(b.Role)))
	}
	if c.r.Method == http.MethodDelete {
		return nil, nil
	}
	info, err := users.User(ctx, u.local)
	if err != nil {
		return nil, a.userFailed(ctx, err)
	}
	return ok(info)
}

// value gives what a pointer points to, "" when that is nothing.
func value(r *Role) Role {
	if r == nil {
		return ""
	}
	return *r
}

// readUser reads a body: strict JSON, without members that nobody knows.
func readUser(c *call, hint string) (b userBody, err error) {
	body, err := readBody(c, maxUserBody)
	if err != nil {
		return b, err
	}
	var wrong *json.SemanticError
	switch err := json.Unmarshal(body, &b, json.RejectUnknownMembers(true)); {
	case len(bytes.TrimSpace(body)) == 0:
		return b, refuse(http.StatusBadRequest, "the body is missing%s", hint)
	case errors.As(err, &wrong): // its text may quote what was sent
		return b, refuse(http.StatusBadRequest, "the body is not what it must be at %.80q%s", string(wrong.JSONPointer), hint)
	case err != nil:
		return b, badBody(err, hint)
	}
	return b, nil
}

// userFailed makes a refusal of an error of Users.
func (a *API) userFailed(ctx context.Context, err error) error {
	var no *refusal
	var bad *BadPassword
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, ErrNoUser):
		return refuse(http.StatusNotFound, "%v", ErrNoUser)
	case errors.Is(err, ErrUserExists):
		return refuse(http.StatusConflict, "%v", ErrUserExists)
	case errors.As(err, &bad):
		return refuse(http.StatusBadRequest, "%s", bad.Reason)
	case a.ctx.Err() != nil:
		return a.stopping()
	case ctx.Err() != nil:
		return busy(ErrBusy.Error())
	}
	return fmt.Errorf("accounts: %w", err)
}
