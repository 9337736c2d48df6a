package metrics

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"rollcall/internal/rosterhttp"
)

// full is a host with a state to read.
func full() Host {
	return Host{
		Online:   func() int { return 3 },
		Sessions: func() Sessions { return Sessions{TCP: 4, WebSocket: 1, BOSH: 2} },
		Rosters: func() Rosters {
			return Rosters{Oldest: 90 * time.Second, Average: 1500 * time.Millisecond, Held: 1, Journal: 12, Unsaved: 2}
		},
		Service:   func() Service { return Service{Breaker: "half-open", InFlight: 1, Waiting: 7} },
		Queues:    func() Queues { return Queues{OutboxBytes: 1000, LargestOutbox: 600, Letters: 5, Requests: 6} },
		Mailboxes: func() (int, int) { return 12, 4 },
		Archives:  func() (int, int) { return 300, 7 },
		Breakers:  func() map[string]string { return map[string]string{Auth: "open", Profile: "closed", Keys: "?"} },
	}
}

func database() Store {
	return Store{Commits: 10, Failures: 3, Writes: 30, Failed: 2, Refused: 1, Bytes: 4000, Largest: 7, Queued: 8, QueuedBytes: 900, Size: 8192,
		Bounds: []time.Duration{time.Millisecond, 10 * time.Millisecond}, Latency: []uint64{20, 5, 5}, LatencySum: 1500 * time.Millisecond}
}

// scrape gives the text that a scraper gets.
func scrape(t *testing.T, m *Metrics, accept string) (string, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String(), w.Header()
}

// ours gives the lines of a scrape that have one of the names, without what is told of buckets.
func ours(text string, names ...string) string {
	var out []string
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, "{")
		if !strings.HasSuffix(name, "_bucket") && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(name, n) }) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func TestInstruments(t *testing.T) {
	m := New("1.2")
	a, b := m.Host("a.example", Host{}), m.Host("b.example", Host{})
	a.Fetched("ok", 20)
	a.Fetched("breaker-open", 1)
	a.Fetched("something new", 2)
	b.Fetched("ok", 1)
	a.Request(250*time.Millisecond, 20, true)
	a.Request(250*time.Millisecond, 1, false)
	a.Dropped(3)
	a.Dropped(0)
	a.Shared(2)
	a.PushLag(2 * time.Second)
	a.Pushed(5)
	for n := range notifications {
		a.Notified(n, int(n)+1)
	}
	for s := range stanzas {
		for range s + 1 {
			a.Routed(s)
		}
	}
	a.Notified(notifications, 1)
	a.Routed(stanzas)
	for n, result := range append(MessageResults, "something new") {
		for range n + 1 {
			a.Message(result)
		}
	}
	auth := a.Service(Auth)
	auth.Request(time.Second, true)
	auth.Request(time.Second, true)
	auth.Request(2*time.Second, false)
	m.Store(database)
	text, _ := scrape(t, m, "text/plain")
	for _, want := range []string{
		`rollcall_build_info{go_version="` + runtime.Version() + `",version="1.2"} 1`,
		`rollcall_roster_fetches_total{host="a.example",result="ok"} 20`,
		`rollcall_roster_fetches_total{host="a.example",result="breaker-open"} 1`,
		`rollcall_roster_fetches_total{host="a.example",result="other"} 2`,
		`rollcall_roster_fetches_total{host="a.example",result="missing"} 0`,
		`rollcall_roster_fetches_total{host="b.example",result="ok"} 1`,
		`rollcall_roster_request_duration_seconds_sum{host="a.example"} 0.5`,
		`rollcall_roster_request_duration_seconds_count{host="a.example"} 2`,
		`rollcall_roster_batch_users_sum{host="a.example"} 20`,
		`rollcall_roster_batch_users_count{host="a.example"} 1`,
		`rollcall_roster_dropped_items_total{host="a.example"} 3`,
		`rollcall_roster_shared_fetches_total{host="a.example"} 2`,
		`rollcall_roster_push_lag_seconds_sum{host="a.example"} 2`,
		`rollcall_roster_push_lag_seconds_bucket{host="a.example",le="1"} 0`,
		`rollcall_roster_push_lag_seconds_bucket{host="a.example",le="2.5"} 1`,
		`rollcall_roster_pushes_total{host="a.example"} 5`,
		`rollcall_roster_notifications_total{host="a.example",result="changed"} 1`,
		`rollcall_roster_notifications_total{host="a.example",result="unchanged"} 2`,
		`rollcall_roster_notifications_total{host="a.example",result="offline"} 3`,
		`rollcall_roster_notifications_total{host="a.example",result="held"} 4`,
		`rollcall_roster_notifications_total{host="a.example",result="error"} 5`,
		`rollcall_stanzas_routed_total{host="a.example",kind="message"} 1`,
		`rollcall_stanzas_routed_total{host="a.example",kind="presence"} 2`,
		`rollcall_stanzas_routed_total{host="a.example",kind="iq"} 3`,
		`rollcall_messages_total{host="a.example",result="stored"} 1`,
		`rollcall_messages_total{host="a.example",result="unavailable"} 5`,
		`rollcall_messages_total{host="a.example",result="other"} 13`,
		`rollcall_messages_total{host="b.example",result="stored"} 0`,
		`rollcall_service_requests_total{host="a.example",result="ok",service="auth"} 2`,
		`rollcall_service_requests_total{host="a.example",result="error",service="auth"} 1`,
		`rollcall_service_request_duration_seconds_sum{host="a.example",service="auth"} 4`,
		`rollcall_store_writes_total{result="ok"} 30`,
		`rollcall_store_writes_total{result="error"} 2`,
		`rollcall_store_writes_total{result="refused"} 1`,
		`rollcall_store_commits_total 10`,
		`rollcall_store_commit_failures_total 3`,
		`rollcall_store_written_bytes_total 4000`,
		`rollcall_store_commit_writes_max 7`,
		`rollcall_store_queue_writes 8`,
		`rollcall_store_queue_bytes 900`,
		`rollcall_store_write_duration_seconds_bucket{le="0.001"} 20`,
		`rollcall_store_write_duration_seconds_bucket{le="0.01"} 25`,
		`rollcall_store_write_duration_seconds_bucket{le="+Inf"} 30`,
		`rollcall_store_write_duration_seconds_sum 1.5`,
		`rollcall_store_write_duration_seconds_count 30`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the scrape does not have %s", want)
		}
	}
	for _, name := range []string{"go_goroutines ", "process_open_fds "} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("the scrape does not have %s", name)
		}
	}
}

// States are read when somebody scrapes; what a host does not tell is not there.
func TestStates(t *testing.T) {
	m := New("1")
	m.Host("a.example", Host{Online: func() int { return 99 }})
	m.Host("a.example", full()) // the later one is read
	m.Host("b.example", Host{Service: func() Service { return Service{Breaker: "?"} }})
	m.Host("c.example", Host{})
	text, _ := scrape(t, m, "text/plain")
	got := ours(text, "rollcall_users_online", "rollcall_sessions", "rollcall_rosters_held", "rollcall_roster_copy", "rollcall_roster_journal",
		"rollcall_outbox", "rollcall_mailbox", "rollcall_archive", "rollcall_messages_in_progress", "rollcall_requests_waiting", "rollcall_service_breaker", "rollcall_roster_saves", "rollcall_roster_breaker", "rollcall_roster_requests", "rollcall_roster_fetches_waiting")
	want := `rollcall_archive_messages{host="a.example"} 300
rollcall_archives{host="a.example"} 7
rollcall_mailbox_messages{host="a.example"} 12
rollcall_mailboxes{host="a.example"} 4
rollcall_messages_in_progress{host="a.example"} 5
rollcall_outbox_bytes{host="a.example"} 1000
rollcall_outbox_bytes_max{host="a.example"} 600
rollcall_requests_waiting{host="a.example"} 6
rollcall_roster_breaker_state{host="a.example"} 1
rollcall_roster_copy_age_average_seconds{host="a.example"} 1.5
rollcall_roster_copy_age_oldest_seconds{host="a.example"} 90
rollcall_roster_fetches_waiting{host="a.example"} 7
rollcall_roster_fetches_waiting{host="b.example"} 0
rollcall_roster_journal_entries{host="a.example"} 12
rollcall_roster_requests_in_flight{host="a.example"} 1
rollcall_roster_requests_in_flight{host="b.example"} 0
rollcall_roster_saves_pending{host="a.example"} 2
rollcall_rosters_held{host="a.example"} 1
rollcall_service_breaker_state{host="a.example",service="auth"} 2
rollcall_service_breaker_state{host="a.example",service="profile"} 0
rollcall_sessions{host="a.example",transport="bosh"} 2
rollcall_sessions{host="a.example",transport="tcp"} 4
rollcall_sessions{host="a.example",transport="websocket"} 1
rollcall_users_online{host="a.example"} 3
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, want := range map[string]float64{"closed": 0, "half-open": 1, "open": 2} {
		if breakerStates[name] != want {
			t.Errorf("%s is %v", name, breakerStates[name])
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	m := New("1")
	m.Host("a.example", full()).Fetched("ok", 1)
	text, header := scrape(t, m, "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(text, "# EOF\n") ||
		!strings.Contains(text, `rollcall_roster_fetches_total{host="a.example",result="ok"} 1.0`) {
		t.Errorf("%v\n%s", header, text)
	}
}

// everything has each metric told at least once.
func everything() *Metrics {
	m := New("1")
	m.Host("a.example", full()).Service(Auth).Request(time.Second, true)
	m.Store(database)
	return m
}

// Names and help keep to Prometheus' conventions.
func TestLint(t *testing.T) {
	m := everything()
	problems, err := testutil.GatherAndLint(m.registry, names(t, m)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// names are all metrics of our own.
func names(t *testing.T, m *Metrics) (out []string) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "rollcall_") {
			out = append(out, f.GetName())
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %q", out)
	}
	return out
}

// The page for operators has each metric with its type and labels, and no other.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(rollcall_[a-z_]+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2] + " " + strings.NewReplacer("`", "", ",", "", "–", "").Replace(row[3])
	}
	families, err := everything().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "rollcall_") {
			continue
		}
		labels := []string{strings.ToLower(f.GetType().String())}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		told[f.GetName()] = strings.Join(labels, " ")
		if len(labels) == 1 {
			told[f.GetName()] += " "
		}
	}
	if diff := cmp.Diff(told, documented); diff != "" {
		t.Errorf("docs/operations.md (-is +documented)\n%s", diff)
	}
	for _, label := range slices.Concat(FetchResults, notificationLabels[:], stanzaLabels[:], MessageResults, []string{Auth, Keys, Profile, Image, Webhooks}) {
		if !bytes.Contains(page, []byte("`"+label+"`")) {
			t.Errorf("docs/operations.md does not have the label %s", label)
		}
	}
}

// Every result that rosterhttp tells is a label.
func TestFetchResults(t *testing.T) {
	told := []string{rosterhttp.ResultOK, rosterhttp.ResultNotModified, rosterhttp.ResultSame}
	for k := rosterhttp.Kind(1); k.String() != "unknown"; k++ {
		told = append(told, k.String())
	}
	if want := append(told, "other"); !slices.Equal(FetchResults, want) {
		t.Errorf("%q\nwant %q", FetchResults, want)
	}
}

// Without metrics nothing happens.
func TestNil(t *testing.T) {
	var m *Metrics
	i := m.Host("a.example", full())
	i.Fetched("ok", 1)
	i.Request(time.Second, 1, true)
	i.Dropped(1)
	i.Shared(1)
	i.Notified(Changed, 1)
	i.Pushed(1)
	i.PushLag(time.Second)
	i.Routed(Message)
	i.Message("stored")
	i.Service(Auth).Request(time.Second, true)
	m.Store(database)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if i != nil || w.Code != 404 {
		t.Errorf("%v, %d", i, w.Code)
	}
}

// Hosts are added and states read while others scrape and count.
func TestManyAtOnce(t *testing.T) {
	m := New("1")
	const each = 50
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			i := m.Host(fmt.Sprintf("h%d.example", g), full())
			for range each {
				i.Routed(IQ)
				i.Fetched("ok", 1)
				i.PushLag(time.Millisecond)
				if _, err := m.registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	text, _ := scrape(t, m, "")
	for g := range 4 {
		if want := fmt.Sprintf("rollcall_stanzas_routed_total{host=\"h%d.example\",kind=\"iq\"} %d\n", g, each); !strings.Contains(text, want) {
			t.Errorf("the scrape does not have %s", want)
		}
	}
}

// No more scrapers than a few are served at a time.
func TestScrapesAreBounded(t *testing.T) {
	m := New("1")
	reading, release := make(chan struct{}), make(chan struct{})
	m.Host("a.example", Host{Online: func() int {
		reading <- struct{}{}
		<-release
		return 1
	}})
	h := m.Handler()
	ask := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		_, _ = io.Copy(io.Discard, w.Body)
		return w.Code
	}
	var all sync.WaitGroup
	for range maxScrapes {
		all.Go(func() {
			if code := ask(); code != 200 {
				t.Errorf("answered %d", code)
			}
		})
	}
	for range maxScrapes {
		<-reading
	}
	if code := ask(); code != 503 {
		t.Errorf("one too many was answered %d", code)
	}
	close(release)
	all.Wait()
}

// What is counted for each stanza allocates nothing.
func TestRoutedAllocatesNothing(t *testing.T) {
	i := New("1").Host("a.example", Host{})
	if n := testing.AllocsPerRun(100, func() { i.Routed(Message) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRouted(b *testing.B) {
	i := New("1").Host("a.example", Host{})
	for b.Loop() {
		i.Routed(Message)
	}
}

var _ prometheus.Collector = (*states)(nil)
