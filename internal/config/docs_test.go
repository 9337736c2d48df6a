package config

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write docs/config.md and rollcall.example.toml from the list of keys")

const (
	docsFile   = "../../docs/config.md"
	sampleFile = "../../rollcall.example.toml"
)

// Keys that must be given have no default; the sample shows these.
var sampleValues = map[string]string{
	"name":       "localhost",
	"roster.url": "http://127.0.0.1:9099/contacts/%s",
}

func TestDocumentationHasEveryKey(t *testing.T) { compareFile(t, docsFile, docs()) }

func TestSampleHasEveryKey(t *testing.T) { compareFile(t, sampleFile, sample()) }

func compareFile(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what keys.go says; run: go test ./internal/config -update\n%s", file, diff)
	}
}

// TestSampleIsTheDefaults reads the shipped sample as it is and with every key uncommented: both must be the defaults.
func TestSampleIsTheDefaults(t *testing.T) {
	b, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(sampleFile, []byte("[[host]]\nname = 'localhost'\nroster.url = 'http://127.0.0.1:9099/contacts/%s'\n"))
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(string(b), "$1")
	if keys, lines := len(rootKeys())+len(hostKeys()), len(regexp.MustCompile(`(?m)^[a-z][a-z0-9_.]* = `).FindAllString(all, -1)); lines != keys {
		t.Errorf("the sample has %d assignments, but there are %d keys", lines, keys)
	}
	for name, text := range map[string]string{"as shipped": string(b), "uncommented": all} {
		got, err := Parse(sampleFile, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("%s: not the defaults (-want +got)\n%s", name, diff)
		}
	}
}

func sample() string {
	var b strings.Builder
	b.WriteString(`# rollcall.example.toml: every key of rollcall's configuration, with its default and what it does.
#
# A line that begins with "#" and a key shows the default: remove the "#" to change it. What is not commented out is
# a complete configuration. Durations are numbers with units ("90s", "1h30m"), sizes are bytes or such as "256 KiB".
`)
	for _, tb := range tables {
		b.WriteString("\n" + comment(tb.doc+"."))
		keys := keysOfTable(tb)
		switch tb.name {
		case "":
		case "host":
			b.WriteString("[[host]]\n")
		default:
			fmt.Fprintf(&b, "[%s]\n", tb.name)
		}
		for _, k := range keys {
			b.WriteString("\n" + comment(k.doc))
			name := strings.TrimPrefix(k.name, tb.name+".")
			if value, given := sampleValues[k.name]; given {
				fmt.Fprintf(&b, "%s = %q\n", name, value)
			} else {
				fmt.Fprintf(&b, "#%s = %s\n", name, literal(k.def))
			}
		}
	}
	return b.String()
}

// comment breaks text into lines of a readable length.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

func docs() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" +
		"<!-- Written from internal/config/keys.go by: go test ./internal/config -update -->\n\n" +
		"`rollcall serve -c rollcall.toml` reads one TOML file. [rollcall.example.toml](../rollcall.example.toml) is a\n" +
		"complete one, with every key commented. Two lines are enough:\n\n" +
		"```toml\n[[host]]\nname = \"localhost\"\nroster.url = \"http://127.0.0.1:9099/contacts/%s\"\n```\n\n" +
		"A key that is unknown, a value of a wrong type and keys that contradict each other are errors: rollcall names all of\n" +
		"them with file, line, column and what is allowed, and exits with 2. Paths start from the folder of the file.\n" +
		"A *duration* is a string such as `\"90s\"` or `\"1h30m\"`; a *size* is a number of bytes or a string such as `\"256 KiB\"`.\n" +
		"Of a token and its `_file` and `_env` at most one may be set.\n\n" +
		"On SIGHUP the file is read again. If there is a mistake in it nothing changes, and the log says what is wrong; otherwise keys that are\n" +
		"marked ↻ take effect at once, and the log names the changed keys that take a restart. Nobody's session ends, and what is under way, requests and\n" +
		"sign-ins, ends by the old values. Of a file that holds a secret or keys (`_file`) it counts what is in it.\n")
	for _, tb := range tables {
		head := map[string]string{"": "Outside tables", "host": "`[[host]]`"}[tb.name]
		if head == "" {
			head = "`[" + tb.name + "]`"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| key | value | default | |\n| --- | --- | --- | --- |\n", head, tb.doc)
		for _, k := range keysOfTable(tb) {
			def := "must be given"
			if k.def != nil {
				def = "`" + literal(k.def) + "`"
			}
			mark, name := "", k.name
			if tb.name == "host" {
				name = "host." + name
			}
			if isLive(name) {
				mark = " ↻"
			}
			fmt.Fprintf(&b, "| `%s`%s | %s | %s | %s |\n", strings.TrimPrefix(k.name, tb.name+"."), mark, k.kind, def, k.doc)
		}
	}
	return b.String()
}

// keysOfTable returns the keys that stand under a heading: those of a table, or of [[host]].
func keysOfTable(tb table) []key {
	if tb.name == "host" {
		return hostKeys()
	}
	var keys []key
	for _, k := range rootKeys() {
		if head, _, dotted := strings.Cut(k.name, "."); dotted && head == tb.name || !dotted && tb.name == "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// literal writes a default as TOML.
func literal(def any) string {
	switch def := def.(type) {
	case string:
		return strconv.Quote(def)
	case []string:
		return "[" + quoted(def) + "]"
	default:
		return fmt.Sprint(def)
	}
}

// TestDefaults names the values that other documents promise: the sources are reliability.md ("Defaults") for limits,
// roster-http.md section 1 for rosters.
func TestDefaults(t *testing.T) {
	c := Default()
	h := DefaultHost("example.com", "http://x/%s")
	want := []struct {
		what      string
		got, want any
	}{
		{"data_dir", c.DataDir, "data"},
		{"listen", c.Listen, Listen{C2S: "127.0.0.1:5222", HTTP: "127.0.0.1:5280"}},
		{"tls", c.TLS, TLS{Require: true, ACME: ACME{Directory: DefaultDirectory}}},
		{"http", c.HTTP, HTTP{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}}},
		{"limits", c.Limits, Limits{256 << 10, 10_000, 30 * time.Second, 1000, 2000, 10, 1 << 20, 30 * time.Second, 10 * time.Minute, 500, 10, 200,
			16 << 10, 64 << 10, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, 0, 30, 200, 10}},
		{"host", h, Host{Name: "example.com", Auth: Auth{Method: "accounts", ChannelBinding: true, DowngradeProtection: true, Iterations: 10_000, PasswordMin: 1, ClientNames: "xmpp", FAST: true, ReservedNames: reservedNames,
			HTTP: AuthService{Style: "mongooseim", Timeout: 5 * time.Second, Cache: 30 * time.Second, Concurrency: 32}, JWT: AuthTokens{Claim: "sub"}}, Roster: Roster{
			URL: "http://x/%s", BatchSize: 100, Timeout: 5 * time.Second, MaxAge: 10 * time.Minute, LoginWait: 2 * time.Second,
			MaxBytes: 4 << 20, MaxItems: 10_000, Concurrency: 32, ClientEdits: "service-unavailable", Guard: true}, Profile: Profile{
			Timeout: 5 * time.Second, MaxAge: time.Hour, Concurrency: 8, AvatarBytes: 64 << 10}, Offline: Offline{100}, Archive: Archive{ArchiveAlways, 0, 100_000}, Files: Files{
			Path: "/files/", Index: []string{"index.html", "index.htm"},
			Policy: "object-src 'none'; base-uri 'self'; frame-ancestors 'self'"}, Webhooks: Webhooks{Events: Events, MaxAge: 24 * time.Hour}}},
		{"log", c.Log, Log{Format: "text"}},
	}
	for _, w := range want {
		if diff := cmp.Diff(w.want, w.got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", w.what, diff)
		}
	}
}
