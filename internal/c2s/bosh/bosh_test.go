package bosh_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// The answer to the first request, to the byte; the namespaces of what follows.
func TestBodies(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	c, got := s.create("hold='1' wait='60' ver='1.6'")
	want := "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0' xmpp:restartlogic='true'" +
		" sid='" + c.sid + "' from='localhost' wait='60' requests='2' hold='1' inactivity='60' polling='5' maxpause='120' ver='1.6'" +
		" xmlns:stream='http://etherx.jabber.org/streams'><stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms "
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "</stream:features></body>") {
		t.Errorf("created with\n%s\nwant\n%s…", got, want)
	}
	if len(c.sid) != 22 {
		t.Errorf("session id %q does not hold 128 bits", c.sid)
	}
	if got, want := c.ask("", "<auth xmlns='"+ns.SASL+"' mechanism='PLAIN'>"+c2stest.Plain+"</auth>"),
		holding("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"); got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
	got = c.ask("xmpp:restart='true' to='localhost'", "<message xmlns='jabber:client'/>") // which is ignored
	if !strings.HasPrefix(got, "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams'><stream:features") {
		t.Errorf("restart answered %s", got)
	}
	got = c.ask("", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='"+ns.Bind+"'/></iq>")
	if !strings.HasPrefix(got, "<body xmlns='http://jabber.org/protocol/httpbind'><iq xmlns='jabber:client' type='result' id='b'>") {
		t.Errorf("bind answered %s", got)
	}
	a := s.post(t.Context(), c.body(c.rid, "", message("1")+message("2")))
	if a.header.Get("Content-Type") != "text/xml; charset=utf-8" || a.header.Get("Content-Length") == "" {
		t.Errorf("headers %v", a.header)
	}
	if !strings.Contains(a.body, echo("1", "generated")) {
		t.Errorf("answered %s", a.body)
	}
}

// A restart that does not name the domain means the one before.
func TestRestartWithoutDomain(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	c, _ := s.create("")
	c.ask("", "<auth xmlns='"+ns.SASL+"' mechanism='PLAIN'>"+c2stest.Plain+"</auth>")
	if got := c.ask("xmpp:restart='1'", ""); !strings.Contains(got, "<bind") {
		t.Errorf("answered %s", got)
	}
}

// Several stanzas in one request arrive in order; those that leave out their namespace, too.
func TestSeveralStanzas(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		var got []string
		s.hosts.OnReceive = func(_ *session.Session, el *xmlstream.Element) { got = append(got, el.String()) }
		c := s.bind("x", "")
		got = nil
		held := c.start("", message("1")+
			"\n  <message id='2'><body>hi</body><x xmlns='urn:x'><body/></x></message>\n"+
			"<presence xmlns='jabber:client'/>")
		c.got(<-held)
		synctest.Wait()
		want := []string{"<message xmlns='jabber:client' id='1'/>",
			"<message xmlns='jabber:client' id='2'><body>hi</body><x xmlns='urn:x'><body/></x></message>",
			"<presence xmlns='jabber:client'/>"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("received\n%q\nwant\n%q", got, want)
		}
	})
}

// Attack case 38: what a client may ask for, and what it gets.
func TestCreation(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	for _, tc := range []struct{ ask, want string }{
		{"", "wait='60' requests='2' hold='1' inactivity='60'"},
		{"hold='2'", "requests='3' hold='2'"},
		{"hold='1000' wait='1000000000'", "wait='120' requests='3' hold='2'"},
		{"wait='99999999999999999999999999'", "wait='120'"},
		{"wait='30'", "wait='30'"},
		{"hold='0'", "wait='0' requests='1' hold='0' inactivity='120'"},
		{"wait='0'", "wait='0' requests='1' hold='0' inactivity='120'"},
		{"ver='1.6'", " ver='1.6'"},
		{"ver='1.200'", " ver='1.11'"},
		{"ver='2.0'", " ver='1.11'"},
		{"ack='1'", " ack='1000'"},
		{"route='xmpp:example.com:9999' secure='true' from='juliet@localhost'", " from='localhost'"},
	} {
		if tc.ask == "" {
			tc.ask = "ver='1.6'"
		}
		if c, got := s.create(tc.ask); !strings.Contains(got, tc.want) {
			t.Errorf("%s: created with\n%s\nwant %s", tc.ask, got, tc.want)
		} else {
			c.ask("type='terminate'", "")
		}
	}
	for _, bad := range []string{"", "rid=''", "rid='0'", "rid='-1'", "rid='x'", "rid='1.5'", "rid='1' wait='-1'", "rid='1' hold='x'",
		"rid='1' pause=''", "rid='1' ack='x'"} {
		if a := s.post(t.Context(), "<body "+xmlns+" to='localhost' "+bad+"/>"); a.status != 200 || a.body != ended("bad-request") {
			t.Errorf("%s: %+v", bad, a)
		}
	}
	for _, bad := range []string{"", "x", "<body rid='1'/>", "<body xmlns='jabber:client' rid='1'/>", "<x xmlns='http://jabber.org/protocol/httpbind' rid='1'/>",
		"<body xmlns='http://jabber.org/protocol/httpbind' rid='1'", "<body xmlns='http://jabber.org/protocol/httpbind' rid='1'>",
		"<body xmlns='http://jabber.org/protocol/httpbind' rid='1'/><body/>", "<!DOCTYPE body><body xmlns='http://jabber.org/protocol/httpbind' rid='1'/>",
		"<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='" + strings.Repeat("a", 9000) + "'/>"} {
		if a := s.post(t.Context(), bad); a.status != 200 || a.body != ended("bad-request") {
			t.Errorf("%.80s: %+v", bad, a)
		}
	}
	for to, want := range map[string]string{"nowhere.example": "host-unknown", "": "improper-addressing"} {
		a := s.post(t.Context(), "<body "+xmlns+" rid='1' to='"+to+"'/>")
		if !strings.Contains(a.body, "type='terminate'") || !strings.Contains(a.body, "condition='"+want+"'") || strings.Contains(a.body, "sid=") {
			t.Errorf("to %q: %s, want %s", to, a.body, want)
		}
	}
}

// Attack case 38: session ids cannot be guessed, and what is wrong with a request looks the same.
func TestUnknownSession(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	c, _ := s.create("")
	other := &client{s, strings.Repeat("A", 22), 1}
	if got := other.ask("", ""); got != ended("item-not-found") {
		t.Errorf("unknown session: %s", got)
	}
	if got := c.ask("", "<auth xmlns='"+ns.SASL+"' mechanism='X'/>"); !strings.Contains(got, "<invalid-mechanism") {
		t.Errorf("the session is the worse for it: %s", got)
	}
	// A body that is large is not read for nobody's session.
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url, pr)
	if err != nil {
		t.Fatal(err)
	}
	go io.WriteString(pw, strings.Replace(other.body(1, "", ""), "</body>", "<message", 1))
	if a := s.do(req); a.body != ended("item-not-found") {
		t.Errorf("a request that is not complete: %+v", a)
	}
	pw.Close()
}

func TestContentType(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	for content, want := range map[string]string{
		"text/xml; charset=utf-8": "text/xml; charset=utf-8", "application/xml": "application/xml; charset=utf-8",
		"text/plain":               "text/plain; charset=utf-8",
		"text/html":                "text/xml; charset=utf-8", // a page of ours with words of others
		"application/xhtml+xml":    "text/xml; charset=utf-8",
		"text/plain&#13;&#10;X: y": "text/xml; charset=utf-8",
	} {
		a := s.post(t.Context(), "<body "+xmlns+" rid='1' to='localhost' content='"+content+"'/>")
		if got := a.header.Get("Content-Type"); got != want || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("X") != "" {
			t.Errorf("%s: %v", content, a.header)
		}
	}
}

// Attack case 40.
func TestOrigin(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{Origins: []string{"https://chat.example.com"}})
	host := strings.TrimPrefix(s.url, "http://")
	for _, tc := range []struct {
		method, origin string
		status         int
		allowed        string
	}{
		{"POST", "", 200, ""},
		{"POST", "http://" + host, 200, "http://" + host},
		{"POST", "https://" + host, 200, "https://" + host},
		{"POST", "https://chat.example.com", 200, "https://chat.example.com"},
		{"POST", "https://evil.example", 403, ""},
		{"POST", "null", 403, ""},
		{"POST", "http://chat.example.com", 403, ""},
		{"OPTIONS", "https://chat.example.com", 204, "https://chat.example.com"},
		{"OPTIONS", "https://evil.example", 403, ""},
		{"GET", "", 405, ""},
		{"GET", "https://evil.example", 403, ""},
		{"PUT", "https://chat.example.com", 405, "https://chat.example.com"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, s.url, strings.NewReader("<body "+xmlns+" rid='1' to='localhost'/>"))
		if err != nil {
			t.Fatal(err)
		}
		if tc.origin != "" {
			req.Header.Set("Origin", tc.origin)
		}
		a := s.do(req)
		if a.status != tc.status || a.header.Get("Access-Control-Allow-Origin") != tc.allowed || a.header.Get("Vary") != "Origin" ||
			a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s from %q: %d %v", tc.method, tc.origin, a.status, a.header)
		}
		if tc.status == 204 && (a.header.Get("Access-Control-Allow-Methods") != "POST, OPTIONS" || a.header.Get("Access-Control-Allow-Headers") != "Content-Type") {
			t.Errorf("preflight: %v", a.header)
		}
		if tc.status == 403 && strings.Contains(a.body, "sid=") {
			t.Errorf("a page that may not connect has a session: %s", a.body)
		}
	}
	anybody := newServer(t, c2s.Options{}, bosh.Options{Origins: []string{"*"}})
	req, _ := http.NewRequestWithContext(t.Context(), "OPTIONS", anybody.url, nil)
	req.Header.Set("Origin", "https://evil.example")
	if a := anybody.do(req); a.status != 204 || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("all origins allowed: %d %v", a.status, a.header)
	}
}

// Attack case 42: a small body cannot become a large one.
func TestCompression(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url, bytes.NewReader(make([]byte, 100)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", "gzip")
	if a := s.do(req); a.status != 415 {
		t.Errorf("%+v", a)
	}
	c, created := s.create("")
	if strings.Contains(created, "accept=") {
		t.Error("compression is offered")
	}
	c.ask("type='terminate'", "")
}

// Attack cases 5 and 11: what may be in a request.
func TestBadPayloads(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	head := func(c *client) string { return strings.TrimSuffix(c.body(c.rid, "", ""), "</body>") }
	for name, tc := range map[string]struct {
		body func(c *client) string
		want string
	}{
		"two roots":      {func(c *client) string { return c.body(c.rid, "", "") + "<body/>" }, "not-well-formed"},
		"text behind":    {func(c *client) string { return c.body(c.rid, "", "") + "x" }, "not-well-formed"},
		"comment behind": {func(c *client) string { return c.body(c.rid, "", "") + "<!-- -->" }, "not-well-formed"},
		"partial stanza": {func(c *client) string { return head(c) + "<message xmlns='jabber:client'>" }, "not-well-formed"},
		"partial, ended": {func(c *client) string { return head(c) + "<message xmlns='jabber:client'></body>" }, "not-well-formed"},
		"no end":         {head, "not-well-formed"},
		"text":           {func(c *client) string { return c.body(c.rid, "", "hello") }, "bad-format"},
		"CDATA":          {func(c *client) string { return c.body(c.rid, "", "<![CDATA[x]]>") }, "bad-format"},
		"comment":        {func(c *client) string { return c.body(c.rid, "", "<!-- -->") }, "restricted-xml"},
		"stream:stream": {func(c *client) string {
			return c.body(c.rid, "", "<stream:stream xmlns:stream='"+ns.Stream+"' to='localhost' version='1.0'/>")
		}, "invalid-namespace"},
		"open":            {func(c *client) string { return c.body(c.rid, "", "<open xmlns='"+ns.Framing+"' to='localhost'/>") }, "unsupported-stanza-type"},
		"a stranger":      {func(c *client) string { return c.body(c.rid, "", "<uri>x</uri>") }, "unsupported-stanza-type"},
		"other's message": {func(c *client) string { return c.body(c.rid, "", "<message xmlns='jabber:server'/>") }, "unsupported-stanza-type"},
		"too large": {func(c *client) string {
			return c.body(c.rid, "", "<message xmlns='jabber:client'><body>"+strings.Repeat("x", 256<<10)+"</body></message>")
		}, "policy-violation"},
		"too much":        {func(c *client) string { return c.body(c.rid, "", strings.Repeat(message("x"), 9000)) }, "policy-violation"},
		"too many":        {func(c *client) string { return c.body(c.rid, "", strings.Repeat("<iq/>", 9000)) }, "policy-violation"},
		"too long behind": {func(c *client) string { return c.body(c.rid, "", "") + strings.Repeat(" ", 300<<10) }, "policy-violation"},
		"second restart":  {func(c *client) string { return c.body(c.rid, "xmpp:restart='true' to='other.example'", "") }, "bad-format"}, // attack case 39
	} {
		c := s.bind("x", "")
		a := s.post(t.Context(), tc.body(c))
		want := "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><" + tc.want + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
		if !strings.HasPrefix(a.body, "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='remote-stream-error' xmlns:stream='http://etherx.jabber.org/streams'>") ||
			!strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s %v, want %s", name, a.status, a.body, a.err, tc.want)
		}
	}
	// As many nodes as may be in a stanza over other transports.
	largest := s.bind("largest", "")
	if a := s.post(t.Context(), largest.body(largest.rid, "", "<message xmlns='jabber:client'>"+strings.Repeat("<a/>", 8192)+"</message>")); strings.Contains(a.body, "terminate") {
		t.Errorf("8192 nodes: %s", a.body)
	}
	largest.rid++
	largest.ask("type='terminate'", "")
	// White space around is nothing.
	c := s.bind("x", "")
	held := make(chan answer, 1)
	go func() {
		held <- s.post(t.Context(), "<?xml version='1.0' encoding='utf-8'?>\n"+c.body(c.rid, "", "\n"+message("1")+"\n")+"\r\n ")
	}()
	c.expect(held, holding(echo("1", "x")))
}
