package conformance

import (
	"context"
	"fmt"
	"net/http"

	"rollcall/rosterapi"
)

// cases are all of them, in the order in which they are run. Each looks at one answer; those that look at the same one
// follow each other.
var cases = []struct {
	id, section, title string
	check              func(*run) verdict
}{
	{"reach", "1", "The service can be reached and answers", (*run).reach},
	{"time", "1", "The answer is whole within roster.timeout", (*run).time},
	{"status", "1", "A user's contacts are answered with 200, or 204 when there are none", (*run).status},
	{"type", "1", "The answer says that it is JSON", (*run).contentType},
	{"encoding", "1", "The answer is not compressed, or with gzip", (*run).encoding},
	{"document", "1", "The answer is strict JSON, an object, and within the limits", (*run).document},
	{"contacts", "1", "Every contact can be taken as it is", (*run).contacts},
	{"wrapper", "1", "The object has the contacts themselves", (*run).wrapper},
	{"members", "1", "What is known of a contact has the names that rollcall looks for", (*run).members},
	{"host", "1", "Contacts are at the users' own host", (*run).host},
	{"cache-control", "1", "What Cache-Control says is usable", (*run).cacheControl},
	{"same", "1", "Asked again, the service answers the same", (*run).same},
	{"if-none-match", "1", "A roster that did not change is answered with 304", (*run).ifNoneMatch},
	{"if-none-match-other", "1", "Another ETag is answered with the roster", (*run).otherETag},
	{"token-none", "1", "Without the token nothing is given", (*run).tokenNone},
	{"token-wrong", "1", "With a wrong token nothing is given", (*run).tokenWrong},
	{"unknown", "1", "A user whom nobody knows is answered with 404, or an empty roster", (*run).unknownUser},
	{"name-accent", "1", "A user may be called é", odd("é", true)},
	{"name-percent", "1", "A user may be called 50%", odd("50%", true)},
	{"name-question", "1", "A user may be called a?b#c", odd("a?b#c", true)},
	{"name-twice", "1", "What is percent-encoded is decoded once", (*run).decodedTwice},
	{"name-slash", "1", "a/b is one name and not two steps of a path", odd("a/b", false)},
	{"name-dots", "1", "../admin is a name and leads nowhere", odd("../admin", false)},
	{"batch", "4", "A batch is answered with a roster for each user", (*run).batch},
	{"batch-same", "4", "A batch has the roster that a fetch has", (*run).batchSame},
	{"batch-unknown", "4", "In a batch an unknown user costs the others nothing", (*run).batchUnknown},
	{"batch-etags", "4", "In a batch a roster that did not change is answered with true", (*run).batchETags},
	{"batch-etags-other", "4", "In a batch another ETag is answered with the roster", (*run).batchOtherETag},
	{"batch-size", "4", "A batch may name 100 users", (*run).batchSize},
}

// A run is the state of going through the cases.
type run struct {
	cfg       Config
	ctx       context.Context
	transport http.RoundTripper

	main    *answer          // for Config.User
	roster  rosterapi.Roster // of main; nil when it has none that can be used
	dropped []rosterapi.Dropped

	nobody *answer          // for Config.Unknown
	many   *answer          // of the batch
	shares map[string]share // in it
}

// A verdict is what a case comes to.
type verdict struct {
	status Status
	hint   string
	answer *answer // that it is about; nil for none
}

func pass(a *answer) verdict { return verdict{Pass, "", a} }

func warn(a *answer, format string, args ...any) verdict {
	return verdict{Warn, fmt.Sprintf(format, args...), a}
}

func fail(a *answer, format string, args ...any) verdict {
	return verdict{Fail, fmt.Sprintf(format, args...), a}
}

// skip is for what does not concern this service.
func skip(a *answer, format string, args ...any) verdict {
	return verdict{Skip, fmt.Sprintf(format, args...), a}
}

// noRoster is for cases that need the user's roster.
func (r *run) noRoster() verdict {
	return skip(nil, "not looked at: there is no usable roster of %s, see above", r.cfg.User)
}

// about makes the ordinary request for the user, once, and takes what a client would get of it.
func (r *run) about() *answer {
	if r.main != nil {
		return r.main
	}
	r.main = r.ask(question{user: r.cfg.User})
	if roster, dropped, ok := r.take(r.main, r.cfg.User); ok {
		r.roster, r.dropped = roster, dropped
	}
	return r.main
}

// take reads an answer as rollcall does: false when it has no roster that can be used.
func (r *run) take(a *answer, user string) (rosterapi.Roster, []rosterapi.Dropped, bool) {
	switch {
	case a.err != nil || a.took > r.cfg.Timeout:
		return nil, nil, false
	case a.status == http.StatusNoContent:
		return rosterapi.Roster{}, nil, true
	case a.status != http.StatusOK || a.large || typeOf(a) == typeWrong || codingFault(a) != "":
		return nil, nil, false
	}
	roster, dropped, err := rosterapi.Decode(a.body, user+"@"+r.cfg.Host)
	if err != nil && user != r.cfg.User {
		// Names that no user can have are asked for as well.
		roster, dropped, err = rosterapi.Decode(a.body, "")
	}
	return roster, dropped, err == nil
}

// reached says whether anybody answers at all; the cases about other requests need it.
func (r *run) reached() bool { return r.about().err == nil || r.about().cut }

func (r *run) reach() verdict {
	a := r.about()
	if r.reached() {
		return pass(a)
	}
	return fail(a, "%s", unreachable(a, r.cfg))
}

func (r *run) time() verdict {
	a := r.about()
	limit := shortly(r.cfg.Timeout)
	switch {
	case a.err == errSlow:
		return fail(a, "no whole answer came in %s; rollcall gives up after %s", shortly(a.took), limit)
	case a.err != nil && !a.cut:
		return skip(nil, "not looked at: no answer came")
	case a.took > r.cfg.Timeout:
		return fail(a, "the answer took %s, rollcall gives up after %s: make it faster, or raise roster.timeout", shortly(a.took), limit)
	case a.err != nil:
		return fail(a, "the answer began and was not whole (%v): a Content-Length that is too large, or the service ended meanwhile", a.err)
	case a.took > r.cfg.Timeout/2:
		return warn(a, "the answer took %s, more than half of what rollcall waits for: under load it may become too slow", shortly(a.took))
	}
	return pass(a)
}

func (r *run) status() verdict {
	a := r.about()
	switch {
	case a.status == 0:
		return skip(nil, "not looked at: no answer came")
	case a.status == http.StatusOK || a.status == http.StatusNoContent:
		return pass(a)
	}
	return fail(a, "%s", statusHint(a, r.cfg))
}

func (r *run) contentType() verdict {
	a := r.about()
	if a.status != http.StatusOK {
		return skip(nil, "not looked at: only an answer with status 200 has a document")
	}
	shown := excerpt(a.header.Get("Content-Type"))
	switch typeOf(a) {
	case typeJSON:
		return pass(a)
	case typeTolerated:
		if shown == "" {
			shown = "not said"
		}
		return warn(a, "Content-Type is %s: rollcall takes that for the sake of older services; send application/json", shown)
	}
	return fail(a, "%s", typeHint(a, shown))
}

func (r *run) encoding() verdict {
	a := r.about()
	if a.status != http.StatusOK {
		return skip(nil, "not looked at: only an answer with status 200 has a document")
	}
	if why := codingFault(a); why != "" {
		return fail(a, "%s", why)
	}
	return pass(a)
}
