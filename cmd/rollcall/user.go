package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/jid"
	"rollcall/internal/server"
	"rollcall/internal/store"
)

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Make an account. Asks for the password, or reads it from standard input."`
	Passwd  userPasswdCmd  `cmd:"" help:"Set another password."`
	Remove  userRemoveCmd  `cmd:"" help:"Remove an account."`
	Disable userDisableCmd `cmd:"" help:"Keep a user out; nothing is lost."`
	Enable  userEnableCmd  `cmd:"" help:"Let a user in again."`
	Role    userRoleCmd    `cmd:"" help:"Show or set what a user may do from a chat client: admin administers the host, user does not."`
	List    userListCmd    `cmd:"" help:"List accounts, one address a line."`
	Import  userImportCmd  `cmd:"" help:"Take accounts, and what belongs to them, from another server: CSV, or XML (XEP-0227)."`
	Export  userExportCmd  `cmd:"" help:"Write accounts, with keys and without passwords, for another server."`
	Token   userTokenCmd   `cmd:"" help:"Print a token with which a user, who need not have an account, can sign in once."`
}

type passwordFlag struct {
	PasswordStdin bool `help:"Read the password from standard input, on one line, even from a terminal."`
}

type addressArg struct {
	Address string `arg:"" name:"user@host" help:"Address of the account."`
}

type userAddCmd struct {
	configFlag
	passwordFlag
	addressArg
}

func (c *userAddCmd) Run(env *environment) error {
	return c.setPassword(env, c.configFlag, c.passwordFlag, "added", (*accountStore).add)
}

type userPasswdCmd struct {
	configFlag
	passwordFlag
	addressArg
}

func (c *userPasswdCmd) Run(env *environment) error {
	return c.setPassword(env, c.configFlag, c.passwordFlag, "has another password", (*accountStore).set)
}

type userRemoveCmd struct {
	configFlag
	addressArg
}

func (c *userRemoveCmd) Run(env *environment) error {
	return c.with(env, c.configFlag, func(s *accountStore, user jid.JID) error {
		if err := s.RemoveAccount(env.ctx, user.Domain(), user.Local()); err != nil {
			return accountError(user, err)
		}
		fmt.Fprintf(env.stdout, "%s removed; clients that are signed in stay so until they disconnect\n", user)
		return nil
	})
}

type userDisableCmd struct {
	configFlag
	addressArg
}

func (c *userDisableCmd) Run(env *environment) error {
	return c.setDisabled(env, c.configFlag, true, "is disabled; clients that are signed in stay so until they disconnect, unless you use the HTTP API")
}

type userEnableCmd struct {
	configFlag
	addressArg
}

func (c *userEnableCmd) Run(env *environment) error {
	return c.setDisabled(env, c.configFlag, false, "is enabled")
}

func (c addressArg) setDisabled(env *environment, f configFlag, disabled bool, done string) error {
	return c.with(env, f, func(s *accountStore, user jid.JID) error {
		if err := s.SetDisabled(env.ctx, user.Domain(), user.Local(), disabled); err != nil {
			return accountError(user, err)
		}
		fmt.Fprintf(env.stdout, "%s %s\n", user, done)
		return nil
	})
}

type userRoleCmd struct {
	configFlag
	addressArg
	Role string `arg:"" optional:"" help:"user or admin; without it the role is shown."`
}

func (c *userRoleCmd) Run(env *environment) error {
	if c.Role != "" && !store.Role(c.Role).Known() {
		return usage("%q is no role; it is %s or %s", c.Role, store.RoleAdmin, store.RoleUser)
	}
	return c.with(env, c.configFlag, func(s *accountStore, user jid.JID) error { return c.of(env, s, user) })
}

func (c *userRoleCmd) of(env *environment, s *accountStore, user jid.JID) error {
	h, err := s.host(user.Domain())
	if err != nil {
		return err
	}
	if c.Role != "" {
		err = s.SetRole(env.ctx, user.Domain(), user.Local(), store.Role(c.Role))
	}
	a, readErr := s.Account(env.ctx, user.Domain(), user.Local())
	if err = errors.Join(err, readErr); err != nil {
		return accountError(user, err)
	}
	what := "is no administrator"
	switch {
	case a.Role == store.RoleAdmin:
		what = "administers " + h.Name
	case slices.Contains(h.Admins, a.Username):
		what = "administers " + h.Name + " by its key admins, whatever the account says"
	}
	_, err = fmt.Fprintf(env.stdout, "%s %s\n", user, what)
	return err
}

type userListCmd struct {
	configFlag
	Long bool   `short:"l" help:"With the times when the account was made and its password last set, whether it is disabled, and whether its user is an administrator."`
	Host string `arg:"" optional:"" help:"Only of this host."`
}

func (c *userListCmd) Run(env *environment) error {
	s, err := openAccounts(env, c.configFlag)
	if err != nil {
		return err
	}
	defer s.close(env)
	hosts := s.cfg.Hosts
	if c.Host != "" {
		h, err := s.host(c.Host)
		if err != nil {
			return err
		}
		hosts = []config.Host{*h}
	}
	for _, h := range hosts {
		for a, err := range s.Accounts(env.ctx, h.Name) {
			if err != nil {
				return err
			}
			line := a.Username + "@" + a.Host
			if c.Long {
				line = fmt.Sprintf("%-40s %s %s", line, a.Created.Format("2006-01-02T15:04:05Z"), a.Changed.Format("2006-01-02T15:04:05Z"))
				if a.Disabled {
					line += " disabled"
				}
				if a.Role == store.RoleAdmin || slices.Contains(h.Admins, a.Username) {
					line += " admin"
				}
			}
			if _, err := fmt.Fprintln(env.stdout, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// setPassword is what add and passwd have in common.
func (c addressArg) setPassword(env *environment, f configFlag, p passwordFlag, done string,
	write func(*accountStore, *environment, jid.JID, store.Credentials) error) error {
	return c.with(env, f, func(s *accountStore, user jid.JID) error {
		return writePassword(env, s, user, p, done, write)
	})
}

func writePassword(env *environment, s *accountStore, user jid.JID, p passwordFlag, done string,
	write func(*accountStore, *environment, jid.JID, store.Credentials) error) error {
	password, err := readPassword(env, p.PasswordStdin)
	if err != nil {
		return err
	}
	h, err := s.host(user.Domain())
	if err != nil {
		return err
	}
	var keys auth.Credentials
	if err = auth.CheckPassword(password, h.Auth.PasswordMin); err == nil {
		keys, err = auth.MakeCredentialsWith(password, h.Auth.Iterations)
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "auth: "))
	}
	if err := write(s, env, user, store.Credentials{SHA1: store.Keys(keys.SHA1), SHA256: store.Keys(keys.SHA256)}); err != nil {
		return accountError(user, err)
	}
	fmt.Fprintf(env.stdout, "%s %s\n", user, done)
	return nil
}

// An accountStore is the database of a configuration, opened by a command. A server may have it open too.
type accountStore struct {
	*store.Store
	cfg  *config.Config
	file string
}

func openAccounts(env *environment, f configFlag) (*accountStore, error) {
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	if cfg.DataDir == "" && cfg.Database.URL == "" {
		return nil, cfg.KeyError("data_dir", errors.New(`is "", so accounts would be gone when this command ends; name a folder`))
	}
	s, err := server.OpenStore(env.ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &accountStore{s, cfg, f.Config}, nil
}

// with does something about the account of an address, which may not exist.
func (c addressArg) with(env *environment, f configFlag, work func(s *accountStore, user jid.JID) error) error {
	s, err := openAccounts(env, f)
	if err != nil {
		return err
	}
	defer s.close(env)
	user, err := s.address(env, c.Address)
	if err != nil {
		return err
	}
	return work(s, user)
}

func (s *accountStore) close(env *environment) {
	if err := s.Close(); err != nil {
		report(env.stderr, err)
	}
}

func (s *accountStore) add(env *environment, user jid.JID, c store.Credentials) error {
	return s.AddAccount(env.ctx, user.Domain(), user.Local(), c)
}

func (s *accountStore) set(env *environment, user jid.JID, c store.Credentials) error {
	return s.SetCredentials(env.ctx, user.Domain(), user.Local(), c)
}

// address checks that an account may have this address.
func (s *accountStore) address(env *environment, text string) (jid.JID, error) {
	if !strings.Contains(text, "@") {
		return jid.JID{}, usage("%q is no address; write %s@%s", text, text, s.cfg.Hosts[0].Name)
	}
	user, err := jid.Parse(text)
	if err != nil {
		return jid.JID{}, usageError{err}
	}
	if !user.IsBare() {
		return jid.JID{}, usage("%q has a resource; an account's address is user@host", text)
	}
	h, err := s.host(user.Domain())
	if err != nil {
		return jid.JID{}, err
	}
	if h.Auth.Method != config.AuthAccounts {
		fmt.Fprintf(env.stderr, "rollcall: note: host %s has auth.method = %q, which does not look at accounts\n", h.Name, h.Auth.Method)
	}
	return user, nil
}

func (s *accountStore) host(name string) (*config.Host, error) {
	canonical, err := jid.Domainpart(name)
	if err != nil {
		return nil, usageError{err}
	}
	if h := s.cfg.Host(canonical); h != nil {
		return h, nil
	}
	var names []string
	for _, h := range s.cfg.Hosts {
		names = append(names, h.Name)
	}
	return nil, usage("%s has no host %q, only %s", s.file, canonical, strings.Join(names, ", "))
}

// accountError says in a few words what is usual, and leaves the rest as it is.
func accountError(user jid.JID, err error) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%s exists already; rollcall user passwd sets another password", user)
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no account %s; rollcall user list shows those there are", user)
	default:
		return err
	}
}
