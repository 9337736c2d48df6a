package internal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// tiers is the plan of the house (docs/architecture.md): a room imports rooms of lower tiers only, and those that an
// arrow names.
var tiers = map[string]int{
	"ns": 1, "jid": 1, "xmlstream": 1, "stanza": 1, "payload": 1, "rosterdoc": 1,
	"config": 2, "store": 2, "auth": 2, "certs": 2, "rosterhttp": 2, "metrics": 2, "proxied": 2, "unanswered": 2, "webhook": 2, "authhttp": 2, "jwt": 2, "lines": 2, "fault": 2,
	"session": 3, "host": 3, "roster": 3, "profile": 3,
	"c2s": 4, "c2s/tcp": 4, "c2s/websocket": 4, "c2s/bosh": 4, "admin": 4, "check": 4, "transfer": 4,
	"web/page": 4, "web/demo": 4, "web/console": 4, "web/files": 4, "web/hostmeta": 4,
	"server": 5,
}

// tierOf gives a room's tier; 0 for one that has none.
func tierOf(room string) int {
	if strings.HasPrefix(room, "feature/") {
		return 4
	}
	return tiers[room]
}

// arrows are the imports within a tier. In the grammar they follow the order in which it is built up; nothing imports
// its equal elsewhere unless it says so here.
var arrows = map[string][]string{
	"authhttp":      {"auth", "unanswered"},
	"jwt":           {"auth", "unanswered"},
	"rosterhttp":    {"unanswered"},
	"webhook":       {"unanswered"},
	"xmlstream":     {"ns"},
	"stanza":        {"ns", "jid", "xmlstream"},
	"payload":       {"ns", "jid", "xmlstream"},
	"rosterdoc":     {"jid"},
	"host":          {"session"},
	"c2s/tcp":       {"c2s"},
	"c2s/websocket": {"c2s"},
	"c2s/bosh":      {"c2s"},
	"transfer":      {"feature/blocking", "feature/pep", "feature/private", "feature/vcard"}, // who know what is stored of theirs
	"web/demo":      {"web/page"},
	"web/console":   {"web/page"},
}

// tests are rooms that only tests use; they may import anything, and nothing but tests imports them.
var tests = map[string]bool{"xmpptest": true, "certs/certtest": true, "c2s/c2stest": true, "host/hosttest": true, "web/page/pagetest": true, "store/storetest": true}

const prefix = "rollcall/internal/"

// pure is what the grammar must do without: no goroutine, socket or clock.
var impure = map[string]bool{"net": true, "net/http": true, "os": true, "time": true, "sync": true, "context": true}

// borrowed are uses of an impure package in the grammar that are none.
var borrowed = map[string][]string{
	"xmlstream": {"sync"}, // sync.Pool, for read buffers
	"rosterdoc": {"sync"}, // sync.Pool, for decoders
	"payload":   {"time"}, // time.Time, for what stands in a stanza; the clock is the caller's
}

// public are the packages for others' programs, and what they may import of this module: they bring no server along.
var public = map[string][]string{
	"rollcall/rosterapi":             {"rollcall/internal/jid", "rollcall/internal/rosterdoc"},
	"rollcall/rosterapi/conformance": {"rollcall/internal/jid", "rollcall/rosterapi"},
}

func TestPublicImports(t *testing.T) {
	found := 0
	for _, p := range list(t) {
		allowed, ok := public[p.ImportPath]
		if !ok {
			if strings.HasPrefix(p.ImportPath, "rollcall/rosterapi") {
				t.Errorf("%s is public: say here what it may import", p.ImportPath)
			}
			continue
		}
		found++
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			if (first == "rollcall" || strings.Contains(first, ".")) && !has(allowed, imported) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
	if found != len(public) {
		t.Errorf("%d public packages, want %d", found, len(public))
	}
}

func TestImports(t *testing.T) {
	for _, p := range list(t) {
		room, ours := strings.CutPrefix(p.ImportPath, prefix)
		if !ours || tests[room] {
			continue
		}
		tier := tierOf(room)
		if tier == 0 {
			t.Errorf("the room %s has no tier: give it one here and in docs/architecture.md", room)
			continue
		}
		for _, imported := range p.Imports {
			if tier == 1 && impure[imported] && !has(borrowed[room], imported) {
				t.Errorf("%s imports %s: the grammar has no goroutine, socket or clock", room, imported)
			}
			other, ours := strings.CutPrefix(imported, prefix)
			switch {
			case !ours:
			case tests[other]:
				t.Errorf("%s imports %s, which is for tests", room, other)
			case tierOf(other) >= tier && !has(arrows[room], other):
				t.Errorf("%s (tier %d) imports %s (tier %d)", room, tier, other, tierOf(other))
			}
		}
	}
}

type pkg struct {
	ImportPath string
	Imports    []string
}

// list asks the go command for every package of the module.
func list(t *testing.T) (all []pkg) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", path.Join("rollcall", "..."))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
