package internal

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/security.md and docs/reliability.md name exists.
func TestSecurityTable(t *testing.T) {
	doc, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	faults, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	doc = append(doc, faults...)
	named := regexp.MustCompile("`((?:internal|e2e)[a-z0-9/]*)`((?:[ ,]*(?:Test|Fuzz)[A-Za-z0-9]+)+)")
	dialogue := regexp.MustCompile(`[a-z_]+\.txt`)
	tests, cases := 0, map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		if n, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && regexp.MustCompile(`^\d+$`).MatchString(n) {
			if cases[n] {
				t.Errorf("case %s is there twice", n)
			}
			cases[n] = true
			if !named.MatchString(line) && !dialogue.MatchString(line) && !strings.Contains(line, "(nothing to test)") {
				t.Errorf("case %s names no test", n)
			}
		}
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			functions := testFunctions(t, m[1])
			for _, name := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ' ' || r == ',' }) {
				if tests++; !functions[name] {
					t.Errorf("there is no %s in %s", name, m[1])
				}
			}
		}
		for _, name := range dialogue.FindAllString(line, -1) {
			if _, err := os.Stat(filepath.Join("server/testdata/dialogues", name)); err != nil {
				t.Errorf("there is no dialogue %s", name)
			}
		}
	}
	if len(cases) < 58 || tests < 100 {
		t.Errorf("%d cases and %d tests: the table is not read as it is written", len(cases), tests)
	}
}

// testFunctions gives the tests of a folder.
func testFunctions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(b, -1) {
			all[string(m[1])] = true
		}
	}
	return all
}

// Attack case 25: what cannot be guessed is not made where numbers that can be guessed are at hand. Those who wait for a
// random time, or number what is no secret, have them.
func TestSecurityRandom(t *testing.T) {
	allowed := map[string]string{
		"webhook": "jitter", "store": "jitter, a number for each writer", "xmpptest": "a network for tests",
	}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if room, _, _ := strings.Cut(filepath.ToSlash(path), "/"); err == nil && bytes.Contains(b, []byte(`"math/rand`)) && allowed[room] == "" {
			t.Errorf("%s imports math/rand: use crypto/rand", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
