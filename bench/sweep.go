package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rollcall/bench/client"
	"rollcall/bench/measure"
	"rollcall/bench/plot"
)

// sweep is one size that takes several values.
type sweep struct {
	size   string // contacts, sessions or roster
	values []int
}

// axes are what the sizes are called in a plot.
var axes = map[string]string{
	"contacts": "contacts of each user, all online",
	"sessions": "sessions",
	"roster":   "contacts in the roster",
}

// parse reads the value of -sweep.
func (w *sweep) parse(flag string) error {
	size, list, ok := strings.Cut(flag, "=")
	if !ok || axes[size] == "" {
		return errors.New("give contacts=10,50,200, sessions=500,1000 or roster=100,1000")
	}
	w.size, w.values = size, nil
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of %s", text, size)
		}
		w.values = append(w.values, n)
	}
	slices.Sort(w.values)
	return nil
}

// at returns the settings for one value.
func (s *settings) at(value int) settings {
	p := *s
	switch s.sweep.size {
	case "contacts":
		p.contacts = value
		p.users = max(s.users, value+2) // a ring in which nobody knows everybody
	case "sessions":
		p.users = value
	case "roster":
		p.offline = value - s.contacts
	}
	all := p.users * (p.contacts + p.offline)
	p.servers = slices.DeleteFunc(slices.Clone(s.servers), func(name string) bool {
		return (name == "prosody" || name == "ejabberd") && all > s.entries
	})
	return p
}

// sweepReport is what was measured at each value.
type sweepReport struct {
	Size    string    `json:"size"`
	Servers []string  `json:"servers"`
	Points  []reading `json:"points"`
}

type reading struct {
	Value  int     `json:"value"`
	Report *report `json:"report"`
}

// runSweep measures at each value, and writes tables and a plot.
func (s *settings) runSweep(ctx context.Context, dir string, clients client.Config) error {
	rep := &sweepReport{Size: s.sweep.size, Servers: s.servers}
	var failed error
	for _, value := range s.sweep.values {
		p := s.at(value)
		fmt.Fprintf(os.Stderr, "bench: %s %d: %d users with %d contacts\n", s.sweep.size, value, p.users, p.contacts+p.offline)
		r, err := p.repeat(ctx, filepath.Join(dir, strconv.Itoa(value)), clients)
		if err != nil {
			return err
		}
		if len(r.Failures) > 0 {
			failed = errors.New("not everything could be measured, see above")
		}
		rep.Points = append(rep.Points, reading{value, r})
	}
	out := bufio.NewWriter(os.Stdout)
	rep.markdown(out)
	if err := out.Flush(); err != nil {
		return err
	}
	if s.output == "" {
		return failed
	}
	return errors.Join(failed, rep.write(strings.TrimSuffix(s.output, ".md")))
}

func (w *sweepReport) write(file string) error {
	var table strings.Builder
	w.markdown(&table)
	all, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755),
		os.WriteFile(file+".md", []byte(table.String()), 0o644),
		os.WriteFile(file+".json", append(all, '\n'), 0o644),
		os.WriteFile(file+".svg", w.figure().SVG(), 0o644))
}

func (w *sweepReport) markdown(out io.Writer) {
	for _, p := range w.Points {
		fmt.Fprintf(out, "### %s: %d\n\n", axes[w.Size], p.Value)
		p.Report.markdown(out)
		fmt.Fprintln(out)
	}
}

// plotted are the metrics that have a panel, and its title.
var plotted = []struct{ scenario, metric, title string }{
	{"login", "server CPU for each login", "CPU for each sign-in, µs"},
	{"refresh", "server CPU for each refresh", "CPU for each refresh, µs"},
	{"presence", "server CPU for each delivery", "CPU for each presence delivered, µs"},
	{"chat", "server CPU for each message", "CPU for each message, µs"},
	{"idle", "resident memory of a session", "resident memory of a session, KiB"},
	{"latency", "notification to push, p50", "notification to push, p50, ms"},
}

func (w *sweepReport) figure() plot.Figure {
	f := plot.Figure{Title: "Cost against " + axes[w.Size], X: axes[w.Size]}
	for _, m := range plotted {
		panel := plot.Panel{Title: m.title}
		for _, server := range w.Servers {
			line := plot.Series{Name: server}
			for _, p := range w.Points {
				if v := p.Report.median(m.scenario, m.metric, server); v > 0 {
					line.X, line.Y = append(line.X, float64(p.Value)), append(line.Y, v)
				}
			}
			panel.Series = append(panel.Series, line)
		}
		f.Panels = append(f.Panels, panel)
	}
	return f
}

// median returns a server's median of one metric, NaN when it was not measured.
func (r *report) median(scenario, metric, server string) float64 {
	for _, line := range r.Rows {
		if line.Scenario == scenario && line.Metric == metric {
			return measure.Median(line.Values[server])
		}
	}
	return measure.Median(nil)
}
