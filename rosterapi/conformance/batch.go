package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"rollcall/rosterapi"
)

// batchNames is rollcall's default for roster.batch_size.
const batchNames = 100

// A share is what a batch's answer has for one user.
type share struct {
	unchanged bool // it was true
	missing   bool // it was null
	roster    rosterapi.Roster
	err       error
}

// A bundle is a batch's answer, taken apart.
type bundle struct {
	shares map[string]share
	etags  map[string]string
}

// askMany makes a batch request; the error says, to a developer, why the answer is none.
func (r *run) askMany(note string, users []string, etags map[string]string) (*answer, bundle, error) {
	asked := map[string]any{"users": users}
	if etags != nil {
		asked["etags"] = etags
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, bundle{}, err
	}
	a := r.ask(question{batch: body, batchNote: note})
	b, err := r.unbundle(a)
	return a, b, err
}

func (r *run) unbundle(a *answer) (bundle, error) {
	b := bundle{shares: map[string]share{}}
	switch {
	case a.err != nil:
		return b, fmt.Errorf("%s", unreachable(a, r.cfg))
	case a.took > r.cfg.Timeout:
		return b, fmt.Errorf("the answer took %s, rollcall gives up after %s", shortly(a.took), shortly(r.cfg.Timeout))
	case a.status == http.StatusNotFound:
		return b, fmt.Errorf("your service answers 404: is this the path of the batch? A user who is not known is left out of the answer")
	case a.status == http.StatusRequestEntityTooLarge:
		return b, fmt.Errorf("your service answers 413: it wants fewer users at a time; lower roster.batch_size")
	case a.status != http.StatusOK:
		return b, fmt.Errorf("%s", statusHint(a, r.cfg))
	case typeOf(a) == typeWrong:
		return b, fmt.Errorf("%s", typeHint(a, excerpt(a.header.Get("Content-Type"))))
	case a.large:
		return b, fmt.Errorf("the answer has more than %d MiB", maxBytes>>20)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &members); err != nil || members == nil {
		return b, fmt.Errorf("the answer is no object of rosters: %s", excerpt(string(a.body)))
	}
	for user, document := range members {
		if user == "etags" && json.Unmarshal(document, &b.etags) == nil {
			continue
		}
		b.shares[user] = r.shareOf(user, document)
	}
	return b, nil
}

func (r *run) shareOf(user string, document json.RawMessage) share {
	switch string(bytes.TrimSpace(document)) {
	case "true":
		return share{unchanged: true}
	case "null":
		return share{missing: true}
	}
	roster, _, err := rosterapi.Decode(document, user+"@"+r.cfg.Host)
	return share{roster: roster, err: err}
}

func (r *run) noBatch() verdict {
	if r.cfg.BatchURL == "" {
		return skip(nil, "optional: no batch URL was given")
	}
	return skip(nil, "not looked at: the batch gave no roster of %s, see above", r.cfg.User)
}

// batch asks for the user and for nobody; the next two cases look at the same answer.
func (r *run) batch() verdict {
	if r.cfg.BatchURL == "" {
		return r.noBatch()
	}
	a, b, err := r.askMany(fmt.Sprintf("for %s and %s", r.cfg.User, r.cfg.Unknown), []string{r.cfg.User, r.cfg.Unknown}, nil)
	r.many = a
	if err != nil {
		return fail(a, "%v", err)
	}
	s, there := b.shares[r.cfg.User]
	switch {
	case !there || s.missing:
		return fail(a, "the answer has no roster of %s", r.cfg.User)
	case s.unchanged:
		return fail(a, "%s is answered with true (unchanged), though no ETag was sent", r.cfg.User)
	case s.err != nil:
		return fail(a, "the document of %s cannot be used: %v", r.cfg.User, s.err)
	}
	r.shares = b.shares
	for user := range b.shares {
		if user != r.cfg.User && user != r.cfg.Unknown {
			return warn(a, "the answer has %q, for whom nobody asked: rollcall does not look at it", excerpt(user))
		}
	}
	return pass(a)
}

func (r *run) batchSame() verdict {
	switch {
	case r.shares == nil:
		return r.noBatch()
	case r.roster == nil:
		return r.noRoster()
	case !sameRoster(r.shares[r.cfg.User].roster, r.roster):
		return fail(r.many, "the batch and %s have different contacts for %s", expand(r.cfg.URL, r.cfg.User, r.cfg.Host), r.cfg.User)
	}
	return pass(r.many)
}

func (r *run) batchUnknown() verdict {
	if r.shares == nil {
		return r.noBatch()
	}
	s, there := r.shares[r.cfg.Unknown]
	switch {
	case !there || s.missing || s.err == nil && len(s.roster) == 0 && !s.unchanged:
		return pass(r.many)
	case s.err != nil:
		return warn(r.many, "%s, whom nobody knows, is answered with something that is no roster: leave out users without one", r.cfg.Unknown)
	}
	return warn(r.many, "%s, whom nobody should know, has contacts", r.cfg.Unknown)
}

func (r *run) batchETags() verdict {
	if r.shares == nil {
		return r.noBatch()
	}
	b, err := r.unbundle(r.many)
	tag := b.etags[r.cfg.User]
	if err != nil || tag == "" {
		return skip(nil, "optional: the batch has no ETags")
	}
	a, b, err := r.askMany(fmt.Sprintf("for %s, with its ETag", r.cfg.User), []string{r.cfg.User}, map[string]string{r.cfg.User: tag})
	switch {
	case err != nil:
		return fail(a, "%v", err)
	case !b.shares[r.cfg.User].unchanged:
		return warn(a, "the batch gives ETags and does not look at those that are sent: answer true for %s", r.cfg.User)
	}
	return pass(a)
}

func (r *run) batchOtherETag() verdict {
	if r.shares == nil {
		return r.noBatch()
	}
	a, b, err := r.askMany(fmt.Sprintf("for %s, with another ETag", r.cfg.User), []string{r.cfg.User}, map[string]string{r.cfg.User: "rollcall-check"})
	s, there := b.shares[r.cfg.User]
	switch {
	case err != nil:
		return fail(a, "%v", err)
	case s.unchanged:
		return fail(a, "the service says that %s is unchanged since an ETag that it never gave: no change would ever arrive", r.cfg.User)
	case !there || s.missing || s.err != nil:
		return fail(a, "with an ETag the answer has no roster of %s", r.cfg.User)
	}
	return pass(a)
}

func (r *run) batchSize() verdict {
	if r.shares == nil {
		return r.noBatch()
	}
	users := []string{r.cfg.User}
	for i := range batchNames - 1 {
		users = append(users, fmt.Sprintf("%s-%d", r.cfg.Unknown, i))
	}
	a, b, err := r.askMany(fmt.Sprintf("for %d users", len(users)), users, nil)
	switch {
	case err != nil:
		return fail(a, "%v", err)
	case b.shares[r.cfg.User].roster == nil:
		return fail(a, "among %d users, %s is not answered", len(users), r.cfg.User)
	}
	return pass(a)
}
