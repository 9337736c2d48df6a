package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rollcall/internal/admin"
)

type statusCmd struct {
	apiFlags
	JSON bool `name:"json" help:"Print the server's answer as it is."`
}

func (c *statusCmd) Run(env *environment) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.JSON {
		return api.printJSON(env, "/admin/status")
	}
	var s admin.Status
	if err := api.do(env.ctx, http.MethodGet, "/admin/status", nil, &s); err != nil {
		return err
	}
	if s.Version == "" {
		return api.stranger()
	}
	return printStatus(env.stdout, s, time.Now())
}

// printStatus writes a head line and a row for each host.
func printStatus(w io.Writer, s admin.Status, now time.Time) error {
	state := "ready"
	if !s.Ready {
		state = "starting or stopping"
	}
	rows := [][]string{{"HOST", "USERS", "SESSIONS", "ROSTERS", "SERVICE"}}
	for _, h := range s.Hosts {
		rows = append(rows, []string{h.Host, fmt.Sprint(h.Users), fmt.Sprint(h.Sessions), rosterText(h.Rosters), serviceText(h.Service, now)})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rollcall %s, %s, up %s\n\n", printable(s.Version), state, roughly(now.Sub(s.Started)))
	writeTable(&b, rows, map[int]bool{1: true, 2: true})
	if more := details(s, now); len(more) > 1 {
		b.WriteString("\n")
		writeTable(&b, more, nil)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// details has a row for each part of a host that does something, and for the database.
func details(s admin.Status, now time.Time) [][]string {
	rows := [][]string{{"HOST", "WHAT", "HOW IT DOES"}}
	for _, h := range s.Hosts {
		if m := h.Messages; m != nil {
			rows = append(rows, []string{h.Host, "messages", messageText(*m)})
		}
		for _, name := range slices.Sorted(maps.Keys(h.Services)) {
			rows = append(rows, []string{h.Host, name, serviceText(h.Services[name], now)})
		}
	}
	if d := s.Database; d != nil {
		rows = append(rows, []string{"(all)", "database", databaseText(*d)})
	}
	return rows
}

func messageText(m admin.MessageStatus) string {
	text := fmt.Sprintf("%d stored", m.Stored)
	if m.Refused > 0 {
		text += fmt.Sprintf(", %d refused", m.Refused)
	}
	if m.Waiting > 0 {
		text += fmt.Sprintf("; %d wait for %d users", m.Waiting, m.Recipients)
	}
	if m.Archived > 0 {
		text += fmt.Sprintf("; %d in the archives of %d users", m.Archived, m.Archives)
	}
	return text
}

func databaseText(d admin.DatabaseStatus) string {
	text := fmt.Sprintf("%d writes in %d commits, %.1f ms each", d.Writes, d.Commits, d.MeanMillis)
	if d.Bytes > 0 {
		text += fmt.Sprintf("; it has %.1f MiB", float64(d.Bytes)/(1<<20))
	}
	if d.Failures > 0 {
		text += fmt.Sprintf("; %d commits failed", d.Failures)
	}
	if d.Failed > 0 {
		text += fmt.Sprintf("; %d writes given up", d.Failed)
	}
	if d.Queued > 0 {
		text += fmt.Sprintf("; %d wait (%d bytes)", d.Queued, d.QueuedBytes)
	}
	return text
}

// rosterText counts the rosters of users online, and names only what is not as it should be.
func rosterText(c admin.RosterCounts) string {
	text := fmt.Sprintf("%d known", c.Known)
	if c.Stale > 0 {
		text += fmt.Sprintf(", %d of them stale", c.Stale)
	}
	if c.Unknown > 0 {
		text += fmt.Sprintf(", %d unknown", c.Unknown)
	}
	if c.Held > 0 {
		text += fmt.Sprintf(", %d held (rollcall roster show says what)", c.Held)
	}
	return text
}

func serviceText(s admin.ServiceStatus, now time.Time) string {
	switch s.State {
	case "unasked":
		return "not asked yet"
	case "none":
		return "none: rosters are told"
	}
	text := s.State
	if s.Breaker != "" && s.Breaker != "closed" {
		text += " (breaker " + s.Breaker + ")"
	}
	if s.State != "ok" && !s.LastSuccess.IsZero() {
		text += ", last answer " + roughly(now.Sub(s.LastSuccess)) + " ago"
	}
	text += fmt.Sprintf("; %d requests", s.Fetches)
	if s.Failures > 0 {
		text += fmt.Sprintf(", %d failed", s.Failures)
	}
	if s.LastError != "" {
		text += "; " + s.LastError
	}
	return text
}

// roughly writes a duration in its two largest units.
func roughly(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// writeTable aligns columns, those of numbers to the right. The last one may be as long as it likes.
func writeTable(b *strings.Builder, rows [][]string, numbers map[int]bool) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = printable(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case numbers[i]:
				b.WriteString(space + cell + "  ")
			case i == len(row)-1:
				b.WriteString(cell + "\n")
			default:
				b.WriteString(cell + space + "  ")
			}
		}
	}
}
