package server

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/authhttp"
	"rollcall/internal/config"
	"rollcall/internal/jwt"
	"rollcall/internal/metrics"
	"rollcall/internal/store"
)

// outside is what it takes to let users sign in whom somebody else knows.
type outside struct {
	store   *store.Store // nil: there is no database
	version string
	log     *slog.Logger
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	services *services // nil: nobody wants to know how they do
}

// watch gives what a client of a service calls for each request.
func (o outside) watch(service string) func(took time.Duration, err error) {
	if o.services == nil {
		return nil
	}
	return o.services.watch(service)
}

// http makes the method of a host whose application knows the passwords.
func (o outside) http(cfg *config.Config, i int) (auth.Method, error) {
	c := cfg.Hosts[i]
	client, err := authhttp.New(authhttp.Config{
		Host: c.Name, URL: c.Auth.HTTP.URL, Style: authhttp.Style(c.Auth.HTTP.Style), Credentials: string(c.Auth.HTTP.Credentials),
		Timeout: c.Auth.HTTP.Timeout, Concurrency: c.Auth.HTTP.Concurrency, Cache: c.Auth.HTTP.Cache,
		UserAgent: "rollcall/" + o.version, Dial: o.dial, Observe: o.watch(metrics.Auth),
	})
	if err != nil {
		return nil, cfg.KeyError(config.HostKey(i, "auth.url"), err)
	}
	if o.services != nil {
		o.services.breaks(metrics.Auth, client.Breaker)
	}
	if c.Auth.HTTP.SCRAM {
		return auth.Accounts{Source: client, Unbound: !c.Auth.ChannelBinding, Plain: c.Auth.Plain}, nil
	}
	return auth.Outside{Marks: true, Check: func(ctx context.Context, username, password string) (*auth.Lease, error) {
		right, err := client.Check(ctx, username, password)
		if err == nil && !right {
			err = auth.ErrWrong
		}
		return nil, err
	}}, nil
}

// maxKeyFile is more than some keys need.
const maxKeyFile = 1 << 20

// jwt makes the method of a host whose users show signed tokens.
func (o outside) jwt(cfg *config.Config, i int) (auth.Method, error) {
	c := cfg.Hosts[i]
	j := c.Auth.JWT
	v := jwt.Config{Host: c.Name, Secret: string(j.Secret), Algorithms: j.Algorithms, Issuer: j.Issuer, Audience: j.Audience,
		Claim: j.Claim, EndSessions: j.EndSessions}
	key, address := "auth.jwt.url", j.URL
	if j.Discovery {
		key, address = "auth.jwt.issuer", j.Issuer
	}
	var err error
	switch {
	case j.KeyFile != "":
		key = "auth.jwt.key_file"
		v.Keys, err = readKeys(j.KeyFile)
	case address != "" && j.Secret == "":
		v.Remote, err = jwt.NewRemote(address, j.Discovery, "rollcall/"+o.version, nil, o.dial)
	default:
		key = "auth.jwt.secret"
	}
	if err != nil {
		return nil, cfg.KeyError(config.HostKey(i, key), err)
	}
	if v.Remote != nil {
		v.Remote.Observe = o.watch(metrics.Keys)
	}
	verifier, err := jwt.New(v)
	if err != nil {
		return nil, cfg.KeyError(config.HostKey(i, key), err)
	}
	return auth.Outside{
		Bearer: verifier.Verify,
		Check: func(ctx context.Context, username, password string) (*auth.Lease, error) {
			whose, lease, err := verifier.Verify(ctx, password)
			if err == nil && whose != username {
				err = auth.Wrong("it is another user's")
			}
			return lease, err
		},
	}, nil
}

func readKeys(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxKeyFile) {
		err = os.ErrInvalid
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
