package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rollcall/internal/jid"
)

// This file holds what is asked of the keys about sign-in.

// algorithms are those of signatures (RFC 7518 section 3.1, RFC 8037); "none" is not among them.
var algorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func checkAlgorithm(s string) error {
	if !slices.Contains(algorithms, s) {
		return fmt.Errorf("has %q, which is no algorithm; allowed is one of %s%s", s, quoted(algorithms), didYouMean(s, algorithms))
	}
	return nil
}

// checkAnything is for secrets whose form is their owner's business.
func checkAnything(string) error { return nil }

// reservedNames are those of RFC 2142 that are not about mail alone, and others that people take for the operator's.
var reservedNames = []string{"abuse", "admin", "administrator", "hostmaster", "info", "noc", "operator", "postmaster", "root", "security",
	"server", "support", "system", "webmaster", "xmpp"}

func checkReserved(s string) error {
	switch local, err := jid.Localpart(s); {
	case err != nil:
		return fmt.Errorf("has %q, which cannot be a username: %w", s, err)
	case local != s:
		return fmt.Errorf("has %q; as a username that is %q", s, local)
	}
	return nil
}

// checkAdmin is for names of users of the host, without the host.
func checkAdmin(s string) error {
	if local, _, is := strings.Cut(s, "@"); is {
		return fmt.Errorf("has %q; write the name alone, %q: administrators are users of their own host", s, local)
	}
	return checkReserved(s)
}

// problems are those of the host that is number i.
func (a Auth) problems(i int) (ps []problem) {
	key := func(name string) string { return HostKey(i, name) }
	method := key("auth.method")
	if a.Registration && a.Method != AuthAccounts {
		ps = append(ps, problem{[]string{key("auth.registration"), method}, fmt.Errorf(
			`is true, but users have accounts here only with auth.method = "accounts", and it is %q`, a.Method)})
	}
	switch a.Method {
	case AuthHTTP:
		if a.HTTP.URL == "" {
			ps = append(ps, problem{[]string{method, key("auth.url")}, errors.New(
				`is "http", which needs auth.url, where your application is asked: "http://127.0.0.1:8000/auth"`)})
		}
		if a.HTTP.SCRAM && a.HTTP.Style == "basic" {
			ps = append(ps, problem{[]string{key("auth.scram"), key("auth.style")}, errors.New(
				`is true, but in the style "basic" your application gives no keys for SCRAM; use the style "mongooseim"`)})
		}
	case AuthJWT:
		var set int
		for _, one := range []bool{a.JWT.Secret != "", a.JWT.KeyFile != "", a.JWT.URL != "", a.JWT.Discovery} {
			if one {
				set++
			}
		}
		if set != 1 {
			ps = append(ps, problem{[]string{method, key("auth.jwt.secret"), key("auth.jwt.secret_file"), key("auth.jwt.secret_env"), key("auth.jwt.key_file"), key("auth.jwt.url"), key("auth.jwt.discovery")}, errors.New(
				`is "jwt", which needs one of auth.jwt.secret, auth.jwt.key_file, auth.jwt.url and auth.jwt.discovery`)})
		}
		if a.JWT.Discovery && a.JWT.Issuer == "" {
			ps = append(ps, problem{[]string{key("auth.jwt.discovery"), key("auth.jwt.issuer")}, errors.New(
				"needs auth.jwt.issuer, whose discovery document has the keys")})
		}
		if a.JWT.Claim == "" {
			ps = append(ps, problem{[]string{key("auth.jwt.claim"), method}, errors.New(`is ""; it is the claim that names the user, such as "sub"`)})
		}
	}
	return ps
}
