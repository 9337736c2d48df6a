// Package webhooks tells the application of messages that reach nobody: it may send mail, or a push notification.
// docs/webhooks.md has all events; the others come from the rooms in which they happen.
package webhooks

import (
	"context"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
)

// Options says what is told.
type Options struct {
	// Tell adds an event about a user, with its data; it does not block.
	Tell func(user, kind string, data map[string]any)
	// Run tells them until ctx ends.
	Run func(ctx context.Context) error
	// Messages: those for users who are offline; Bodies: with what they say.
	Messages, Bodies bool
}

// MessageOffline is the kind of event.
const MessageOffline = "message.offline"

// New makes the feature.
func New(o Options) host.Feature {
	f := host.Feature{Name: "webhooks", Run: o.Run}
	if o.Messages {
		f.Stages = map[host.Stage]host.StanzaHandler{host.Unclaimed: o.unclaimed}
	}
	return f
}

// unclaimed tells of a message with a body; what else is sent to somebody who is offline, such as that somebody types, is no
// news.
func (o Options) unclaimed(_ context.Context, p *host.Passage) (done bool, err error) {
	body := p.Element.Child(ns.Client, "body")
	if p.Kind != stanza.Message || body == nil || p.Type != "" && p.Type != stanza.TypeNormal && p.Type != stanza.TypeChat {
		return false, nil
	}
	data := map[string]any{"from": p.From.Bare().String()}
	if p.ID != "" {
		data["id"] = p.ID
	}
	if o.Bodies {
		data["body"] = body.Text()
	}
	o.Tell(p.To.Local(), MessageOffline, data)
	return false, nil
}
