package check

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"rollcall/rosterapi"
	"rollcall/rosterapi/conformance"
)

// A printer writes for people. The first error of its writer stays.
type printer struct {
	out   io.Writer
	color bool
	err   error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}

// marks are how results are shown, of one width.
var marks = map[conformance.Status]struct{ text, color string }{
	conformance.Pass: {"ok  ", "\x1b[32m"},
	conformance.Warn: {"warn", "\x1b[33m"},
	conformance.Fail: {"FAIL", "\x1b[1;31m"},
	conformance.Skip: {"-   ", "\x1b[2m"},
}

// colored is text in a terminal's color.
func (p *printer) colored(color, text string) string {
	if !p.color {
		return text
	}
	return color + text + "\x1b[0m"
}

// report shows each request with the rules that were looked at in its answer, then what clients would see.
func (p *printer) report(r *conformance.Report) {
	asked, got := "", ""
	skipped := map[string][]string{} // the cases that had no answer to look at, by the reason
	for _, c := range r.Results {
		if c.Status == conformance.Skip && c.Asked == "" {
			skipped[c.Hint] = append(skipped[c.Hint], c.ID)
			continue
		}
		if c.Asked != "" && (c.Asked != asked || c.Got != got) {
			asked, got = c.Asked, c.Got
			p.printf("\n%s\n  %s\n", p.colored("\x1b[1m", printable(asked)), printable(got))
		}
		m := marks[c.Status]
		p.printf("  %s  %-20s %s\n", p.colored(m.color, m.text), c.ID, c.Title)
		if c.Hint != "" {
			p.printf("        %s\n", printable(c.Hint))
		}
	}
	for _, c := range r.Results {
		if ids := skipped[c.Hint]; ids != nil {
			p.printf("\n%s\n  %s\n", p.colored(marks[conformance.Skip].color, "Skipped: "+strings.Join(ids, ", ")), printable(c.Hint))
			delete(skipped, c.Hint)
		}
	}
	p.printf("\n")
	if r.Roster == nil {
		p.printf("Clients of %s would see no contacts from this: rollcall would keep what it knew, if anything.\n", printable(r.User))
	} else {
		p.roster(r.User, r.Roster)
	}
	verdict := p.colored(marks[conformance.Pass].color, "Clients would get the right roster.")
	if !r.OK {
		verdict = p.colored(marks[conformance.Fail].color, "Clients would not get the right roster.")
	}
	p.printf("\n%d ok, %d warned of, %d failed, %d skipped. %s\n", r.Count(conformance.Pass), r.Count(conformance.Warn),
		r.Count(conformance.Fail), r.Count(conformance.Skip), verdict)
}

// shown is how many contacts are printed; --json has all.
const shown = 100

// roster is a table, as a client would show it.
func (p *printer) roster(user string, roster rosterapi.Roster) {
	if len(roster) == 0 {
		p.printf("Clients of %s would see an empty list.\n", printable(user))
		return
	}
	p.printf("Clients of %s would see:\n\n", printable(user))
	rows := [][]string{{"CONTACT", "NAME", "GROUPS", "SUBSCRIPTION"}}
	addresses := slices.Sorted(maps.Keys(roster))
	for _, address := range addresses[:min(shown, len(addresses))] {
		item := roster[address]
		subscription := string(item.Subscription)
		if item.Ask {
			subscription += ", asked"
		}
		rows = append(rows, []string{address, item.Name, strings.Join(item.Groups, ", "), subscription})
	}
	p.table(rows)
	if n := len(addresses) - shown; n > 0 {
		p.printf("  and %d more\n", n)
	}
}

// table aligns columns.
func (p *printer) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			line += " " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1)
		}
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// printable replaces what a terminal could take for a command: most of this quotes what others sent.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '?'
		}
		return r
	}, s)
}
