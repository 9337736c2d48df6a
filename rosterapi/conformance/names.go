package conformance

import (
	"fmt"
	"net/http"
)

// unknown makes the request for nobody, once.
func (r *run) unknown() *answer {
	if r.nobody == nil {
		r.nobody = r.ask(question{user: r.cfg.Unknown})
	}
	return r.nobody
}

func (r *run) unknownUser() verdict {
	if r.about(); r.roster == nil {
		return r.noRoster()
	}
	a := r.unknown()
	roster, _, ok := r.take(a, r.cfg.Unknown)
	switch {
	case a.err != nil:
		return fail(a, "a user whom nobody knows gets no answer: to rollcall the service is down then. Answer 404")
	case a.status == http.StatusNotFound || ok && len(roster) == 0:
		return pass(a)
	case ok && len(r.roster) > 0 && sameRoster(roster, r.roster):
		return warn(a, "%s has the same contacts as %s: is the user's name in the URL looked at?", r.cfg.Unknown, r.cfg.User)
	case ok:
		return warn(a, "%s, whom nobody should know, has %s", r.cfg.Unknown, count(len(roster), "contact"))
	case a.status >= 500:
		return fail(a, "a user whom nobody knows makes the service fail: after five such answers in a row rollcall takes it for down and asks for nobody. Answer 404%s", a.says())
	}
	return warn(a, "a user whom nobody knows is answered with %s: rollcall keeps what it knew, as with every failure; 404 would be clear", statusText(a.status))
}

// odd makes a case of a name that is hard to carry in a URL. A name that real users cannot have is asked for by nobody
// but this check, so it may be refused.
func odd(name string, real bool) func(*run) verdict {
	return func(r *run) verdict {
		if r.about(); r.roster == nil {
			return r.noRoster()
		}
		a := r.ask(question{user: name})
		roster, _, ok := r.take(a, name)
		switch {
		case a.err != nil:
			return oddly(a, real, "the name %s, in the URL %s, gets no answer (%v): has the service crashed?", name, escape(name), a.err)
		case ok && len(r.roster) > 0 && sameRoster(roster, r.roster) && !r.sameForAll():
			return fail(a, "the name %s is answered with the contacts of %s", name, r.cfg.User)
		case ok || a.status == http.StatusNotFound:
			return pass(a)
		case a.status >= 500:
			return oddly(a, real, "the name %s, in the URL %s, makes the service fail%s", name, escape(name), a.says())
		case !real && (a.status == http.StatusBadRequest || a.status == http.StatusForbidden):
			return pass(a)
		case a.status >= 300 && a.status < 400:
			return warn(a, "the name %s is redirected to %q: something on the way tidies up paths; it should take %s as it is",
				name, excerpt(a.header.Get("Location")), escape(name))
		case a.status == http.StatusOK:
			return oddly(a, false, "the name %s is answered with something that is no roster: did %s lead to another page?", name, escape(name))
		}
		return warn(a, "the name %s is answered with %s: no matter if no user can be called so. Otherwise see to it that %s in the path is decoded once, after the path was split",
			name, statusText(a.status), escape(name))
	}
}

// oddly is a failure for a name that users may have, and a warning for others.
func oddly(a *answer, real bool, format string, args ...any) verdict {
	v := verdict{Warn, fmt.Sprintf(format, args...), a}
	if real {
		v.status = Fail
	}
	return v
}

// sameForAll says that the service does not look at names at all, which unknownUser has told.
func (r *run) sameForAll() bool {
	roster, _, ok := r.take(r.unknown(), r.cfg.Unknown)
	return ok && sameRoster(roster, r.roster)
}

// decodedTwice asks for a user whose name is the percent-encoded name of another: %6a%6f%68%6e is not john.
func (r *run) decodedTwice() verdict {
	if r.about(); len(r.roster) == 0 {
		return skip(nil, "not looked at: it takes a user who has contacts")
	}
	name := ""
	for i := range len(r.cfg.User) {
		name += fmt.Sprintf("%%%02x", r.cfg.User[i])
	}
	a := r.ask(question{user: name})
	roster, _, ok := r.take(a, name)
	switch {
	case ok && sameRoster(roster, r.roster) && !r.sameForAll():
		return fail(a, "the user %s is given the contacts of %s: the name in the URL is decoded twice", name, r.cfg.User)
	case a.err != nil:
		return fail(a, "the name %s gets no answer (%v)", name, a.err)
	case a.status >= 500:
		return fail(a, "the name %s makes the service fail%s", name, a.says())
	}
	return pass(a)
}
