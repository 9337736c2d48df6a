package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Instruments are those of one virtual host. Their methods may be called by many goroutines at once, and do nothing on
// a nil *Instruments.
type Instruments struct {
	host                           string
	vectors                        *vectors
	fetches, notifications, routed []prometheus.Counter
	byResult                       map[string]prometheus.Counter // of fetches, by label
	shared, dropped, pushes        prometheus.Counter
	requestSeconds, batchUsers     prometheus.Observer
	pushLag                        prometheus.Observer
	events                         map[string]prometheus.Counter // for the application, by result
	signIns                        map[string]prometheus.Counter // by result
	registrations                  map[string]prometheus.Counter // by result
	commands                       map[string]prometheus.Counter // by result
	messages                       map[string]prometheus.Counter // by result
}

// FetchResults are the labels of what can become of a fetch: those of rosterhttp's observations. Any other is counted
// as the last one.
var FetchResults = []string{
	"ok", "not-modified", "same", "refused", "unavailable", "timeout", "status", "type", "too-large", "document",
	"breaker-open", "canceled", "missing", "other",
}

// EventResults are the labels of what can become of an event for the application: those of package webhook.
var EventResults = []string{"delivered", "refused", "expired", "overflow"}

// SignInResults are the labels of what can become of a try to sign in: those of package auth.
var SignInResults = []string{"ok", "failed", "slowed", "refused"}

// RegistrationResults are the labels of what can become of a try to make an account in band.
var RegistrationResults = []string{"made", "taken", "unacceptable", "refused", "failed"}

// CommandResults are the labels of what can become of an administrator's command: those of package commands.
var CommandResults = []string{"done", "refused", "failed", "forbidden"}

// Notification is what became of one user named in a notification.
type Notification uint8

// The results of notifications.
const (
	Changed   Notification = iota // the roster is another one now
	Unchanged                     // it is as it was
	Offline                       // nobody needs it now: it is fetched when somebody does
	Held                          // the guard waits for a second fetch to say the same
	Failed                        // it could not be had
	notifications
)

var notificationLabels = [notifications]string{Changed: "changed", Unchanged: "unchanged", Offline: "offline", Held: "held", Failed: "error"}

// Stanza is a kind of stanza.
type Stanza uint8

// The kinds of stanzas.
const (
	Message Stanza = iota
	Presence
	IQ
	stanzas
)

var stanzaLabels = [stanzas]string{Message: "message", Presence: "presence", IQ: "iq"}

// Host makes the instruments of a virtual host, and has its state read when somebody scrapes. There is one call for
// each host; of two for one host the later state is read.
func (m *Metrics) Host(name string, state Host) *Instruments {
	if m == nil {
		return nil
	}
	m.states.set(name, state)
	v := &m.vectors
	i := &Instruments{
		host: name, vectors: v, messages: map[string]prometheus.Counter{},
		byResult: map[string]prometheus.Counter{},
		shared:   v.shared.WithLabelValues(name), dropped: v.dropped.WithLabelValues(name), pushes: v.pushes.WithLabelValues(name),
		requestSeconds: v.requestSeconds.WithLabelValues(name), batchUsers: v.batchUsers.WithLabelValues(name),
		pushLag: v.pushLag.WithLabelValues(name), events: map[string]prometheus.Counter{},
		signIns: map[string]prometheus.Counter{}, registrations: map[string]prometheus.Counter{},
		commands: map[string]prometheus.Counter{},
	}
	children := func(of *prometheus.CounterVec, labels []string) (out []prometheus.Counter) {
		for _, label := range labels {
			out = append(out, of.WithLabelValues(name, label))
		}
		return out
	}
	i.fetches = children(v.fetches, FetchResults)
	i.notifications = children(v.notifications, notificationLabels[:])
	i.routed = children(v.routed, stanzaLabels[:])
	for _, label := range EventResults {
		i.events[label] = v.events.WithLabelValues(name, label)
	}
	for _, label := range SignInResults {
		i.signIns[label] = v.signIns.WithLabelValues(name, label)
	}
	for _, label := range RegistrationResults {
		i.registrations[label] = v.registrations.WithLabelValues(name, label)
	}
	for _, label := range CommandResults {
		i.commands[label] = v.commands.WithLabelValues(name, label)
	}
	for _, label := range MessageResults {
		i.messages[label] = v.messages.WithLabelValues(name, label)
	}
	for n, label := range FetchResults {
		i.byResult[label] = i.fetches[n]
	}
	return i
}

// Fetched counts users whose roster was fetched, by result: one of FetchResults.
func (i *Instruments) Fetched(result string, users int) {
	if i == nil {
		return
	}
	c, known := i.byResult[result]
	if !known {
		c = i.fetches[len(i.fetches)-1]
	}
	c.Add(float64(users))
}

// Request counts a request to the service, which may have failed: its time, and the users in it when it is a batch.
func (i *Instruments) Request(took time.Duration, users int, batch bool) {
	if i == nil {
		return
	}
	i.requestSeconds.Observe(took.Seconds())
	if batch {
		i.batchUsers.Observe(float64(users))
	}
}

// Dropped counts contacts that could not be used.
func (i *Instruments) Dropped(contacts int) {
	if i != nil && contacts > 0 {
		i.dropped.Add(float64(contacts))
	}
}

// Shared counts askers who were answered from a fetch that another had asked for.
func (i *Instruments) Shared(askers int) {
	if i != nil && askers > 0 {
		i.shared.Add(float64(askers))
	}
}

// Notified counts users named in notifications.
func (i *Instruments) Notified(result Notification, users int) {
	if i != nil && users > 0 && result < notifications {
		i.notifications[result].Add(float64(users))
	}
}

// Pushed counts roster pushes put into outboxes.
func (i *Instruments) Pushed(pushes int) {
	if i != nil && pushes > 0 {
		i.pushes.Add(float64(pushes))
	}
}

// PushLag is the time from a notification until the pushes that it caused were in the outboxes.
func (i *Instruments) PushLag(lag time.Duration) {
	if i != nil {
		i.pushLag.Observe(lag.Seconds())
	}
}

// Routed counts a stanza taken from a client.
func (i *Instruments) Routed(kind Stanza) {
	if i != nil && kind < stanzas {
		i.routed[kind].Inc()
	}
}

// EventTold counts an event for the application, by what became of it: one of EventResults. Any other is not counted.
func (i *Instruments) EventTold(result string) {
	if i == nil {
		return
	}
	if c := i.events[result]; c != nil {
		c.Inc()
	}
}

// SignIn counts a try to sign in, by what became of it: one of SignInResults. Any other is not counted.
func (i *Instruments) SignIn(result string) {
	if i == nil {
		return
	}
	if c := i.signIns[result]; c != nil {
		c.Inc()
	}
}

// Command counts a command of an administrator, or of somebody who is none, by what became of it: one of CommandResults. Any other is
// not counted.
func (i *Instruments) Command(result string) {
	if i == nil {
		return
	}
	if c := i.commands[result]; c != nil {
		c.Inc()
	}
}

// Registration counts a try of a client to make an account, by what became of it: one of RegistrationResults. Any other is not
// counted.
func (i *Instruments) Registration(result string) {
	if i == nil {
		return
	}
	if c := i.registrations[result]; c != nil {
		c.Inc()
	}
}
