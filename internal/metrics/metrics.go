// Package metrics is what rollcall tells Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/, and
// OpenMetrics 1.0 for who asks for it). The metrics are listed in docs/operations.md; names and units follow
// https://prometheus.io/docs/practices/naming/.
//
// Instruments are given to the rooms that use them. What is counted on a busy path costs an atomic addition: labels are
// looked up when a host is made. What is a state, such as who is online, is read when somebody scrapes, by functions.
// A nil *Metrics and what it gives do nothing, so that nobody needs to ask whether there are metrics.
//
// Labels are hosts of the configuration and small sets that this package knows. No user is ever in one.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is all that is told. It may be used by many goroutines at once.
type Metrics struct {
	registry *prometheus.Registry
	states   *states
	vectors  vectors
}

// vectors are the instruments that each host has one of.
type vectors struct {
	fetches, shared, dropped      *prometheus.CounterVec
	notifications, pushes, routed *prometheus.CounterVec
	requestSeconds, batchUsers    *prometheus.HistogramVec
	pushLag                       *prometheus.HistogramVec
	events, signIns, messages     *prometheus.CounterVec
	registrations, commands       *prometheus.CounterVec
	asked                         *prometheus.CounterVec
	askedSeconds                  *prometheus.HistogramVec
}

// Bounds of the histograms. A fetch ends within 5 s unless roster.timeout says otherwise, a notification is answered
// within 30.
var (
	secondsBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	usersBounds   = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000}
)

// New makes the metrics of a process that runs that version of rollcall.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), states: newStates()}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histograms := func(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.vectors = vectors{
		fetches:       counters("rollcall_roster_fetches_total", "Users whose roster was fetched, by what came of it.", "host", "result"),
		shared:        counters("rollcall_roster_shared_fetches_total", "Askers who were answered from a fetch that another had asked for.", "host"),
		dropped:       counters("rollcall_roster_dropped_items_total", "Contacts in the service's documents that could not be used.", "host"),
		notifications: counters("rollcall_roster_notifications_total", "Users named in notifications, by what came of it.", "host", "result"),
		pushes:        counters("rollcall_roster_pushes_total", "Roster pushes put into the outboxes of clients.", "host"),
		routed:        counters("rollcall_stanzas_routed_total", "Stanzas taken from clients, by kind.", "host", "kind"),
		events:        counters("rollcall_webhook_events_total", "Events for the application, by what became of them.", "host", "result"),
		signIns:       counters("rollcall_sign_ins_total", "Tries to sign in, by what came of it. One that has to wait is counted as slowed, and again at its end.", "host", "result"),
		registrations: counters("rollcall_registrations_total", "Tries of clients to make an account in band, by what came of it.", "host", "result"),
		commands:      counters("rollcall_commands_total", "Commands of administrators, by what came of them.", "host", "result"),
		messages:      counters("rollcall_messages_total", "Messages that were to be stored, by what came of it.", "host", "result"),
		asked:         counters("rollcall_service_requests_total", "Requests to services of the application other than that of rosters, by what came of them.", "host", "service", "result"),
		askedSeconds: histograms("rollcall_service_request_duration_seconds",
			"Time of requests to services of the application other than that of rosters.", secondsBounds, "host", "service"),
		requestSeconds: histograms("rollcall_roster_request_duration_seconds",
			"Time of requests to the service, batches among them.", secondsBounds, "host"),
		batchUsers: histograms("rollcall_roster_batch_users", "Users in one batch request.", usersBounds, "host"),
		pushLag: histograms("rollcall_roster_push_lag_seconds",
			"Time from a notification until the roster pushes that it caused were in the outboxes.", secondsBounds, "host"),
	}

	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_build_info", Help: "1, with the version of this program.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()}})
	info.Set(1)
	m.registry.MustRegister(info, m.states, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// maxScrapes bounds how many can read the metrics at a time; one is the rule.
const maxScrapes = 4

// Handler answers a scrape. Who may scrape is for its user to check.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes})
}
