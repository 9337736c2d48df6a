package main

import (
	"errors"
	"fmt"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/jid"
	"rollcall/internal/server"
)

type userTokenCmd struct {
	configFlag
	TTL time.Duration `name:"ttl" default:"2m" placeholder:"DURATION" help:"How long it may wait to be used: 1s to 1h."`
	addressArg
}

// Run makes a token in the database, which a server may have open.
func (c *userTokenCmd) Run(env *environment) error {
	if c.TTL < time.Second || c.TTL > auth.MaxTokenTime {
		return usage("--ttl is %v; allowed is 1s to 1h", c.TTL)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if cfg.DataDir == "" && cfg.Database.URL == "" {
		return cfg.KeyError("data_dir", errors.New(`is "", so the server would not see the token; name a folder`))
	}
	s, err := openAccounts(env, c.configFlag)
	if err != nil {
		return err
	}
	defer s.close(env)
	user, err := jid.Parse(c.Address)
	if err != nil || !user.IsBare() || user.Local() == "" {
		return usage("%q is no address; write user@%s", c.Address, cfg.Hosts[0].Name)
	}
	h, err := s.host(user.Domain())
	if err != nil {
		return err
	}
	if h.Auth.Method == config.AuthOpen {
		fmt.Fprintf(env.stderr, "rollcall: note: host %s has auth.method = \"open\", which takes any password\n", h.Name)
	}
	t, err := server.MakeToken(env.ctx, cfg, s.Store, user, c.TTL)
	if errors.Is(err, auth.ErrNoTokens) {
		return fmt.Errorf("host %s has auth.method = %q, so nobody signs in as a user of its own", h.Name, h.Auth.Method)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, t.Text)
	return err
}
