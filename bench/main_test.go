package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/bench/scenario"
)

// TestFloor plays every scenario, small, against the floor.
func TestFloor(t *testing.T) {
	for _, tls := range []string{"none", "starttls"} {
		t.Run(tls, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report")
			s, err := parse(strings.Fields("-server floor -scenario " + strings.Join(scenario.Names, ",") +
				" -also batch,patch -talkers 2 -pause 1ms -signal TERM -n 6 -c 4 -offline 2 -reps 2 -rounds 3 -samples 8 -names 2 -duration 20ms -settle 0s -sources 2 -tls " +
				tls + " -o " + file))
			if err != nil {
				t.Fatal(err)
			}
			if err := run(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			checkReport(t, file+".json")
		})
	}
}

func checkReport(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, r := range got.Rows {
		seen[r.Scenario] = true
		values := r.Values["floor"]
		if len(values) != 2 {
			t.Errorf("%s, %s: %d values of 2 repetitions", r.Scenario, r.Metric, len(values))
		}
		for _, v := range values {
			if v < 0 && r.Scenario != "idle" { // so few sessions may well free more memory than they take
				t.Errorf("%s, %s: %v", r.Scenario, r.Metric, v)
			}
		}
	}
	for _, name := range append(scenario.Names, "refresh, batch fetch", "latency, PATCH") {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestParse(t *testing.T) {
	for _, wrong := range []string{"-server nginx", "-scenario sleep", "-tls ssl", "-sasl DIGEST-MD5", "-sasl SCRAM-SHA-1", "-also gossip", "-server prosody -sasl SCRAM-SHA-256", "-reps 0", "-sources 255", "extra",
		"-server floor -tls direct", "-talkers 3", "-pause 0s", "-signal HUP", "-sweep users=1", "-sweep contacts", "-sweep roster=10,0"} {
		if _, err := parse(strings.Fields(wrong)); err == nil {
			t.Errorf("%s: no error", wrong)
		}
	}
	s, err := parse(strings.Fields("-quick -n 40 -scenario chat"))
	if err != nil {
		t.Fatal(err)
	}
	if s.users != 40 || s.contacts != 20 || strings.Join(s.servers, " ") != "floor rollcall" || strings.Join(s.scenarios, " ") != "chat" {
		t.Errorf("%+v", s)
	}
}

// TestSweep measures two roster sizes and draws them.
func TestSweep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plots", "roster")
	s, err := parse(strings.Fields("-server floor -n 6 -c 4 -sweep roster=12,8 -reps 1 -rounds 2 -scenario refresh,chat -names 2 -duration 20ms -settle 0s -o " + file))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var got sweepReport
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Points) != 2 || got.Points[0].Value != 8 || got.Points[1].Value != 12 {
		t.Fatalf("points: %+v", got.Points)
	}
	for _, p := range got.Points {
		if !(p.Report.median("refresh", "server CPU for each refresh", "floor") > 0) {
			t.Errorf("%d contacts: no refresh", p.Value)
		}
		if offline := p.Report.Settings["offline"].(float64); int(offline)+4 != p.Value {
			t.Errorf("%d contacts: %v of them offline, 4 online", p.Value, offline)
		}
	}
	for _, ext := range []string{".svg", ".md"} {
		b, err := os.ReadFile(file + ext)
		if err != nil || !strings.Contains(string(b), "floor") {
			t.Errorf("%s: %v, %.100s", ext, err, b)
		}
	}
}

func TestSweepLeavesPeersOut(t *testing.T) {
	s, err := parse(strings.Fields("-server floor,rollcall,prosody,ejabberd -n 500 -c 50 -peer-entries 30000 -sweep contacts=10,50,1000"))
	if err != nil {
		t.Fatal(err)
	}
	for contacts, servers := range map[int]int{10: 4, 50: 4, 1000: 2} {
		if p := s.at(contacts); len(p.servers) != servers || p.contacts != contacts || p.users <= contacts {
			t.Errorf("%d contacts: %d users, servers %v", contacts, p.users, p.servers)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := newReport(&settings{servers: []string{"floor", "rollcall"}})
	for _, v := range []float64{3, 1, 2} {
		r.add("floor", []scenario.Result{{Scenario: "chat", Metric: "rate", Unit: "1/s", Value: v * 1000}})
		r.add("rollcall", []scenario.Result{{Scenario: "chat", Metric: "rate", Unit: "1/s", Value: v * 500}, {Scenario: "chat", Metric: "p50", Unit: "ms", Value: v / 8}})
	}
	var out strings.Builder
	r.markdown(&out)
	const want = `| scenario | measured | floor | rollcall |
| --- | --- | ---: | ---: |
| chat | rate, 1/s | 2000 | 1000 (×0.50) |
| chat | p50, ms | – | 0.250 |
`
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %s", out.String())
	}
}
