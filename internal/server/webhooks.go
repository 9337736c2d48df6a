package server

import (
	"context"
	"slices"

	"rollcall/internal/config"
	"rollcall/internal/feature/webhooks"
	"rollcall/internal/host"
	"rollcall/internal/metrics"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/store"
	"rollcall/internal/webhook"
)

// addWebhooks makes what tells a host's application of events, if there is anybody to tell.
func (s *Server) addWebhooks(h *virtualHost, i int) error {
	if h.cfg.Webhooks.URL == "" {
		return nil
	}
	o, err := s.webhookOptions(h, s.cfg, i)
	if err != nil {
		return err
	}
	if s.store != nil {
		o.Outbox = outbox{s.store, h.cfg.Name}
	}
	if h.webhooks, err = webhook.New(o); err != nil {
		return s.cfg.KeyError(config.HostKey(i, "webhooks.url"), err)
	}
	return nil
}

// webhookOptions says where a host's events go. i is the host's place in the configuration that from is.
func (s *Server) webhookOptions(h *virtualHost, from *config.Config, i int) (webhook.Options, error) {
	c := from.Hosts[i].Webhooks
	key, err := config.WebhookKey(c.Secret)
	if err != nil {
		return webhook.Options{}, from.KeyError(config.HostKey(i, "webhooks.secret"), err)
	}
	return webhook.Options{
		Host: h.cfg.Name, URL: c.URL, Key: key, UserAgent: "rollcall/" + s.opts.Version, MaxAge: c.MaxAge,
		Log: h.log, Told: h.metrics.EventTold, Asked: h.services.watch(metrics.Webhooks), Dial: s.opts.DialRoster,
	}, nil
}

// tells gives a function that tells the application of events of a kind, nil where it does not want to hear of them.
func (h *virtualHost) tells(kind string) func(user string, data map[string]any) {
	if h.webhooks == nil || !slices.Contains(h.cfg.Webhooks.Events, kind) {
		return nil
	}
	return func(user string, data map[string]any) { h.webhooks.Tell(user, kind, data) }
}

// presenceTold is told by contacts who has come and gone.
func (h *virtualHost) presenceTold() func(user string, online bool) {
	online, offline := h.tells(config.EventUserOnline), h.tells(config.EventUserOffline)
	if online == nil && offline == nil {
		return nil
	}
	return func(user string, is bool) {
		tell := offline
		if is {
			tell = online
		}
		if tell != nil {
			tell(user, nil)
		}
	}
}

// rosterTold is told by the roster engine what has changed.
func (h *virtualHost) rosterTold() func(user string, k *roster.Known, changes []rosterdoc.Change) {
	tell := h.tells(config.EventRosterApplied)
	if tell == nil {
		return nil
	}
	return func(user string, k *roster.Known, changes []rosterdoc.Change) {
		n := map[rosterdoc.ChangeKind]int{}
		for _, c := range changes {
			n[c.Kind]++
		}
		tell(user, map[string]any{"version": k.Ver(), "contacts": k.Roster.Len(),
			"added": n[rosterdoc.Added], "removed": n[rosterdoc.Removed], "changed": n[rosterdoc.Changed]})
	}
}

// webhookFeature is the feature that runs all that.
func (h *virtualHost) webhookFeature() host.Feature {
	o := webhooks.Options{Bodies: h.cfg.Webhooks.Bodies, Tell: h.webhooks.Tell}
	o.Messages = h.tells(webhooks.MessageOffline) != nil
	o.Run = func(ctx context.Context) error {
		if tell := h.tells(config.EventServerStarted); tell != nil {
			tell("", nil)
		}
		return h.webhooks.Run(ctx)
	}
	return webhooks.New(o)
}

// outbox keeps a host's events in the store.
type outbox struct {
	store *store.Store
	host  string
}

// Add implements webhook.Outbox.
func (o outbox) Add(e webhook.Event, most int, done func(error)) {
	o.store.AddEvent(store.Event{Host: o.host, Username: e.User, Kind: e.Kind, At: e.At, Body: e.Body}, most,
		func(_ store.ID, err error) { done(err) })
}

// Page implements webhook.Outbox.
func (o outbox) Page(ctx context.Context, after int64, limit int) (page []webhook.Event, err error) {
	events, err := o.store.Events(ctx, o.host, store.ID(after), limit)
	for _, e := range events {
		page = append(page, webhook.Event{ID: int64(e.ID), User: e.Username, Kind: e.Kind, At: e.At, Body: e.Body})
	}
	return page, err
}

// Remove implements webhook.Outbox.
func (o outbox) Remove(ids []int64, done func(error)) {
	gone := make([]store.ID, len(ids))
	for i, id := range ids {
		gone[i] = store.ID(id)
	}
	o.store.RemoveEvents(gone, done)
}
