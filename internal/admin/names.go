package admin

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"rollcall/internal/jid"
)

const example = `; send an array of usernames such as ["john", "aaron"]`

// readNames reads the body of a notification: strict JSON (RFC 8259, bad UTF-8 refused), an array of strings.
func readNames(c *call) ([]string, error) {
	body, done, err := openBody(c, maxBody)
	if err != nil {
		return nil, err
	}
	names, err := decodeNames(body)
	if err == nil {
		done()
	}
	return names, err
}

func decodeNames(body io.Reader) ([]string, error) {
	dec := jsontext.NewDecoder(body)
	switch kind := dec.PeekKind(); kind {
	case '[':
	case jsontext.KindInvalid:
		_, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil, refuse(http.StatusBadRequest, "the body is missing%s", example)
		}
		return nil, badBody(err, example)
	default:
		return nil, refuse(http.StatusBadRequest, "the body is %s%s", describe(kind), example)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, badBody(err, example)
	}
	var names []string
	for dec.PeekKind() != ']' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, badBody(err, example)
		}
		if tok.Kind() != '"' {
			return nil, refuse(http.StatusBadRequest, "element %d of the array is %s, not a string%s", len(names)+1, describe(tok.Kind()), example)
		}
		if len(names) == maxNames {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the array has more than %d names; send them in several requests", maxNames)
		}
		names = append(names, tok.String())
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, badBody(err, example)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		if err == nil {
			return nil, refuse(http.StatusBadRequest, "something follows the array%s", example)
		}
		return nil, badBody(err, example)
	}
	return names, nil
}

// A choice is the host of names that do not say theirs.
type choice struct {
	host *Host  // nil when there is none
	name string // what ?host= asked for, when that is no host of ours
}

// chooseHost: "the host is that of ?host=, else that of the HTTP Host header when it is one of ours, else the only
// host, else 400" (section 2). The 400 is left to the first name that needs the choice.
func (a *API) chooseHost(r *http.Request) (choice, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["host"]) > 1 {
		return choice{}, refuse(http.StatusBadRequest, "the query of the URL is no good; write ?host=DOMAIN once")
	}
	if asked := query.Get("host"); asked != "" {
		if name, err := jid.Domainpart(asked); err == nil && a.hosts[name] != nil {
			return choice{host: a.hosts[name]}, nil
		}
		return choice{name: asked}, nil
	}
	if h := a.hosts[hostOf(r)]; h != nil {
		return choice{host: h}, nil
	}
	if len(a.opts.Hosts) == 1 {
		return choice{host: &a.opts.Hosts[0]}, nil
	}
	return choice{}, nil
}

// A user is whom a name means.
type user struct {
	host  *Host
	local string // canonical localpart
}

var (
	errBadName     = errors.New("cannot be a user's name")
	errUnknownHost = errors.New("is of a host that is not served here")
	errForbidden   = errors.New("is of a host for which the credential is not valid")
	errNoChoice    = errors.New("does not say its host")
)

// resolve finds out whom a name means: a localpart at the chosen host, or a bare JID. Its error is one of those above.
func (a *API) resolve(g grant, c choice, name string) (user, error) {
	host, local := c.host, name
	if strings.Contains(name, "@") {
		j, err := jid.Parse(name)
		if err != nil || !j.IsBare() {
			return user{}, errBadName
		}
		host, local = a.hosts[j.Domain()], j.Local()
	} else {
		canonical, err := jid.Localpart(name)
		switch {
		case host == nil && c.name == "":
			return user{}, errNoChoice
		case err != nil && host != nil:
			return user{}, errBadName
		}
		local = canonical
	}
	switch {
	case host == nil:
		return user{}, errUnknownHost
	case !g.allows(host):
		return user{}, errForbidden
	}
	return user{host, local}, nil
}
