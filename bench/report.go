package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"rollcall/bench/measure"
	"rollcall/bench/scenario"
)

// report collects the numbers of a run.
type report struct {
	Machine  machine             `json:"machine"`
	Settings map[string]any      `json:"settings"`
	Servers  []string            `json:"servers"`
	Rows     []*row              `json:"results"`
	Failures map[string][]string `json:"failures,omitempty"`
}

// row is one metric of every server, a value for each repetition.
type row struct {
	Scenario string               `json:"scenario"`
	Metric   string               `json:"metric"`
	Unit     string               `json:"unit"`
	Values   map[string][]float64 `json:"values"`
}

// machine is where the numbers were taken.
type machine struct {
	Time   string `json:"time"`
	Commit string `json:"commit"`
	Go     string `json:"go"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Load   string `json:"load"` // of the last minutes, when the run began

	LoadAfter string `json:"load_after"`
}

func newReport(s *settings) *report {
	r := &report{
		Machine: describe(),
		Servers: s.servers,
		Settings: map[string]any{"users": s.users, "contacts": s.contacts, "repetitions": s.reps, "rounds": s.rounds, "names": s.names,
			"parallel": s.parallel, "samples": s.samples, "window": s.window, "duration": s.duration.String(), "settle": s.settle.String(),
			"service_delay": s.delay.String(), "sources": s.sources, "online": s.online, "offline": s.offline, "tls": s.tls, "sasl": s.mechanism, "pinned": s.pin},
		Failures: make(map[string][]string),
	}
	if len(s.also) > 0 {
		r.Settings["also"] = strings.Join(s.also, ",")
	}
	if slices.Contains(s.scenarios, "storm") {
		r.Settings["storm"] = fmt.Sprintf("SIG%s, %d users back at a time, %d talk meanwhile, a message every %v each",
			map[bool]string{true: "KILL", false: "TERM"}[s.storm.Signal == syscall.SIGKILL], s.storm.Parallel, s.storm.Talkers, s.storm.Pause)
	}
	return r
}

func describe() machine {
	m := machine{Time: time.Now().UTC().Format(time.RFC3339), Go: runtime.Version(), Cores: runtime.NumCPU(),
		Commit: "unknown", CPU: "unknown", Kernel: "unknown", Load: load()}
	if b, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}

// load returns the load of the last 1, 5 and 15 minutes.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) >= 3 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

func (r *report) add(server string, results []scenario.Result) {
	for _, x := range results {
		line := r.row(x)
		line.Values[server] = append(line.Values[server], x.Value)
	}
}

func (r *report) row(x scenario.Result) *row {
	for _, line := range r.Rows {
		if line.Scenario == x.Scenario && line.Metric == x.Metric {
			return line
		}
	}
	line := &row{Scenario: x.Scenario, Metric: x.Metric, Unit: x.Unit, Values: make(map[string][]float64)}
	r.Rows = append(r.Rows, line)
	return line
}

// fail notes that a server could not be measured. The others go on: what was measured is printed, and the run fails at its end.
func (r *report) fail(server string, err error) {
	fmt.Fprintf(os.Stderr, "bench: %s: %v\n", server, err)
	r.Failures[server] = append(r.Failures[server], err.Error())
}

// finish prints the table, writes the files that are asked for, and fails when a server did.
func (r *report) finish(file string) error {
	out := bufio.NewWriter(os.Stdout)
	r.markdown(out)
	if err := out.Flush(); err != nil {
		return err
	}
	if file != "" {
		if err := r.write(strings.TrimSuffix(file, ".md")); err != nil {
			return err
		}
	}
	if len(r.Failures) > 0 {
		return errors.New("not everything could be measured, see above")
	}
	return nil
}

func (r *report) write(file string) error {
	var table strings.Builder
	r.markdown(&table)
	all, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file+".md", []byte(table.String()), 0o644), os.WriteFile(file+".json", append(all, '\n'), 0o644))
}

// markdown writes a table: a row a metric, a column a server, the median of the repetitions, and in brackets how many times the
// first server's that is.
func (r *report) markdown(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%v users with %v contacts, TLS %v, SASL %v; median of %v.\n", r.Settings["users"], r.Settings["contacts"],
		r.Settings["tls"], r.Settings["sasl"], r.Settings["repetitions"])
	r.flagsOfNote(w)
	fmt.Fprintf(w, "%s, commit %s, %s, Linux %s, %d × %s, load before %s, after %s; clients and roster service on the same machine.\n\n",
		m.Time, m.Commit, m.Go, m.Kernel, m.Cores, m.CPU, m.Load, m.LoadAfter)
	r.table(w)
	for server, errs := range r.Failures {
		fmt.Fprintf(w, "\n%s failed: %s\n", server, strings.Join(errs, "; "))
	}
}

// flagsOfNote says what is not as usual.
func (r *report) flagsOfNote(w io.Writer) {
	for _, name := range []string{"online", "offline", "service_delay", "storm"} {
		switch v := r.Settings[name]; v {
		case nil, 0, "0s":
		default:
			fmt.Fprintf(w, "%s: %v.\n", strings.ReplaceAll(name, "_", " "), v)
		}
	}
}

func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "| scenario | measured | %s |\n| --- | --- |%s\n", strings.Join(r.Servers, " | "), strings.Repeat(" ---: |", len(r.Servers)))
	for _, line := range r.Rows {
		fmt.Fprintf(w, "| %s | %s |", line.Scenario, strings.TrimSuffix(line.Metric+", "+line.Unit, ", "))
		first := measure.Median(line.Values[r.Servers[0]])
		for i, server := range r.Servers {
			value := measure.Median(line.Values[server])
			fmt.Fprintf(w, " %s", number(value))
			if ratio := value / first; i > 0 && !math.IsNaN(ratio) && !math.IsInf(ratio, 0) {
				fmt.Fprintf(w, " (×%.2f)", ratio)
			}
			fmt.Fprint(w, " |")
		}
		fmt.Fprintln(w)
	}
}

// number prints a value with three digits that matter, or all of its integer digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
