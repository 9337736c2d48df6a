package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChanges(t *testing.T) {
	const base = "[[host]]\nname = \"a.example\"\nroster.url = \"http://x/%s\"\n"
	tests := []struct {
		name, before, after string
		want                []string // with ! in front where a restart is needed
	}{
		{"nothing", base, base, nil},
		{"a default that is written out", base, "[log]\nlevel = \"info\"\n" + base, nil},
		{"a new value", base, "[log]\nlevel = \"debug\"\n" + base, []string{"log.level"}},
		{"back to the default", "[limits]\nresume = \"1m\"\n" + base, base, []string{"!limits.resume"}},
		{"of a host", base, strings.Replace(base, "http://x/%s", "http://y/%s", 1), []string{"host.roster.url of a.example"}},
		{"another host", base, base + "[[host]]\nname = \"b.example\"\nadmin_token = \"of-another-host\"\n", []string{"!host of b.example"}},
		{"hosts in another order", base + "[[host]]\nname = \"b.example\"\n", "[[host]]\nname = \"b.example\"\n" + base, nil},
		{"a name in another spelling", base, strings.Replace(base, "a.example", "A.Example", 1), nil},
		{"a token", "[admin]\ntoken = \"one-of-them-is-this\"\n" + base, "[admin]\ntoken = [\"one-of-them-is-this\", \"and-another-one\"]\n" + base, []string{"admin.token"}},
		{"administrators", base, base + "admins = [\"john\"]\n", []string{"host.admins of a.example"}},
		{"a list", base, "[http]\norigins = [\"https://a.example\"]\n" + base, []string{"!http.origins"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, c := range parse(t, test.before).Changes(parse(t, test.after)) {
				mark := "!"
				if c.Live {
					mark = ""
				}
				got = append(got, mark+c.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got)\n%s", diff)
			}
		})
	}
}

// TestChangedTokenFile: the file's name is the same, and what is in it is not.
func TestChangedTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	text := fmt.Sprintf("[admin]\ntoken_file = %q\n[[host]]\nname = \"a.example\"\n", file)
	read := func(token string) *Config {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		return parse(t, text)
	}
	before, after := read("first-token-of-all"), read("second-token-of-all")
	if got := before.Changes(after); len(got) != 1 || got[0].Key != "admin.token" || !got[0].Live {
		t.Errorf("changes are %v, want admin.token", got)
	}
	for _, c := range []*Config{before, after} {
		if shown := fmt.Sprintf("%+v %#v", c, c.source); strings.Contains(shown, "token-of-all") {
			t.Error("the token can be read in a printed configuration")
		}
	}
}

// TestLiveKeysExist: a key that was renamed must be renamed in the list as well.
func TestLiveKeysExist(t *testing.T) {
	known := map[string]bool{}
	for _, k := range rootKeys() {
		known[k.name] = true
	}
	for _, k := range hostKeys() {
		known["host."+k.name] = true
	}
	for _, name := range live {
		if !known[name] {
			t.Errorf("there is no key %s", name)
		}
	}
}

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("rollcall.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
