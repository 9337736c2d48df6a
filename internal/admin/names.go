package admin

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"rollcall/internal/jid"
)

const example = `; send an array of usernames such as ["john", "aaron"]`

// readNames reads the body of a notification: strict JSON (RFC 8259, bad UTF-8 refused), an array of strings.
func readNames(w http.ResponseWriter, r *http.Request, arrived time.Time) ([]string, error) {
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, refuse(http.StatusUnsupportedMediaType, "the body is compressed (%s); send it as it is", enc)
	}
	// A test's ResponseWriter has no deadlines, and then needs none.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(arrived.Add(bodyTime))
	names, err := decodeNames(http.MaxBytesReader(w, r.Body, maxBody))
	_ = conn.SetReadDeadline(time.Time{})
	return names, err
}

func tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes; send the names in several requests", maxBody)
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
		return nil, badBody(err)
	default:
		return nil, refuse(http.StatusBadRequest, "the body is %s%s", describe(kind), example)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, badBody(err)
	}
	var names []string
	for dec.PeekKind() != ']' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, badBody(err)
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
		return nil, badBody(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		if err == nil {
			return nil, refuse(http.StatusBadRequest, "something follows the array%s", example)
		}
		return nil, badBody(err)
	}
	return names, nil
}

func badBody(err error) error {
	var large *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &large):
		return tooLarge()
	case errors.As(err, &network) && network.Timeout():
		return refuse(http.StatusRequestTimeout, "the body did not arrive within %v", bodyTime)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(http.StatusBadRequest, "the body is cut off%s", example)
	default:
		return refuse(http.StatusBadRequest, "the body is not JSON (%v)%s", err, example)
	}
}

func describe(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	default:
		return "an array"
	}
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
	errForbidden   = errors.New("is of a host for which the token is not valid")
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
