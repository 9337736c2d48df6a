package main

import (
	"slices"
	"strings"
	"testing"

	"rollcall/bench/scenario"
)

// What is measured besides has rows of its own, at the servers that have it, and changes nothing of what is measured first.
func TestVariants(t *testing.T) {
	s, err := parse(strings.Fields("-server floor,rollcall,ejabberd -scenario refresh,chat -also scram,batch,patch,stored,postgres -database postgres://x/y"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		variant, server, scenarios string
		is                         func(*settings) bool
	}{
		{"scram", "floor", "", nil},
		{"scram", "rollcall", "login", func(s *settings) bool { return s.mechanism == "SCRAM-SHA-1" }},
		{"scram", "ejabberd", "login", func(s *settings) bool { return s.mechanism == "SCRAM-SHA-1" }},
		{"batch", "rollcall", "refresh", func(s *settings) bool { return s.batch }},
		{"batch", "ejabberd", "", nil},
		{"patch", "rollcall", "refresh", func(s *settings) bool { return s.peers.Patch }},
		{"patch", "floor", "refresh", func(s *settings) bool { return s.peers.Patch }},
		{"stored", "floor", "", nil},
		{"stored", "rollcall", "refresh chat", func(s *settings) bool { return s.peers.Data && s.peers.Database == "" }},
		{"stored", "prosody", "", nil},
		{"postgres", "rollcall", "refresh chat", func(s *settings) bool { return s.peers.Database == "postgres://x/y" }},
	} {
		p := s.with(variants[tc.variant], tc.server)
		if got := p != nil; got != (tc.is != nil) || got && (strings.Join(p.scenarios, " ") != tc.scenarios || !tc.is(p)) {
			t.Errorf("%s at %s: %+v", tc.variant, tc.server, p)
		}
	}
	if _, err := parse([]string{"-also", "postgres"}); err == nil {
		t.Error("PostgreSQL is to be measured, and nobody says where it is")
	}
	if s.mechanism != "PLAIN" || s.batch || s.peers.Patch || s.peers.Data || s.peers.Database != "" || len(s.scenarios) != 2 {
		t.Errorf("the settings are now %+v", s)
	}
	rows := variants["batch"].rows([]scenario.Result{{Scenario: "login"}, {Scenario: "refresh", Value: 3}, {Scenario: "latency"}, {Scenario: "idle"}})
	want := []scenario.Result{{Scenario: "refresh, batch fetch", Value: 3}, {Scenario: "latency, batch fetch"}}
	if !slices.Equal(rows, want) {
		t.Errorf("rows: %+v", rows)
	}
}
