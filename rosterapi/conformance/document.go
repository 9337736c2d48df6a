package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"rollcall/rosterapi"
)

func (r *run) document() verdict {
	a := r.about()
	switch {
	case a.status == http.StatusNoContent && a.err == nil:
		return pass(a)
	case a.status != http.StatusOK:
		return skip(nil, "not looked at: only an answer with status 200 has a document")
	case a.err != nil:
		return skip(nil, "not looked at: the answer was not whole")
	case a.large:
		return fail(a, "the answer has more than %d MiB (roster.max_bytes)", maxBytes>>20)
	}
	_, _, err := rosterapi.Decode(a.body, r.cfg.User+"@"+r.cfg.Host)
	if err == nil {
		if len(a.body) > maxBytes/2 {
			return warn(a, "the document is more than half of what rollcall takes (roster.max_bytes, 4 MiB)")
		}
		return pass(a)
	}
	return fail(a, "%s", documentHint(a.body, strings.TrimPrefix(err.Error(), "rosterdoc: ")))
}

// documentHint is for a document that is refused whole; why is the reader's own reason.
func documentHint(b []byte, why string) string {
	trimmed := bytes.TrimSpace(b)
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return why + ": save what it is made from as UTF-8 without a mark"
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return "the document is UTF-16: JSON is UTF-8"
	case bytes.HasPrefix(trimmed, []byte("<")):
		if bytes.Contains(trimmed, []byte("Warning")) || bytes.Contains(trimmed, []byte("Notice")) {
			return "the answer begins with a message of PHP, as it seems, and not with JSON: " + excerpt(string(b))
		}
		return "the answer is HTML or XML and not JSON: " + excerpt(string(b))
	case bytes.HasPrefix(trimmed, []byte("[")):
		return why + `: make it {"marie@example.com": {"name": "Marie"}, …}`
	case strings.Contains(why, "duplicate"):
		return why + ": it is not clear which of the two counts; address each contact once"
	case strings.Contains(why, "invalid UTF-8"):
		return why + ": encode the text as UTF-8, not Latin-1"
	case bytes.HasPrefix(trimmed, []byte("{'")):
		return why + `: JSON has double quotes (in Python: json.dumps, not str)`
	}
	return why
}

// contacts looks at those that rollcall would leave out or change.
func (r *run) contacts() verdict {
	a := r.about()
	if r.roster == nil {
		return r.noRoster()
	}
	var lost, changed []string
	for _, d := range r.dropped {
		text := fmt.Sprintf("%s %s", excerpt(d.Key), d.Reason)
		if d.Warning {
			changed = append(changed, text)
		} else {
			lost = append(lost, text)
		}
	}
	switch {
	case len(lost) > 0:
		return fail(a, "clients will not see %s: %s", count(len(lost), "contact"), some(lost))
	case len(changed) > 0:
		return warn(a, "%s", some(changed))
	}
	return pass(a)
}

// some is the beginning of a list.
func some(list []string) string {
	const most = 5
	if len(list) > most {
		return strings.Join(list[:most], "; ") + fmt.Sprintf("; and %d more", len(list)-most)
	}
	return strings.Join(list, "; ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// mainForm is the document as an object of objects; false when it is a list, or none.
func (r *run) mainForm() (map[string]map[string]json.RawMessage, bool) {
	var raw map[string]json.RawMessage
	if r.roster == nil || json.Unmarshal(r.about().body, &raw) != nil {
		return nil, false
	}
	for _, list := range []string{"items", "roster"} {
		if bytes.HasPrefix(raw[list], []byte("[")) {
			return nil, false
		}
	}
	items := make(map[string]map[string]json.RawMessage, len(raw))
	for key, value := range raw {
		var item map[string]json.RawMessage
		if json.Unmarshal(value, &item) == nil {
			items[key] = item
		}
	}
	return items, true
}

// wrapper looks for {"data": {…}} and its like: to rollcall that is a contact at the domain "data".
func (r *run) wrapper() verdict {
	a := r.about()
	if r.roster == nil {
		return r.noRoster()
	}
	items, ok := r.mainForm()
	if !ok {
		return pass(a)
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		if strings.ContainsAny(key, "@.:") || key == r.cfg.Host {
			continue
		}
		for _, member := range items[key] {
			if bytes.HasPrefix(member, []byte("{")) {
				return fail(a, "%q is taken for the address of a contact: if the contacts are inside it, answer with what is inside alone", excerpt(key))
			}
		}
		return warn(a, "the contact %q has no @, so it is taken for a domain: a user is %s@%s", excerpt(key), excerpt(key), r.cfg.Host)
	}
	return pass(a)
}

// meant are members that look like one of ours.
var meant = map[string]string{
	"nick": "name", "nickname": "name", "displayname": "name", "fullname": "name", "label": "name", "title": "name",
	"group": "groups", "tags": "groups", "categories": "groups", "lists": "groups",
	"sub": "subscription", "subscribed": "subscription", "state": "subscription",
}

// members looks for names that are nearly ours. What is merely unknown is nobody's business.
func (r *run) members() verdict {
	a := r.about()
	if r.roster == nil {
		return r.noRoster()
	}
	items, _ := r.mainForm()
	for _, key := range slices.Sorted(maps.Keys(items)) {
		item := items[key]
		for _, member := range slices.Sorted(maps.Keys(item)) {
			plain := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(member))
			ours, known := meant[plain]
			if !known && member != plain && slices.Contains([]string{"name", "groups", "subscription", "ask"}, plain) {
				ours, known = plain, true
			}
			if _, has := item[ours]; known && !has {
				return warn(a, "%s has the member %q, which means nothing here: was it meant to be %q?", excerpt(key), excerpt(member), ours)
			}
		}
	}
	return pass(a)
}

// host warns when no contact could ever be online.
func (r *run) host() verdict {
	a := r.about()
	if r.roster == nil {
		return r.noRoster()
	}
	other := ""
	for _, address := range slices.Sorted(maps.Keys(r.roster)) {
		_, domain, _ := strings.Cut(address, "@")
		if domain == r.cfg.Host {
			return pass(a)
		}
		other = address
	}
	if other == "" {
		return pass(a)
	}
	return warn(a, "no contact is at %s (but for example %s): rollcall connects users of its own hosts with each other. If %[1]s is not your host, name it (--host)", r.cfg.Host, excerpt(other))
}

// sameRoster compares what two answers mean.
func sameRoster(a, b rosterapi.Roster) bool {
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(one, two)
}
