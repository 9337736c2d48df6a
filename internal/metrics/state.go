package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Host is how the state of a virtual host is read. The functions are called by whoever scrapes, at any time, by several
// goroutines perhaps; one that is nil has nothing to tell, and its metrics are not there.
type Host struct {
	Online   func() int // users with at least one session
	Sessions func() Sessions
	Rosters  func() Rosters
	Service  func() Service
	Queues   func() Queues
	// Mailboxes tells how many messages wait, as they were counted last, and for how many users.
	Mailboxes func() (messages, users int)
	// Archives tells how many messages are archived, as they were counted last, and of how many users.
	Archives func() (messages, users int)
	// Breakers has the states of the breakers of services other than that of rosters, by their labels.
	Breakers func() map[string]string
}

// Queues is what waits in memory.
type Queues struct {
	OutboxBytes, LargestOutbox int // for clients: of all of them, and of the one with most
	Letters                    int // messages that wait for their commit, or behind those that do
	Requests                   int // of clients that were put off
}

// Sessions are those of a host, by transport.
type Sessions struct{ TCP, WebSocket, BOSH int }

// Rosters is the state of a host's copies.
type Rosters struct {
	Oldest, Average time.Duration // age of the copies of users who are online; 0 when nobody is
	Held            int           // new rosters that wait for a second fetch to say the same
	Journal         int           // entries in the journals of changes
	Unsaved         int           // copies that wait to be written to the database
}

// Service is how the service of a host is asked just now.
type Service struct {
	Breaker  string // closed, half-open or open; another is not told
	InFlight int    // requests under way
	Waiting  int    // fetches that wait for one
}

// breakerStates are the values of the metric: the larger the worse.
var breakerStates = map[string]float64{"closed": 0, "half-open": 1, "open": 2}

// states collects the states of all hosts when somebody scrapes.
type states struct {
	mu    sync.Mutex
	hosts map[string]Host

	online, sessions             *prometheus.Desc
	oldest, average              *prometheus.Desc
	held, journal, unsaved       *prometheus.Desc
	breaker, inFlight, inWaiting *prometheus.Desc
	outboxes, largest            *prometheus.Desc
	letters, requests            *prometheus.Desc
	waiting, mailboxes           *prometheus.Desc
	archived, archives           *prometheus.Desc
	breakers                     *prometheus.Desc
}

func newStates() *states {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"host"}, labels...), nil)
	}
	return &states{
		hosts:     map[string]Host{},
		online:    desc("rollcall_users_online", "Users with at least one session."),
		sessions:  desc("rollcall_sessions", "Sessions of clients, by transport.", "transport"),
		oldest:    desc("rollcall_roster_copy_age_oldest_seconds", "Age of the oldest roster copy of a user who is online."),
		average:   desc("rollcall_roster_copy_age_average_seconds", "Average age of the roster copies of users who are online."),
		held:      desc("rollcall_rosters_held", "New rosters that would remove most of a list, waiting for a second fetch to say the same."),
		journal:   desc("rollcall_roster_journal_entries", "Changes kept for clients that come back with an older version of their roster."),
		unsaved:   desc("rollcall_roster_saves_pending", "Roster copies that wait to be written to the database."),
		breaker:   desc("rollcall_roster_breaker_state", "Requests to the service: 0 are made, 1 one is made to see whether it is back, 2 are not made."),
		inFlight:  desc("rollcall_roster_requests_in_flight", "Requests to the service under way."),
		inWaiting: desc("rollcall_roster_fetches_waiting", "Fetches that wait for a request to end."),
		outboxes:  desc("rollcall_outbox_bytes", "Bytes that wait for clients."),
		largest:   desc("rollcall_outbox_bytes_max", "Bytes that wait for the client for which most wait."),
		letters:   desc("rollcall_messages_in_progress", "Messages that wait for their commit, or behind those that do."),
		requests:  desc("rollcall_requests_waiting", "Requests of clients that wait for the database, or for their turn."),
		waiting:   desc("rollcall_mailbox_messages", "Messages in mailboxes, counted once a minute."),
		mailboxes: desc("rollcall_mailboxes", "Users whose mailboxes are not empty, counted once a minute."),
		archived:  desc("rollcall_archive_messages", "Messages in archives, counted once an hour."),
		archives:  desc("rollcall_archives", "Users whose archives are not empty, counted once an hour."),
		breakers:  desc("rollcall_service_breaker_state", "Requests to a service: 0 are made, 1 one is made to see whether it is back, 2 are not made.", "service"),
	}
}

func (s *states) set(name string, h Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[name] = h
}

// Describe implements prometheus.Collector.
func (s *states) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.online, s.sessions, s.oldest, s.average, s.held, s.journal, s.unsaved, s.breaker, s.inFlight, s.inWaiting,
		s.outboxes, s.largest, s.letters, s.requests, s.waiting, s.mailboxes, s.archived, s.archives, s.breakers} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *states) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	hosts := make(map[string]Host, len(s.hosts))
	for name, h := range s.hosts {
		hosts[name] = h
	}
	s.mu.Unlock()
	for name, h := range hosts {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
		}
		s.collect(h, gauge)
	}
}

func (s *states) collect(h Host, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	if h.Online != nil {
		gauge(s.online, float64(h.Online()))
	}
	if h.Sessions != nil {
		n := h.Sessions()
		gauge(s.sessions, float64(n.TCP), "tcp")
		gauge(s.sessions, float64(n.WebSocket), "websocket")
		gauge(s.sessions, float64(n.BOSH), "bosh")
	}
	if h.Rosters != nil {
		r := h.Rosters()
		gauge(s.oldest, r.Oldest.Seconds())
		gauge(s.average, r.Average.Seconds())
		gauge(s.held, float64(r.Held))
		gauge(s.journal, float64(r.Journal))
		gauge(s.unsaved, float64(r.Unsaved))
	}
	if h.Service != nil {
		v := h.Service()
		if state, known := breakerStates[v.Breaker]; known {
			gauge(s.breaker, state)
		}
		gauge(s.inFlight, float64(v.InFlight))
		gauge(s.inWaiting, float64(v.Waiting))
	}
	s.collectQueues(h, gauge)
}

func (s *states) collectQueues(h Host, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	if h.Queues != nil {
		q := h.Queues()
		gauge(s.outboxes, float64(q.OutboxBytes))
		gauge(s.largest, float64(q.LargestOutbox))
		gauge(s.letters, float64(q.Letters))
		gauge(s.requests, float64(q.Requests))
	}
	if h.Mailboxes != nil {
		messages, users := h.Mailboxes()
		gauge(s.waiting, float64(messages))
		gauge(s.mailboxes, float64(users))
	}
	if h.Archives != nil {
		messages, users := h.Archives()
		gauge(s.archived, float64(messages))
		gauge(s.archives, float64(users))
	}
	if h.Breakers != nil {
		for service, state := range h.Breakers() {
			if value, known := breakerStates[state]; known {
				gauge(s.breakers, value, service)
			}
		}
	}
}
