package server

import (
	"context"

	"rollcall/internal/config"
	"rollcall/internal/feature/archive"
	"rollcall/internal/host"
	"rollcall/internal/jid"
)

// uids are the ids of a host's archived messages; nil where there is no archive.
func (s *Server) uids(ctx context.Context, h *virtualHost) (*host.UIDs, error) {
	lasting := s.messages(h)
	if lasting == nil {
		return nil, nil
	}
	secret, err := lasting.Secret(ctx, "archive:"+h.cfg.Name)
	if err != nil {
		return nil, err
	}
	return host.NewUIDs(secret)
}

// archive is the feature at a host whose messages are stored.
func (s *Server) archive(h *virtualHost) host.Feature {
	h.archives = archive.New(archive.Options{
		Host: h.cfg.Name, Archive: s.messages(h), Prefs: s.values(), UIDs: h.uids, Tuning: kept(h.cfg),
		InRoster: h.lists, OutboxBytes: s.cfg.Limits.OutboxBytes, Log: h.log,
	})
	return h.archives.Feature()
}

// kept is what a host's configuration says of its archives.
func kept(c config.Host) archive.Tuning {
	return archive.Tuning{Default: archive.Policy(c.Archive.Default), MaxAge: c.Archive.MaxAge, MaxMessages: c.Archive.MaxMessages}
}

// lists tells whether a user has somebody among their contacts, as they were last known: nobody is asked.
func (h *virtualHost) lists(ctx context.Context, user string, somebody jid.JID) (is, known bool) {
	v, err := h.engine.View(ctx, user)
	if err != nil {
		return false, false
	}
	_, is = v.Known.Roster.Get(somebody)
	return is, true
}
