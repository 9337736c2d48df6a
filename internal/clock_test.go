package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// wall lists the files that read the clock on the wall, which somebody may set, and what for. Everywhere else a time is one of time.Now as
// it came, which is compared by a clock that nobody sets: a session, a wait, a breaker and a limit go on whatever happens to the other.
// UTC, Round(0) and what a time is stored as take that away (package time, "Monotonic Clocks").
var wall = map[string]string{
	"../cmd/rollcall/client.go":  "when a request was signed, for the server",
	"../rosterapi/sign.go":       "when a request was signed, for the server",
	"admin/events.go":            "shown",
	"admin/signature.go":         "when a request was signed, by the clock of who signed it; replays are remembered for as long",
	"admin/status.go":            "shown",
	"auth/fast.go":               "when a token ends, which outlives the process",
	"auth/tokens.go":             "when a token ends, which outlives the process",
	"c2s/sasl2.go":               "shown: when a token ends",
	"feature/archive/archive.go": "how old messages are; a clock that was set forward is believed an hour later",
	"feature/last/moments.go":    "when somebody was last there, which outlives the process; answers are never negative",
	"feature/pep/avatar.go":      "when something was published, shown",
	"feature/pep/requests.go":    "when something was published, shown",
	"feature/pep/transfer.go":    "when something was published, shown",
	"feature/time/time.go":       "shown",
	"host/copy.go":               "shown: when a message came",
	"host/flush.go":              "shown: when a message came",
	"host/transfer.go":           "shown: when a message came at another server",
	"payload/payload.go":         "what stanzas say",
	"server/accounts.go":         "a version: each is later than the one before (store.SetPassword)",
	"server/rosters.go":          "shown",
	"server/sessions.go":         "shown",
	"store/accounts.go":          "versions of passwords: each is later than the one before",
	"store/commit.go":            "ids of messages: each is later than the one before",
	"store/commit_postgres.go":   "numbers of commits are forgotten when they are old",
	"store/events.go":            "how old an event is, which outlives the process",
	"store/log.go":               "what a query says; the age of messages (archive.max_age)",
	"store/messages.go":          "when a message came; its id is not less",
	"store/rosters.go":           "how old a copy is, which outlives the process; one from the future is one of now (roster/load.go)",
	"store/secrets.go":           "shown to nobody",
	"store/tokens.go":            "when a token ends, which outlives the process",
	"store/values.go":            "shown to nobody",
	"web/files/files.go":         "the time of a file",
	"web/files/listing.go":       "the time of a file",
	"webhook/memory.go":          "ids of events: each is later than the one before",
	"webhook/webhook.go":         "when something happened, and when it was sent, for the application",
}

// stripped are methods and functions that give, take or make times without the clock that nobody sets.
var stripped = map[string]bool{"UTC": true, "Unix": true, "UnixMilli": true, "UnixMicro": true, "UnixNano": true}

func TestClocks(t *testing.T) {
	seen := map[string]bool{}
	for _, dir := range []string{".", "../cmd", "../rosterapi"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			base := strings.TrimSuffix(path, ".go")
			switch {
			case d.IsDir() && (tests[path] || path == "web/demo"): // the demo's application is an example
				return filepath.SkipDir
			case d.IsDir() || base == path || strings.HasSuffix(base, "_test"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if ok && (stripped[f.Sel.Name] && (len(call.Args) == 0 || isTime(f.X)) || f.Sel.Name == "Round" && isZero(call.Args[0])) {
					seen[filepath.ToSlash(path)] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for path := range seen {
		if wall[path] == "" {
			t.Errorf("%s reads the clock on the wall (UTC, Unix…), which may be set: compare times of time.Now as they are, or say in the list what it is for", path)
		}
	}
	for path := range wall {
		if !seen[path] {
			t.Errorf("%s is in the list, and does not read the clock on the wall", path)
		}
	}
}

func isZero(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Value == "0"
}

func isTime(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "time"
}
