package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/internal/admin"
)

type rosterCmd struct {
	Refresh rosterRefreshCmd `cmd:"" help:"Tell the server that rosters have changed, as the application does."`
	Show    rosterShowCmd    `cmd:"" help:"Show a roster as the server has it."`
	Confirm rosterConfirmCmd `cmd:"" help:"Apply removals that are held because there are so many of them."`
}

// An apiAnswer is what a notification or write is answered with.
type apiAnswer struct {
	Status, Message string
	Updated, Errors int
	Users           map[string]userResult
}

type userResult struct {
	Result                  string
	Added, Removed, Changed int
	Error                   string
}

type rosterRefreshCmd struct {
	apiFlags
	Host   string   `help:"Host of names without one."`
	Detail bool     `help:"Print what came of it for each name."`
	Users  []string `arg:"" name:"user" help:"Names, or addresses user@host."`
}

func (c *rosterRefreshCmd) Run(env *environment) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	body, err := json.Marshal(c.Users)
	if err != nil {
		return err
	}
	var answer apiAnswer
	if err := api.do(env.ctx, http.MethodPost, "/roster_admin/refresh"+query(c.Host, c.Detail), body, &answer); err != nil {
		return err
	}
	if answer.Message == "" {
		return api.stranger()
	}
	if c.Detail {
		if err := printResults(env.stdout, answer.Users); err != nil {
			return err
		}
	}
	switch {
	case answer.Status != "ok":
		return fmt.Errorf("no roster is up to date: %s", answer.Message)
	case answer.Errors > 0 && c.Detail:
		return fmt.Errorf("%s up to date, %d failed", rosters(answer.Updated), answer.Errors)
	case answer.Errors > 0:
		return fmt.Errorf("%s up to date, %d failed; --detail or the server's log says why", rosters(answer.Updated), answer.Errors)
	}
	_, err = fmt.Fprintf(env.stdout, "%s up to date\n", rosters(answer.Updated))
	return err
}

// query is the query of a URL for names without a host.
func query(host string, detail bool) string {
	q := url.Values{}
	if host != "" {
		q.Set("host", host)
	}
	if detail {
		q.Set("detail", "1")
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// printResults writes a row for each name.
func printResults(w io.Writer, users map[string]userResult) error {
	rows := [][]string{{"NAME", "RESULT", "ADDED", "REMOVED", "CHANGED", ""}}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		rows = append(rows, []string{name, u.Result, fmt.Sprint(u.Added), fmt.Sprint(u.Removed), fmt.Sprint(u.Changed), u.Error})
	}
	var b strings.Builder
	writeTable(&b, rows, map[int]bool{2: true, 3: true, 4: true})
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}

func rosters(n int) string {
	if n == 1 {
		return "1 roster"
	}
	return fmt.Sprintf("%d rosters", n)
}

type rosterShowCmd struct {
	apiFlags
	Host string `help:"Host of a name without one."`
	JSON bool   `name:"json" help:"Print the server's answer as it is."`
	User string `arg:"" name:"user" help:"Name, or address user@host."`
}

func (c *rosterShowCmd) Run(env *environment) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	path := "/roster_admin/rosters/" + url.PathEscape(c.User) + query(c.Host, false)
	if c.JSON {
		return api.printJSON(env, path)
	}
	var v admin.RosterView
	if err := api.do(env.ctx, http.MethodGet, path, nil, &v); err != nil {
		return err
	}
	if v.Host == "" {
		return api.stranger()
	}
	return printRoster(env.stdout, v, time.Now())
}

// printRoster writes what is known of a roster, what is not as it should be, and a row for each contact.
func printRoster(w io.Writer, v admin.RosterView, now time.Time) error {
	var items map[string]struct {
		Name, Subscription, Ask string
		Groups                  []string
	}
	if err := json.Unmarshal(v.Items, &items); err != nil {
		return fmt.Errorf("the server's answer has no roster in it: %w", err)
	}
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(printable(fmt.Sprintf(format, args...)) + "\n") }
	presence := "offline"
	if v.Online {
		presence = "online"
	}
	line("%s@%s, %s, %s", v.User, v.Host, contacts(len(items)), presence)
	line("%s %s ago, version %s", sourceText(v.Source), roughly(now.Sub(v.AsOf)), v.Version)
	if v.Stale {
		line("stale: it is known to be out of date, and the service is to be asked again")
	}
	if v.LastError != "" {
		line("the last fetch failed: %s", v.LastError)
	}
	if h := v.Held; h != nil {
		line("held for %s: a newer one, which would remove %s (add %d, change %d); rollcall roster confirm applies it",
			roughly(now.Sub(h.Since)), contacts(h.Removed), h.Added, h.Changed)
		for _, contact := range h.RemovedContacts {
			line("  removes %s", contact)
		}
		if n := h.Removed - len(h.RemovedContacts); n > 0 {
			line("  and %d more", n)
		}
	}
	for _, d := range v.Dropped {
		if d.Warning {
			line("changed: %q %s", d.Key, d.Reason)
		} else {
			line("left out: %q %s", d.Key, d.Reason)
		}
	}
	if len(items) > 0 {
		rows := [][]string{{"CONTACT", "SUBSCRIPTION", "NAME", "GROUPS"}}
		for _, contact := range slices.Sorted(maps.Keys(items)) {
			i := items[contact]
			subscription := i.Subscription
			if subscription == "" {
				subscription = "both"
			}
			if i.Ask != "" {
				subscription += ", asked"
			}
			rows = append(rows, []string{contact, subscription, i.Name, strings.Join(i.Groups, ", ")})
		}
		b.WriteString("\n")
		writeTable(&b, rows, nil)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func sourceText(source string) string {
	switch source {
	case "fetch":
		return "fetched"
	case "put", "patch":
		return "told by " + strings.ToUpper(source)
	default:
		return "from the " + source + ", as of"
	}
}

func contacts(n int) string {
	if n == 1 {
		return "1 contact"
	}
	return fmt.Sprintf("%d contacts", n)
}

type rosterConfirmCmd struct {
	apiFlags
	Host string `help:"Host of a name without one."`
	User string `arg:"" name:"user" help:"Name, or address user@host."`
}

func (c *rosterConfirmCmd) Run(env *environment) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var answer apiAnswer
	path := "/roster_admin/rosters/" + url.PathEscape(c.User) + "/confirm" + query(c.Host, true)
	if err := api.do(env.ctx, http.MethodPost, path, nil, &answer); err != nil {
		return err
	}
	u, ok := answer.Users[c.User]
	if !ok {
		return api.stranger()
	}
	text := "nothing was held"
	if u.Result != string(admin.Unchanged) {
		text = fmt.Sprintf("%s removed, %d added, %d changed", contacts(u.Removed), u.Added, u.Changed)
	}
	_, err = fmt.Fprintln(env.stdout, text)
	return err
}
