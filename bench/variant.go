package main

import (
	"slices"

	"rollcall/bench/scenario"
)

// A variant is something that is measured besides, in rows of its own, because it takes another configuration of the server.
type variant struct {
	name      string // behind the scenario's, in the table
	servers   []string
	scenarios []string // what has rows
	apply     func(s *settings)
}

// The mechanism is the one that all servers have.
const scramVariant = "SCRAM-SHA-1"

var variants = map[string]*variant{
	"scram":  {scramVariant, []string{"rollcall", "prosody", "ejabberd"}, []string{"login"}, func(s *settings) { s.mechanism = scramVariant }},
	"batch":  {"batch fetch", []string{"floor", "rollcall"}, []string{"refresh", "latency"}, func(s *settings) { s.batch = true }},
	"stored": {"stored in SQLite", []string{"rollcall"}, []string{"refresh", "chat"}, func(s *settings) { s.peers.Data = true }},
	"postgres": {"stored in PostgreSQL", []string{"rollcall"}, []string{"refresh", "chat"}, func(s *settings) {
		s.peers.Data, s.peers.Database = true, s.database
	}},
	"patch": {"PATCH", []string{"floor", "rollcall", "addr"}, []string{"refresh", "latency"}, func(s *settings) { s.peers.Patch = true }},
}

// canScram tells whether a server has a mechanism. The floor reads no passwords; the others' accounts have SHA-1 only.
func canScram(server, mechanism string) bool {
	switch server {
	case "rollcall", "addr":
		return true
	case "prosody", "ejabberd":
		return mechanism == scramVariant
	}
	return false
}

// with gives the settings for a variant at one server; nil when there is nothing to measure.
func (s *settings) with(v *variant, server string) *settings {
	if !slices.Contains(v.servers, server) {
		return nil
	}
	p := *s
	p.scenarios = nil
	for _, name := range v.scenarios {
		if name == "login" || slices.Contains(s.scenarios, name) {
			p.scenarios = append(p.scenarios, name)
		}
	}
	if len(p.scenarios) == 0 {
		return nil
	}
	v.apply(&p)
	return &p
}

// rows gives the results that a variant has rows for, under its name.
func (v *variant) rows(results []scenario.Result) (rows []scenario.Result) {
	for _, r := range results {
		if slices.Contains(v.scenarios, r.Scenario) {
			r.Scenario += ", " + v.name
			rows = append(rows, r)
		}
	}
	return rows
}
