package scenario

import (
	"strings"
	"testing"
	"time"

	"rollcall/bench/client"
	"rollcall/bench/service"
)

// someone returns a user of a crowd of six with two contacts each: u1, who knows u2 and u0.
func someone(t *testing.T) (*crowd, *member) {
	t.Helper()
	g, err := service.NewGraph(6, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(g, &client.Config{})
	c.say = func(*member) {} // nobody is connected
	return c, c.members[1]
}

// hear gives the member stanzas and returns what it answers.
func (m *member) hear(stanzas ...string) string {
	m.Reply = m.Reply[:0]
	for _, s := range stanzas {
		m.handle(m.Client, []byte(s))
	}
	return string(m.Reply)
}

func done(e *expectation) bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func TestPresenceOfEachContactCountsOnce(t *testing.T) {
	c, m := someone(t)
	e := expect(2, true)
	c.presences.Store(e)
	m.hear("<presence from='u2@h/r'/>", "<presence from='u2@h/r'><show>away</show></presence>", "<presence from='u1@h/r'/>",
		"<presence type='unavailable' from='u0@h/r'/>", "<presence type='unavailable' from='x1@h'/>")
	if done(e) {
		t.Fatal("complete without u0")
	}
	m.hear("<presence from='u0@h/r'/>")
	if !done(e) {
		t.Error("not complete with both")
	}
	again := expect(2, true)
	c.presences.Store(again)
	m.hear("<presence from='u0@h/r'/>", "<presence from='u2@h/r'/>")
	if !done(again) {
		t.Error("the second round is not complete")
	}
	if err := c.trouble(); err != nil {
		t.Error(err)
	}
}

func TestPush(t *testing.T) {
	const add = "<iq type='set' id='p1' to='u1@h/r'><query xmlns='jabber:iq:roster'><item jid='x1@h' subscription='both'/></query></iq>"
	const remove = `<iq id="p2" type="set" from="u1@h"><query xmlns="jabber:iq:roster"><item jid="x1@h" subscription="remove"/></query></iq>`
	c, m := someone(t)
	added := expect(1, true)
	c.pushes.Store(added)
	if got := m.hear(add); got != "<iq type='result' id='p1'/>" || !done(added) {
		t.Errorf("answer %s, complete %v", got, done(added))
	}
	removed := expect(1, false)
	c.pushes.Store(removed)
	if got := m.hear(remove); got != "<iq type='result' id='p2' to='u1@h'/>" || !done(removed) {
		t.Errorf("answer %s, complete %v", got, done(removed))
	}
	if err := c.trouble(); err != nil {
		t.Error(err)
	}
}

func TestWrongStanzasAreReported(t *testing.T) {
	for name, stanza := range map[string]string{
		"a push of a removal":         "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='x1@h' subscription='remove'/></query></iq>",
		"somebody else's push":        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='x2@h'/></query></iq>",
		"another set":                 "<iq type='set' id='1'><query xmlns='other'/></iq>",
		"an error":                    "<iq type='error' id='1'/>",
		"presence of a stranger":      "<presence from='u3@h/r'/>",
		"a request":                   "<presence type='subscribe' from='u2@h'/>",
		"a message that nobody wrote": "<message type='chat' from='u0@h/r' id='1'><body>x</body></message>",
		"a bounced message":           "<message type='error' from='u0@h' id='1'/>",
	} {
		c, m := someone(t)
		c.pushes.Store(expect(1, true))
		c.presences.Store(expect(1, true))
		m.hear(stanza)
		if c.trouble() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPushTwice(t *testing.T) {
	const push = "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='x1@h'/></query></iq>"
	c, m := someone(t)
	c.pushes.Store(expect(6, true))
	m.hear(push)
	if err := c.trouble(); err != nil {
		t.Error(err)
	}
	if m.hear(push); c.trouble() == nil {
		t.Error("no error")
	}
}

func TestChatAnswersEachMessage(t *testing.T) {
	c, m := someone(t)
	talk := &conversation{}
	talk.answering.Store(true)
	talk.recording.Store(true)
	c.chat.Store(talk)
	sent := string(c.members[0].appendMessage(nil, int64(time.Since(c.base))))
	if !strings.HasPrefix(sent, "<message type='chat' to='u1@h' id='") {
		t.Fatal(sent)
	}
	answer := m.hear(sent, sent)
	if n := strings.Count(answer, "<message type='chat' to='u0@h'"); n != 2 || len(m.latencies) != 2 || m.received.Load() != 2 {
		t.Errorf("%d answers, %d latencies, %d received", n, len(m.latencies), m.received.Load())
	}
	talk.answering.Store(false)
	if got := m.hear(sent); got != "" {
		t.Errorf("answered %s at the end", got)
	}
}

func TestGetIsAnsweredWithAnError(t *testing.T) {
	c, m := someone(t)
	got := m.hear("<iq type='get' id='1' from='h'><ping xmlns='urn:xmpp:ping'/></iq>")
	if !strings.HasPrefix(got, "<iq type='error' id='1' to='h'><error ") || c.trouble() != nil {
		t.Errorf("%s, %v", got, c.trouble())
	}
}

func TestExpectationSaysWhatIsMissing(t *testing.T) {
	e := expect(3, true)
	e.arrived(time.Now())
	err := e.wait(t.Context(), "pushes", 0)
	if err == nil || !strings.Contains(err.Error(), "2 pushes missing") {
		t.Error(err)
	}
	if err := expect(0, true).wait(t.Context(), "pushes", time.Hour); err != nil {
		t.Error(err)
	}
}
