package server_test

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

var update = flag.Bool("update", false, "write rollcall.doap anew")

const root = "../../"

// A spec is a row of docs/compliance.md.
type spec struct {
	name, title, version, status, note string
	rooms, tests                       []string
}

// compliance reads the page: the documents by name, the suites' rows, and what else it says.
func compliance(t *testing.T) (documents map[string]spec, order []string, suites [][]string, text string) {
	b, err := os.ReadFile(root + "docs/compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = map[string]spec{}
	code := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 8 && (strings.HasPrefix(cells[1], "RFC ") || strings.HasPrefix(cells[1], "XEP-")):
			words := strings.Fields(cells[1])
			d := spec{name: words[0], title: strings.Join(words[1:], " "), version: cells[2], status: cells[3], note: cells[6], tests: strings.Fields(cells[5])}
			if words[0] == "RFC" {
				d.name, d.title = "RFC "+words[1], strings.Join(words[2:], " ")
			}
			for _, m := range code.FindAllStringSubmatch(cells[4], -1) {
				d.rooms = append(d.rooms, m[1])
			}
			if _, twice := documents[d.name]; twice {
				t.Errorf("%s has two rows", d.name)
			}
			documents[d.name], order = d, append(order, d.name)
		case len(cells) == 7 && strings.Contains(cells[3], "0") && cells[1] != "suite":
			suites = append(suites, cells[1:6])
		default:
			text += line
		}
	}
	return documents, order, suites, text
}

// Whatever the server says of itself has a row on the page, and each room of internal/feature has.
func TestComplianceIsWhole(t *testing.T) {
	documents, _, _, text := compliance(t)
	known := spaces(t)
	for space := range announced(t) {
		name, ok := known[space]
		if base, _, extended := strings.Cut(space, "#"); extended && !ok {
			name, ok = known[base] // "…/pubsub#publish"
		}
		if !ok {
			t.Errorf("the server announces %s, which internal/ns does not have with its document", space)
		} else if _, ok := documents[name]; !ok {
			t.Errorf("the server announces %s, but docs/compliance.md has no row for %s", space, name)
		}
	}
	rooms, err := os.ReadDir("../feature")
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		name := "feature/" + room.Name()
		if !strings.Contains(text, "`"+name+"`") && !hasRoom(documents, name) {
			t.Errorf("internal/%s is not in docs/compliance.md: give its document a row", name)
		}
	}
}

func hasRoom(documents map[string]spec, room string) bool {
	for _, d := range documents {
		if slices.Contains(d.rooms, room) {
			return true
		}
	}
	return false
}

// Each row is true as far as a program can see: rooms and tests are there, and the version is that of internal/ns.
func TestComplianceIsTrue(t *testing.T) {
	documents, _, suites, _ := compliance(t)
	if len(documents) < 40 || len(suites) < 20 {
		t.Fatalf("%d documents and %d rows of suites: has the page another form?", len(documents), len(suites))
	}
	tests, versions := allTests(t), versions(t)
	for name, d := range documents {
		for _, room := range d.rooms {
			if info, err := os.Stat("../" + room); err != nil || !info.IsDir() {
				t.Errorf("%s: there is no internal/%s", name, room)
			}
		}
		for _, test := range d.tests {
			if !tests[test] {
				t.Errorf("%s: there is no test or dialogue %s", name, test)
			}
		}
		if v, known := versions[name]; known && v != d.version {
			t.Errorf("%s: the version is %q, and %q in internal/ns", name, d.version, v)
		}
		if d.status != "complete" && (d.status != "partial" || d.note == "") {
			t.Errorf(`%s: the status is %q; write complete, or partial and what is missing`, name, d.status)
		}
		if len(d.rooms) == 0 || len(d.tests) == 0 || d.version == "" && strings.HasPrefix(name, "XEP") {
			t.Errorf("%s: a version, rooms and tests are missing", name)
		}
	}
	for _, row := range suites {
		met := "✓"
		for _, name := range strings.Split(row[2], ", ") {
			if documents[name].status != "complete" {
				met = "✗"
			}
		}
		for _, said := range row[3:] {
			if said != "" && said != met {
				t.Errorf("%s, %s: it says %s; by the documents it is %s", row[0], row[1], said, met)
			}
		}
	}
}

// announced are all features that a server says it has, to a user with everything turned on.
func announced(t *testing.T) map[string]bool {
	all := map[string]bool{}
	synctest.Test(t, func(t *testing.T) {
		w, err := xmpptest.Start(t, xmpptest.NewService(), xmpptest.Options{Accounts: []string{"john"}, DataDir: t.TempDir(), Disk: xmpptest.NewDisk(nil)})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		features, john := streamFeatures(t, w, "john")
		defer john.Close()
		for el := range features.Elements() {
			all[el.Space] = true
		}
		for i, to := range []string{"localhost", "john@localhost"} {
			john.send(fmt.Sprintf("<iq type='get' id='i%d' to='%s'><query xmlns='%s'/></iq>", i, to, ns.DiscoInfo))
			for el := range john.until(fmt.Sprintf("id='i%d'", i)).First().Elements() {
				if el.Is(ns.DiscoInfo, "feature") {
					all[el.Attr("var")] = true
				}
			}
		}
	})
	if len(all) < 15 {
		t.Errorf("the server announces %d features: was everything asked for?", len(all))
	}
	return all
}

// streamFeatures are those that a user is told who has signed in; the session is then bound.
func streamFeatures(t *testing.T, w *xmpptest.World, user string) (*xmlstream.Element, talk) {
	t.Helper()
	c, err := w.Connect(t.Context(), user, "phone")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.Features, talk{t, c}
}

// addresses is the form of XEP-0157 for TestServerCapabilities.
const addresses = "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>" +
	"<field var='admin-addresses' type='list-multi'><value>mailto:admin@localhost</value><value>xmpp:john@localhost</value></field>" +
	"<field var='support-addresses' type='list-multi'><value>https://localhost/help</value></field></x>"

// Clients that sign in are told what the host would say of itself, whom to turn to among it; it says the same when it is asked with that name.
func TestServerCapabilities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := xmpptest.Start(t, xmpptest.NewService(), xmpptest.Options{HostConfig: []string{
			`contact.support = ["https://localhost/help"]`, `contact.admin = ["mailto:admin@localhost", "xmpp:john@localhost"]`}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		features, john := streamFeatures(t, w, "john")
		defer john.Close()
		c := features.Child(ns.Caps, "c")
		if c == nil {
			t.Fatalf("no capabilities in %s", features)
		}
		node := c.Attr("node") + "#" + c.Attr("ver")
		for i, asked := range []string{"", " node='" + node + "'"} {
			john.send(fmt.Sprintf("<iq type='get' id='i%d' to='localhost'><query xmlns='%s'%s/></iq>", i, ns.DiscoInfo, asked))
			info := john.until(fmt.Sprintf("id='i%d'", i), "mailto:admin@localhost").First()
			if got := payload.Verification(info, "sha-1"); got != c.Attr("ver") || c.Attr("hash") != "sha-1" {
				t.Errorf("the answer stands for %s, and the stream's features say %s", got, c)
			}
			if got := info.Child(ns.DataForms, "x").String(); got != addresses {
				t.Errorf("whom to turn to is\n%s, want\n%s", got, addresses)
			}
			if i == 1 && info.Attr("node") != node {
				t.Errorf("the answer is about the node %q", info.Attr("node"))
			}
		}
		john.send(fmt.Sprintf("<iq type='get' id='x' to='localhost'><query xmlns='%s' node='%s0'/></iq>", ns.DiscoInfo, node))
		john.until("id='x'", "item-not-found")
	})
}

var nsLine = regexp.MustCompile(`= +"([^"]+)" +// (XEP-\d{4}|RFC \d+)( v([0-9.]+[0-9]))?`)

// spaces gives the document of each namespace, and versions the version of each document, as internal/ns says them.
func spaces(t *testing.T) map[string]string {
	all := map[string]string{"msgoffline": "XEP-0160"} // which has no namespace
	defer func() { all[ns.Session] = "RFC 6121" }()    // which made it optional
	for _, m := range nsLine.FindAllStringSubmatch(source(t, "../ns/ns.go"), -1) {
		all[m[1]] = m[2]
	}
	return all
}

func versions(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, m := range nsLine.FindAllStringSubmatch(source(t, "../ns/ns.go"), -1) {
		if m[4] != "" {
			all[m[2]] = m[4]
		}
	}
	return all
}

func source(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// allTests are the names of all tests and dialogues.
func allTests(t *testing.T) map[string]bool {
	all := map[string]bool{}
	name := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"internal", "e2e", "cmd"} {
		err := filepath.WalkDir(root+dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".venv"):
				return fs.SkipDir
			case strings.HasSuffix(path, "_test.go"):
				for _, m := range name.FindAllStringSubmatch(source(t, path), -1) {
					all[m[1]] = true
				}
			case strings.Contains(path, "/dialogues/"):
				all[strings.TrimSuffix(d.Name(), ".txt")] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// rollcall.doap (XEP-0453) says what docs/compliance.md does.
func TestComplianceDOAP(t *testing.T) {
	documents, order, _, _ := compliance(t)
	var b bytes.Buffer
	b.WriteString(`<?xml version='1.0' encoding='UTF-8'?>
<!-- Written from docs/compliance.md by: go test ./internal/server -run ComplianceDOAP -update -->
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project xml:lang='en'>
    <name>rollcall</name>
    <shortdesc xml:lang='en'>XMPP server whose users' contact lists belong to your application</shortdesc>
    <license rdf:resource='https://www.apache.org/licenses/LICENSE-2.0'/>
    <programming-language>Go</programming-language>
    <os>Linux</os>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
`)
	for _, name := range order {
		d := documents[name]
		if number, ok := strings.CutPrefix(name, "RFC "); ok {
			fmt.Fprintf(&b, "    <implements rdf:resource='https://www.rfc-editor.org/rfc/rfc%s'/>\n", number)
			continue
		}
		fmt.Fprintf(&b, "    <implements>\n      <xmpp:SupportedXep>\n        <xmpp:xep rdf:resource='https://xmpp.org/extensions/%s.html'/>\n"+
			"        <xmpp:status>%s</xmpp:status>\n        <xmpp:version>%s</xmpp:version>\n", strings.ToLower(name), d.status, d.version)
		if d.note != "" && !strings.Contains(d.note, "](") {
			b.WriteString("        <xmpp:note xml:lang='en'>")
			if err := xml.EscapeText(&b, []byte(d.note)); err != nil {
				t.Fatal(err)
			}
			b.WriteString("</xmpp:note>\n")
		}
		b.WriteString("      </xmpp:SupportedXep>\n    </implements>\n")
	}
	b.WriteString("  </Project>\n</rdf:RDF>\n")
	if err := xml.Unmarshal(b.Bytes(), new(struct{})); err != nil {
		t.Error(err)
	}
	if *update {
		if err := os.WriteFile(root+"rollcall.doap", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := source(t, root+"rollcall.doap"); got != b.String() {
		t.Error("rollcall.doap is not what docs/compliance.md says; write it anew: go test ./internal/server -run ComplianceDOAP -update")
	}
}
