package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"rollcall/internal/jid"
)

const refreshPath = "/roster_admin/refresh"

// Limits of section 2.
const (
	maxBody  = 1 << 20
	maxNames = 10_000
)

// An answer is that of section 2.
type answer struct {
	code    int
	Status  string `json:"status"`
	Message string `json:"message"`
	Updated int    `json:"updated"`
	Errors  int    `json:"errors"`
}

func complete(n int) answer {
	return answer{code: http.StatusOK, Status: "ok", Message: "roster update complete", Updated: n}
}

// ServeHTTP takes a notification, has it acted on, and answers. Credentials are not looked at: there is nothing to be had
// here but a GET of what is being checked.
func (f *follower) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	names, text, code, fault := read(w, r)
	reply := make(chan answer, 1)
	n := notice{line: strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + text), names: names, fault: fault, reply: reply}
	a := answer{code: http.StatusServiceUnavailable, Status: "error", Message: "the check has ended"}
	select {
	case f.notices <- n:
		select {
		case a = <-reply:
		case <-f.done: // the answer may have come just before
			select {
			case a = <-reply:
			default:
			}
		}
	case <-f.done:
	case <-r.Context().Done():
		return
	}
	if code != 0 {
		a.code = code
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.code)
	_ = json.NewEncoder(w).Encode(a) // who hung up does not need it
}

// read finds the names in a request, and what is wrong with it otherwise, with the status for that.
func read(w http.ResponseWriter, r *http.Request) (names []string, text string, code int, fault string) {
	path := r.URL.EscapedPath()
	if one, ok := strings.CutPrefix(path, refreshPath+"/"); ok && r.Method == http.MethodGet && one != "" {
		name, err := url.PathUnescape(one)
		if err != nil {
			return nil, "", http.StatusBadRequest, "the name in the path has a stray %"
		}
		return []string{name}, "", 0, ""
	}
	switch {
	case path != refreshPath:
		return nil, "", http.StatusNotFound, "there is nothing at this path; notifications go to POST " + refreshPath
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return nil, "", http.StatusMethodNotAllowed, "use POST"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, "", http.StatusRequestEntityTooLarge, "the body has more than 1 MiB"
	case err != nil:
		return nil, "", http.StatusBadRequest, "the body is not whole"
	}
	text = abridged(string(body))
	if err := json.Unmarshal(body, &names); err != nil || names == nil {
		return nil, text, http.StatusBadRequest, `the body is no JSON array of names; send one such as ["john", "aaron"]`
	}
	if len(names) > maxNames {
		return nil, text, http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d names", maxNames)
	}
	return names, text, 0, ""
}

// abridged is the beginning of a body, on one line.
func abridged(s string) string {
	const most = 120
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// addressOf reads a name of a notification: a localpart, or a bare JID.
func addressOf(name, host string) (jid.JID, error) {
	if strings.Contains(name, "@") {
		return jid.Parse(name)
	}
	return jid.New(name, host, "")
}

func hostOf(o Options) string {
	if host, err := jid.Domainpart(o.Host); err == nil {
		return host
	}
	return "localhost"
}
