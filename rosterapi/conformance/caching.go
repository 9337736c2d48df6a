package conformance

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxETag is how long an ETag may be for rollcall to keep it.
const maxETag = 512

// longCache is how long an answer may be used without asking before somebody might wonder about a lost notification.
const longCache = 24 * time.Hour

func (r *run) cacheControl() verdict {
	a := r.about()
	if r.roster == nil {
		return r.noRoster()
	}
	header := strings.Join(a.header.Values("Cache-Control"), ", ")
	for directive := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "max-age") {
			continue
		}
		n, err := strconv.ParseInt(strings.Trim(strings.TrimSpace(value), `"`), 10, 64)
		switch {
		case err != nil || n < 0:
			return warn(a, "Cache-Control has a max-age that is no number of seconds: it is not looked at")
		case n == 0:
			return warn(a, "Cache-Control says max-age=0: rollcall then asks each time that a user signs in or a client wants the roster; leave it out for 10 minutes (roster.max_age)")
		case n > int64(longCache/time.Second):
			return warn(a, "Cache-Control says max-age=%d, more than a day: so long nobody notices when a notification is lost", n)
		}
	}
	return pass(a)
}

func (r *run) same() verdict {
	if r.about(); r.roster == nil {
		return r.noRoster()
	}
	a := r.ask(question{user: r.cfg.User})
	again, _, ok := r.take(a, r.cfg.User)
	switch {
	case !ok:
		return fail(a, "the first time the service answered with a roster, the second time not")
	case !sameRoster(again, r.roster):
		return warn(a, "two answers in a row have different contacts: if nobody changed any meanwhile, clients will see contacts come and go")
	case r.main.header.Get("ETag") != a.header.Get("ETag"):
		return warn(a, "two answers in a row have the same contacts and different ETags (%s, %s): make it from the contacts alone, without time or chance",
			excerpt(r.main.header.Get("ETag")), excerpt(a.header.Get("ETag")))
	}
	return pass(a)
}

func (r *run) ifNoneMatch() verdict {
	if r.about(); r.roster == nil {
		return r.noRoster()
	}
	tag := r.main.header.Get("ETag")
	switch {
	case tag == "":
		return skip(nil, "optional: the answer has no ETag, so every question is answered with the whole roster")
	case len(tag) > maxETag:
		return warn(r.main, "the ETag has more than %d bytes: rollcall does not keep it", maxETag)
	}
	a := r.ask(question{user: r.cfg.User, etag: tag})
	switch {
	case a.err != nil:
		return fail(a, "a request with If-None-Match gets no answer (%v)", a.err)
	case a.status == http.StatusNotModified:
		return pass(a)
	case a.status == http.StatusOK || a.status == http.StatusNoContent:
		return warn(a, "an ETag is given but If-None-Match is not honoured: it works, and costs the whole roster each time. Compare the header with the ETag, with or without W/, and answer 304")
	}
	return fail(a, "a request with If-None-Match is answered with %s: answer 304, or as if it were not there", statusText(a.status))
}

// otherETag finds services that say 304 to everything: no change would ever arrive.
func (r *run) otherETag() verdict {
	if r.about(); r.roster == nil {
		return r.noRoster()
	}
	a := r.ask(question{user: r.cfg.User, etag: `"rollcall-check"`})
	_, _, ok := r.take(a, r.cfg.User)
	switch {
	case a.err == nil && a.status == http.StatusNotModified:
		return fail(a, "the service says that nothing has changed since an ETag that it never gave: no change would ever arrive. Compare the ETags")
	case !ok:
		return fail(a, "a request with If-None-Match is not answered with the roster")
	}
	return pass(a)
}

// open is a service that gives its contacts to whoever asks.
func (r *run) open(a *answer, without string) verdict {
	switch {
	case a.err != nil:
		return warn(a, "a request %s gets no answer (%v): answer 401", without, a.err)
	case a.status == http.StatusOK || a.status == http.StatusNoContent:
		return warn(a, "the service answers %s too: whoever reaches it can read everybody's contacts. Compare Authorization with the token, in constant time", without)
	case a.status != http.StatusUnauthorized && a.status != http.StatusForbidden:
		return warn(a, "a request %s is answered with %s: 401 would be clearer", without, statusText(a.status))
	}
	return pass(a)
}

func (r *run) tokenNone() verdict {
	switch {
	case !r.reached():
		return skip(nil, "not looked at: no answer came")
	case r.cfg.Token == "" && r.about().status != http.StatusOK && r.about().status != http.StatusNoContent:
		return skip(nil, "not looked at: no token was given")
	case r.cfg.Token == "":
		if u, err := url.Parse(r.main.url); err == nil && !isLoopback(u.Hostname()) {
			return warn(r.main, "the service answers whoever reaches it, without a token: unless a firewall or proxy stands before it, everybody's contacts are public (roster.token)")
		}
		return skip(nil, "optional: no token was given, so the service is open to whoever reaches it, which on this machine may be right")
	}
	return r.open(r.ask(question{user: r.cfg.User, other: true}), "without the token")
}

func (r *run) tokenWrong() verdict {
	switch {
	case !r.reached():
		return skip(nil, "not looked at: no answer came")
	case r.cfg.Token == "":
		return skip(nil, "optional: no token was given")
	}
	return r.open(r.ask(question{user: r.cfg.User, other: true, token: "rollcall-check-wrong"}), "with a wrong token")
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}
