package transfer

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/store"
)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A run is an import with the problems that it told of.
type run struct {
	Report
	problems []string
	err      error
}

func importWith(t *testing.T, s *store.Store, existing Policy, read func(*Importer) error) run {
	t.Helper()
	var r run
	im := NewImporter(Options{Store: s, Existing: existing, Problem: func(err error) { r.problems = append(r.problems, err.Error()) },
		Hosts: []Host{{Name: "localhost", Accounts: true, Iterations: 10_000}, {Name: "app.example"}}})
	r.Report, r.err = im.Finish(t.Context(), read(im))
	return r
}

func importXML(t *testing.T, s *store.Store, existing Policy, text string) run {
	t.Helper()
	return importWith(t, s, existing, func(im *Importer) error { return im.ImportXMLFrom(t.Context(), "in", strings.NewReader(text)) })
}

func importCSV(t *testing.T, s *store.Store, existing Policy, text string) run {
	t.Helper()
	return importWith(t, s, existing, func(im *Importer) error { return im.ImportCSV(t.Context(), "in", strings.NewReader(text)) })
}

func export(t *testing.T, s *store.Store) string {
	t.Helper()
	var out bytes.Buffer
	if _, _, err := ExportXML(t.Context(), &out, s, []string{"localhost"}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What prosody-migrator has written of two accounts with the passwords secret1 and secret2.
func TestProsody(t *testing.T) {
	s := newStore(t)
	for i, user := range []string{"john", "marie"} {
		r := importWith(t, s, Fail, func(im *Importer) error {
			return im.ImportXML(t.Context(), filepath.Join("testdata", "prosody", user+"@localhost.xml"))
		})
		if r.err != nil || r.Added != 1 || len(r.problems) > 0 {
			t.Fatalf("%s: %+v", user, r)
		}
		if left := (Counts{"contacts: rosters are the application's": 1, "requests for subscription: rosters are the application's": 1}); user == "john" && !cmp.Equal(r.Left, left) {
			t.Error(cmp.Diff(left, r.Left))
		}
		a, err := s.Account(t.Context(), "localhost", user)
		if err != nil {
			t.Fatal(err)
		}
		k := a.Credentials.SHA1
		salted, err := pbkdf2.Key(sha1.New, fmt.Sprintf("secret%d", i+1), k.Salt, k.Iterations, sha1.Size)
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha1.New, salted)
		mac.Write([]byte("Client Key"))
		if storedKey := sha1.Sum(mac.Sum(nil)); !bytes.Equal(storedKey[:], k.StoredKey) {
			t.Errorf("the keys of %s are not those of the password", user)
		}
	}
}

const scram = `<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>10000</iter-count>` +
	`<salt>MTU2MTdhYjAtOGVjNC00ZTRkLTk5YTUtODUzYjA2NWNjMDdi</salt><server-key>IvZPB/rlGTahgi9EofJEQwfFSeo=</server-key>` +
	`<stored-key>MEDn6YxrkgRjSq7d3cZKjqcGzBM=</stored-key></scram-credentials>`

const everything = `<?xml version='1.0' encoding='UTF-8'?>
<server-data xmlns='urn:xmpp:pie:0'>
<host jid='localhost'>
<user name='john'>
` + scram + `
<disabled xmlns='urn:x-rollcall:account:0'/>
<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><nick>J &lt;3</nick></exodus></query>
<vCard xmlns='vcard-temp'><FN>John</FN></vCard>
<blocklist xmlns='urn:xmpp:blocking'><item jid='bad@example.com'/></blocklist>
<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>
<configure node='ames'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'><value>open</value></field></x></configure>
</pubsub>
<pubsub xmlns='http://jabber.org/protocol/pubsub'>
<items node='ames'><item id='current'><nick xmlns='http://jabber.org/protocol/nick'>Jo</nick></item></items>
<items node='secret'><item id='1'><a xmlns='x'/></item><item id='2'><a xmlns='x'/></item></items>
</pubsub>
<offline-messages>
<message xmlns='jabber:client' from='romeo@example.com/a' to='john@localhost/b' type='chat'><body>one</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='2020-07-21T00:32:29Z'/></message>
<message xmlns='jabber:client' from='romeo@example.com/a' to='john@localhost' type='chat'><body>one</body></message>
<message xmlns='jabber:client' from='romeo@example.com/a' to='john@localhost' type='groupchat'><body>no</body></message>
</offline-messages>
<archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2'/></archive>
<query xmlns='jabber:iq:privacy'><default name='a'/><list name='a'><item type='jid' value='worse@example.com' action='deny' order='1'/><item action='allow' order='2'/></list></query>
<odd xmlns='odd'/>
</user>
</host>
</server-data>`

// All that has a place comes over, all that has none is counted, and what is exported can be imported and is the same.
func TestEverything(t *testing.T) {
	s := newStore(t)
	r := importXML(t, s, Fail, everything)
	if r.err != nil || r.Added != 1 || len(r.problems) > 0 {
		t.Fatalf("%+v", r)
	}
	taken := Counts{kindMessages: 2, kindPrivate: 1, kindVCards: 1, kindItems: 3, kindNodes: 1, kindBlocked: 2}
	left := Counts{"messages that waited, and are of a kind that does not wait here": 1, "messages of archives": 1,
		"rules of privacy lists": 1, `elements <odd xmlns="odd"/>`: 1}
	if !cmp.Equal(r.Taken, taken) || !cmp.Equal(r.Left, left) {
		t.Error(cmp.Diff(taken, r.Taken), cmp.Diff(left, r.Left))
	}
	first := export(t, s)
	for _, want := range []string{"<disabled ", "J &lt;3", "<FN>John</FN>", "bad@example.com", "worse@example.com", ">Jo<", "2020-07-21T00:32:29", "<value>whitelist</value>", "<value>open</value>"} {
		if !strings.Contains(first, want) {
			t.Errorf("the export has no %q", want)
		}
	}
	other := newStore(t)
	if r := importXML(t, other, Fail, first); r.err != nil || r.Added != 1 || len(r.Left) > 0 {
		t.Fatalf("%+v", r)
	}
	if again := export(t, other); again != first {
		t.Error(cmp.Diff(first, again))
	}
}

// An import that broke off between a user's data and the account is done again, and nothing is there twice.
func TestDoneAgain(t *testing.T) {
	s := newStore(t)
	broke := errors.New("broke off")
	r := importWith(t, s, Fail, func(im *Importer) error {
		if err := im.ImportXMLFrom(t.Context(), "in", strings.NewReader(everything)); err != nil {
			return err
		}
		for _, one := range im.batch {
			if err := im.prepare(t.Context(), one); err != nil {
				return err
			}
		}
		return broke
	})
	if !errors.Is(r.err, broke) || r.Added > 0 {
		t.Fatalf("%+v", r)
	}
	if r := importXML(t, s, Fail, everything); r.err != nil || r.Added != 1 {
		t.Fatalf("%+v", r)
	}
	if n, err := s.CountWaiting(t.Context(), "localhost", "john", 10); n != 2 || err != nil {
		t.Errorf("%d messages wait, %v", n, err)
	}
}

func TestExisting(t *testing.T) {
	s := newStore(t)
	if r := importCSV(t, s, Fail, "jid,password\njohn@localhost,one\n"); r.Added != 1 || r.err != nil {
		t.Fatalf("%+v", r)
	}
	before := export(t, s)
	const two = "jid,password\nmarie@localhost,x\njohn@localhost,two\n"
	if r := importCSV(t, s, Fail, two); r.err == nil || !strings.HasPrefix(r.err.Error(), "in:3: john@localhost exists already") || r.Added > 0 {
		t.Errorf("fail: %+v", r)
	}
	if export(t, s) != before {
		t.Error("a batch that failed has changed something")
	}
	if r := importCSV(t, s, Skip, two); r.err != nil || r.Added != 1 || r.Skipped != 1 {
		t.Errorf("skip: %+v", r)
	}
	a, _ := s.Account(t.Context(), "localhost", "john")
	if r := importCSV(t, s, Update, two); r.err != nil || r.Updated != 2 {
		t.Errorf("update: %+v", r)
	}
	if b, err := s.Account(t.Context(), "localhost", "john"); err != nil || bytes.Equal(a.Credentials.SHA256.StoredKey, b.Credentials.SHA256.StoredKey) {
		t.Errorf("the password is the same (%v)", err)
	}
	// Who comes twice in a file exists at the second time.
	if r := importCSV(t, s, Skip, "jid,password\nanna@localhost,x\nAnna@LOCALHOST,y\n"); r.err != nil || r.Added != 1 || r.Skipped != 1 {
		t.Errorf("twice: %+v", r)
	}
}

// A user who cannot be imported is told of with the line, and keeps nobody else away. No error has a password.
func TestProblems(t *testing.T) {
	s := newStore(t)
	r := importCSV(t, s, Fail, "\xef\xbb\xbfJID,password,scram-sha-256,shoe size\r\n"+
		"john,hunter2,,\n"+
		"john@elsewhere.example,hunter2,,\n"+
		"a@localhost,,,\n"+
		"b@localhost,hunter2\x00,,\n"+
		"c@localhost,,SCRAM-SHA-256$1:AAAA$AAAA:AAAA,\n"+
		"d@localhost,,hunter2,\n"+
		"e@localhost,hunter2\n"+
		"good@localhost,hunter2,,44\n")
	want := []string{
		`in:2: jid is no address; write user@host`,
		`in:3: this server has no host "elsewhere.example"`,
		`in:4: there is neither a password nor keys`,
		`in:6: the salt for SHA-256 has 3 bytes`,
		`in:7: the keys are to be written as SCRAM-SHA-256$`,
		`in:8: the line has 2 fields, and the first one 4`,
		`in:5: the password `, // hashing comes later
	}
	if r.err != nil || r.Added != 1 || r.Failed != len(want) || len(r.problems) != len(want) {
		t.Fatalf("%+v", r)
	}
	for i, p := range r.problems {
		if !strings.HasPrefix(p, want[i]) || strings.Contains(p, "hunter2") {
			t.Errorf("%q, want %q", p, want[i])
		}
	}
	if !cmp.Equal(r.Left, Counts{`fields of the column "shoe size"`: 1}) {
		t.Error(r.Left)
	}
	for text, want := range map[string]string{
		"":                                       "in: the file is empty",
		"name,password\n":                        "in:1: the first line names the columns",
		"jid,jid\n":                              `in:1: there are two columns "jid"`,
		"jid\n\"john@localhost":                  "in:2:",
		"jid\n" + strings.Repeat("x", 2*maxLine): "in: a line",
	} {
		if r := importCSV(t, s, Fail, text); r.err == nil || !strings.HasPrefix(r.err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", text, r.err, want)
		}
	}
	for text, want := range map[string]string{
		"":       "in:1: the file has no XML element",
		"<user>": "in:1: the file begins with <user/>",
		"<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='localhost'>":                         "in:2: ",
		"<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='local host'/></server-data>":         "in:2: the host",
		"<server-data xmlns='urn:xmpp:pie:0'>&lol;</server-data>":                              "in:1: ",
		"<server-data xmlns='urn:xmpp:pie:0'/><a/>":                                            "in:1: there is more than one element",
		"<server-data xmlns='urn:xmpp:pie:0'><a b='" + strings.Repeat("x", maxToken+9000) + "": "in:1: a line, or a name",
	} {
		if r := importXML(t, s, Fail, text); r.err == nil || !strings.HasPrefix(r.err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, r.err, want)
		}
	}
}

// Users of a host that does not look at accounts are taken without one.
// Attack case 60: files in which passwords and keys stand where they do not belong are told of without them.
func TestProblemsQuoteNoSecrets(t *testing.T) {
	for _, text := range []string{
		"jid,password\ncanary,john@localhost\n", "jid,disabled,password\njohn@localhost,canary,true\n", "jid,role,password\njohn@localhost,canary,admin\n", "jid,password\njohn@localhost,canary,canary\n",
		"jid,password\n\"john@localhost,canary\n", "jid,password\njohn@localhost,can\"ary\n", "john@localhost,canary\n",
		"jid,scram-sha-1\njohn@localhost,canary\n", "jid,scram-sha-1\njohn@localhost,SCRAM-SHA-1$canary:x$y:z\n",
		"jid,scram-sha-1\njohn@localhost,SCRAM-SHA-1$4096:canary!$y:z\n", "jid,password\njohn@localhost,canary\x00\n",
	} {
		r := importCSV(t, newStore(t), Fail, text)
		if said := fmt.Sprint(r.problems, r.err, r.Report); len(r.problems) == 0 && r.err == nil || strings.Contains(said, "canary") {
			t.Errorf("of\n%s it is said: %s", text, said)
		}
	}
	const head, tail = "<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>", "</host></server-data>"
	for _, user := range []string{
		"<user name='john' password='x&canary;'/>", "<user name='john' password='x&canary'/>", "<user name='john' password='canary\x01'/>",
		"<user name='john' password='canary", "<user name='' password='canary'/>", "<user name='a b' password='canary'/>",
		"<user name='john'><scram-credentials mechanism='SCRAM-SHA-1' xmlns='urn:xmpp:pie:0#scram'><iter-count>canary</iter-count><salt>canary!</salt>" +
			"<server-key>canary!</server-key><stored-key>canary!</stored-key></scram-credentials></user>",
	} {
		r := importXML(t, newStore(t), Fail, head+user+tail)
		if said := fmt.Sprint(r.problems, r.err, r.Report); len(r.problems) == 0 && r.err == nil || strings.Contains(said, "canary") {
			t.Errorf("of %s it is said: %s", user, said)
		}
	}
}

func TestDataOnly(t *testing.T) {
	s := newStore(t)
	text := strings.ReplaceAll(everything, "jid='localhost'", "jid='app.example'")
	r := importXML(t, s, Fail, text)
	if r.err != nil || r.DataOnly != 1 || r.Added > 0 || r.Left["passwords of users whose host does not look at accounts"] != 1 {
		t.Fatalf("%+v", r)
	}
	if _, err := s.Account(t.Context(), "app.example", "john"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if n, err := s.CountWaiting(t.Context(), "app.example", "john", 10); n != 2 || err != nil {
		t.Errorf("%d messages wait, %v", n, err)
	}
}

// The layout that the document recommends (section 5.1), and files that are not to be read.
func TestInclude(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const xi = " xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'"
	main := write("in/main.xml", "<server-data"+xi+"><xi:include href='localhost.xml'/></server-data>")
	write("in/localhost.xml", "<host"+xi+" jid='localhost'><xi:include href='localhost/john.xml'/></host>")
	write("in/localhost/john.xml", "<user"+xi+" name='john'>"+scram+"<xi:include href='card.xml'/></user>")
	write("in/localhost/card.xml", "<vCard xmlns='vcard-temp'><xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/></vCard>")
	s := newStore(t)
	r := importWith(t, s, Fail, func(im *Importer) error { return im.ImportXML(t.Context(), main) })
	if r.err != nil || r.Added != 1 || r.Taken[kindVCards] != 1 {
		t.Fatalf("%+v", r)
	}
	write("secret.xml", "<host jid='localhost' xmlns='urn:xmpp:pie:0'/>")
	for _, href := range []string{"../secret.xml", filepath.Join(dir, "secret.xml"), "file:///etc/passwd", "http://localhost/", "missing.xml", "", "a.xml#b", "a.xml?b", "main.xml' parse='text"} {
		bad := write("in/bad.xml", "<server-data"+xi+">\n<xi:include href='"+href+"'/></server-data>")
		if r := importWith(t, s, Skip, func(im *Importer) error { return im.ImportXML(t.Context(), bad) }); r.err == nil || !strings.HasPrefix(r.err.Error(), bad+":2: ") {
			t.Errorf("%q: %v", href, r.err)
		}
	}
	loop := write("in/loop.xml", "<server-data"+xi+"><xi:include href='loop.host'/></server-data>")
	write("in/loop.host", "<host jid='localhost'"+xi+"><user name='x'/><xi:include href='loop.host'/></host>")
	r = importWith(t, s, Skip, func(im *Importer) error { return im.ImportXML(t.Context(), loop) })
	if r.Added > 0 {
		t.Errorf("%+v", r)
	}
}

// What is too large is passed over, and counted.
func TestTooLarge(t *testing.T) {
	s := newStore(t)
	big := strings.Repeat("<a>b</a>", maxNodes)
	deep := strings.Repeat("<a>", 500) + strings.Repeat("</a>", 500)
	r := importXML(t, s, Fail, strings.Replace(everything, "<odd xmlns='odd'/>", "<big xmlns='x'>"+big+"</big>"+deep+"<vCard xmlns='vcard-temp'><X>"+strings.Repeat("x", 300<<10)+"</X></vCard>", 1))
	if r.err != nil || r.Added != 1 {
		t.Fatalf("%+v", r)
	}
	for _, kind := range []string{`elements <big xmlns="x"/> (too large)`, `elements <a xmlns="urn:xmpp:pie:0"/> (too large)`, "vCards (too large)"} {
		if r.Left[kind] != 1 {
			t.Errorf("%q: %d", kind, r.Left[kind])
		}
	}
}

// A dry run finds what an import would, and changes nothing. It reads any number of users in batches.
func TestDryRun(t *testing.T) {
	s := newStore(t)
	const n = 5 * batchUsers
	im := NewImporter(Options{Store: s, Existing: Fail, DryRun: true, Problem: func(err error) { t.Error(err) }, Hosts: []Host{{Name: "localhost", Accounts: true, Iterations: 10_000}}})
	in, out := io.Pipe()
	go func() {
		fmt.Fprint(out, "<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>")
		for i := range n {
			fmt.Fprintf(out, "<user name='u%d'>%s</user>", i, scram)
		}
		fmt.Fprint(out, "</host></server-data>")
		out.Close()
	}()
	r, err := im.Finish(context.Background(), im.ImportXMLFrom(t.Context(), "in", in))
	if err != nil || r.Added != n {
		t.Fatalf("%+v, %v", r, err)
	}
	// Who comes twice exists at the second time, as in an import.
	const twice = "jid,password\njohn@localhost,x\nmarie@localhost,x\njohn@localhost,y\n"
	for existing, want := range map[Policy]Report{Fail: {Added: 2}, Skip: {Added: 2, Skipped: 1}, Update: {Added: 2, Updated: 1}} {
		im := NewImporter(Options{Store: s, Existing: existing, DryRun: true, Problem: func(err error) { t.Error(err) }, Hosts: []Host{{Name: "localhost", Accounts: true, Iterations: 10_000}}})
		r, err := im.Finish(t.Context(), im.ImportCSV(t.Context(), "in", strings.NewReader(twice)))
		if r.Added != want.Added || r.Skipped != want.Skipped || r.Updated != want.Updated || (err != nil) != (existing == Fail) {
			t.Errorf("%s: %+v, %v", existing, r, err)
		}
	}
	for a := range s.Accounts(t.Context(), "localhost") {
		t.Fatalf("%s was added", a.Username)
	}
}
