package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The services that a host may ask beside that of its rosters: the labels of their metrics.
const (
	Auth     = "auth"     // whether a password is right
	Keys     = "keys"     // with which tokens are signed
	Profile  = "profile"  // users' names
	Image    = "image"    // and pictures
	Webhooks = "webhooks" // is told of events
)

// Asked are the instruments of one service of a host. Its method does nothing on a nil *Asked.
type Asked struct {
	ok, failed prometheus.Counter
	seconds    prometheus.Observer
}

// Service makes the instruments of a service: one of the labels above.
func (i *Instruments) Service(name string) *Asked {
	if i == nil {
		return nil
	}
	v := i.vectors
	return &Asked{ok: v.asked.WithLabelValues(i.host, name, "ok"), failed: v.asked.WithLabelValues(i.host, name, "error"),
		seconds: v.askedSeconds.WithLabelValues(i.host, name)}
}

// Request counts a request, which may have brought no answer.
func (a *Asked) Request(took time.Duration, ok bool) {
	if a == nil {
		return
	}
	if ok {
		a.ok.Inc()
	} else {
		a.failed.Inc()
	}
	a.seconds.Observe(took.Seconds())
}

// MessageResults are the labels of what can become of a message that is to be stored.
var MessageResults = []string{"stored", "unknown", "mailbox-full", "disk-full", "unavailable", "other"}

// Message counts a message that was to be stored, by what became of it: one of MessageResults. Any other is counted as the last
// one.
func (i *Instruments) Message(result string) {
	if i == nil {
		return
	}
	c := i.messages[result]
	if c == nil {
		c = i.messages[MessageResults[len(MessageResults)-1]]
	}
	c.Inc()
}
