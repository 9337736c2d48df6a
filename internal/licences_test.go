package internal

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var updateLicences = flag.Bool("update", false, "write docs/licences.md")

// What a licence says, and its SPDX name; the first that fits.
var licences = []struct{ name, says string }{
	{"Apache-2.0", "Apache License"},
	{"CC0-1.0", "CC0 1.0 Universal"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose"},
	{"BSD-3-Clause", "Neither the name of"},
	{"BSD-2-Clause", "Redistributions of source code must retain the above copyright"},
	{"MIT", "Permission is hereby granted, free of charge"},
}

// docs/licences.md lists what the program is made of, and under which licences. One that is not known here is a question for a
// person: may the program have it?
func TestLicences(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Licences\n\nThe modules that are in the program `rollcall`, beside the standard library of Go (BSD-3-Clause), written by " +
		"`go test ./internal -run Licences -update`.\n`make sbom` makes a list for machines (CycloneDX).\n\n| module | version | licence |\n| --- | --- | --- |\n")
	for _, m := range modules(t) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Path, m.Version, licence(t, m))
	}
	const path = "../docs/licences.md"
	if *updateLicences {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != b.String() {
		t.Errorf("docs/licences.md is not what go.mod says (%v): go test ./internal -run Licences -update", err)
	}
}

type module struct {
	Path, Version, Dir string
	Main               bool
}

// modules lists those that the program is linked from.
func modules(t *testing.T) (all []module) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=Module", "rollcall/cmd/rollcall")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := map[string]bool{}
	for {
		var p struct{ Module *module }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if m := p.Module; m != nil && !m.Main && !seen[m.Path] {
			seen[m.Path] = true
			all = append(all, *m)
		}
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func licence(t *testing.T, m module) string {
	t.Helper()
	var names []string
	files, err := os.ReadDir(m.Dir)
	if err != nil {
		t.Fatalf("%s: %v", m.Path, err)
	}
	for _, f := range files {
		upper := strings.ToUpper(f.Name())
		if !strings.HasPrefix(upper, "LICENSE") && !strings.HasPrefix(upper, "LICENCE") && !strings.HasPrefix(upper, "COPYING") || f.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(m.Dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(b)), " ")
		for _, l := range licences {
			if strings.Contains(text, l.says) {
				if !slices.Contains(names, l.name) {
					names = append(names, l.name)
				}
				break
			}
		}
	}
	if len(names) == 0 {
		t.Errorf("%s %s has no licence that is known here", m.Path, m.Version)
	}
	return strings.Join(names, ", ")
}
