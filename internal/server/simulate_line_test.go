package server_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// line is how a device is connected in a sim: what is below the stanzas that it sends and hears. It goes over a link, counts
// stanzas (XEP-0198), and outlives a connection if it can. It is used by the sim's goroutine only.
type line struct {
	sim *sim
	d   *device
	n   int // of the device

	over    xmpptest.Carrier
	route   *xmpptest.Route
	client  *xmpptest.Client // nil: there is no connection, or it is being made
	dialing chan dialed      // not nil while the device signs in
	doomed  bool             // the signing in need not succeed
	again   bool             // it signs in to resume
	planned move             // it was this that had it sign in

	managed  bool   // it has asked for stream management in this session
	id       string // to resume with; "" until it is enabled
	enabled  bool
	resuming bool   // it has asked to, and not been answered
	handled  uint32 // stanzas of the server's
	acked    uint32 // stanzas of ours that the server has acknowledged
	out      []sent // those that it has not, when managed
	lazy     bool   // it does not acknowledge

	held     bool      // it does not read
	vanished bool      // its connection is gone, and the server does not know
	flooded  time.Time // until then it may have to wait for long, and be ended
	abused   bool      // the server may end the connection
	leaving  bool      // it has ended its stream
	quiet    bool      // it is about to be unavailable, and waits until nothing of before can come
	well     time.Time // since when nothing is wrong with the connection
	mustEnd  time.Time // the server must have ended the connection by then
	asked    map[string]*query
	answer   *xmlstream.Element  // that is just being heard
	readings map[string]*reading // pages of the archive on their way, by the queries' ids
	copying  time.Time           // since when it gets copies; zero: it has not asked for them, or not been answered
	hidden   bool                // it has said that nobody looks at it
	stale    map[string]bool     // what an earlier session has asked other clients, which know the address alone
	session  int                 // counts sessions
	heard    []heard             // messages of this session that may come again if it ends now
	said     uint32              // the last count that we have told the server
	live     map[*device]int     // the last message heard without a delay from each device
	unsure   time.Time           // what was sent to it until then may have been lost with an unmanaged session
	shown    time.Time           // when it has last sent presence
	began    time.Time           // when this session began
}

// sent is a stanza that the server has not acknowledged.
type sent struct {
	xml    string
	letter *letter
}

type dialed struct {
	client *xmpptest.Client
	err    error
}

// query is a request of a client.
type query struct {
	at     time.Time
	bound  bool   // the server has to answer it itself
	answer func() // when it was
}

// lost tells whether the session may be resumed and has no connection.
func (l *line) lost() bool { return l.d.client != nil && (l.client == nil || l.resuming) }

// newRoute makes a way to the server as the network just is.
func (l *line) newRoute(over xmpptest.Carrier) {
	l.sim.routes++
	l.over, l.route = over, xmpptest.NewRoute(l.sim.plan.seed, l.sim.routes, l.sim.delay)
	l.vanished = false
	l.held, l.mustEnd, l.doomed = false, time.Time{}, false
}

// signIn begins to sign in: with a new session, or to go on with the one that there is.
func (l *line) signIn(again bool, m move) {
	l.newRoute(m.over)
	l.sim.counts["by "+string(l.over)]++
	l.again, l.planned = again, m
	resource := l.d.resource
	if again {
		resource = ""
	}
	over, route, result := l.over, l.route, make(chan dialed, 1)
	l.dialing = result
	go func() {
		c, err := l.sim.world.ConnectBy(l.sim.ctx, route, over, l.d.user.name, resource)
		result <- dialed{c, err}
	}()
}

// arrive looks whether the device has signed in.
func (l *line) arrive() {
	if l.dialing == nil {
		return
	}
	select {
	case r := <-l.dialing:
		l.dialing = nil
		switch {
		case r.err != nil && !l.doomed:
			l.sim.fail("a client cannot sign in", "%s: %v", l.d, r.err)
		case r.err != nil:
			l.sim.say("%s does not get in: %v", l.d, r.err)
		case l.again && l.d.client == nil: // what was to be resumed is over
			r.client.Close()
		case l.again:
			l.client, l.resuming, l.abused, l.well = r.client, true, false, time.Now()
			l.said = l.handled
			l.raw(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", l.id, l.handled))
		default:
			l.sim.say("%s has signed in by %s", l.d, l.over)
			l.open(r.client, l.planned)
			l.greet(l.planned)
		}
	default:
	}
}

// open begins a session.
func (l *line) open(c *xmpptest.Client, m move) {
	l.session++
	l.client, l.well, l.began, l.abused, l.leaving = c, time.Now(), time.Now(), false, false
	l.managed, l.id, l.enabled, l.resuming, l.handled, l.acked, l.out, l.lazy, l.quiet = m.b%3 > 0 || l.over == xmpptest.BOSH && m.c%2 > 0, "", false, false, 0, 0, nil, false, false
	for id, q := range l.asked {
		l.stale[id] = l.stale[id] || !q.bound
	}
	l.readings, l.copying, l.hidden = map[string]*reading{}, time.Time{}, false
	l.asked, l.heard, l.said, l.live = map[string]*query{}, nil, 0, map[*device]int{}
	if l.managed {
		l.raw("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	}
}

// greet has the device do what clients do first.
func (l *line) greet(m move) {
	l.d.begin(l)
	if m.c%8 > 0 {
		l.d.ask(ownVersion)
	}
	if _, sick := l.sim.health(); sick { // the server cannot read it just now
		l.askBlocklist()
	}
	if m.a%3 > 0 && l.d.client != nil {
		l.wantCopies()
	}
	if m.d%8 > 0 && l.d.client != nil { // it may have been ended already
		l.d.present(m.d % 4)
	}
}

// raw sends what is no stanza.
func (l *line) raw(xml string) {
	if l.client != nil {
		_ = l.client.Send(xml) // what cannot be sent is lost with the connection
	}
}

// Send implements connection, for a stanza. One in three says that somebody else has sent it.
func (l *line) Send(xml string) error { return l.send(xml, nil) }

func (l *line) send(xml string, about *letter) error {
	if l.sim.forges() {
		kind, rest, _ := strings.Cut(xml, " ")
		if strings.HasPrefix(rest, "type='") || kind == "<message" {
			xml = kind + " from='" + forged + "' " + rest
		}
	}
	if l.managed {
		l.out = append(l.out, sent{xml, about})
	}
	if !l.resuming {
		l.raw(xml)
	}
	if !l.sim.lags { // nothing takes time any more: one after the other
		synctest.Wait()
	}
	return nil
}

// forged is whom no stanza may come from: there is nobody of that name.
const forged = "mallory@localhost/x"

// Poll implements connection. It keeps what is the sim's, and gives what is the device's.
func (l *line) Poll() (*xmlstream.Element, error) {
	for l.client != nil {
		el, err := l.client.Poll()
		if err != nil {
			l.broken(err)
			return nil, nil
		}
		if el == nil {
			return nil, nil
		}
		if el.Attr("from") == forged {
			l.sim.fail("a stanza under another name", "%s hears %s", l.d, el)
		}
		if !l.take(el) {
			return el, nil
		}
	}
	return nil, nil
}

// take deals with what is not the device's.
func (l *line) take(el *xmlstream.Element) bool {
	if el.Space != ns.Client {
		l.sim.say("%s hears %s", l.d, el)
		l.hearNonza(el)
		return true
	}
	if l.enabled {
		l.handled++
	}
	id, kind := el.Attr("id"), el.Attr("type")
	switch {
	case el.Local == "message":
		l.hearMessage(el)
		return true
	case el.Local == "presence":
		return false
	case kind == "get":
		l.sim.say("%s hears %s", l.d, el)
		_ = l.Send(fmt.Sprintf("<iq type='result' id='%s' to='%s'/>", id, el.Attr("from")))
		return true
	case kind == "set":
		_ = l.Send(fmt.Sprintf("<iq type='result' id='%s'/>", id))
		return el.Child(ns.Roster, "query") == nil
	case strings.HasPrefix(id, "roster-"):
		return false
	}
	q := l.asked[id]
	if q == nil && l.stale[id] {
		return true
	}
	if q == nil {
		l.sim.fail("a request is answered twice", "%s: %s", l.d, el)
		return true
	}
	l.sim.say("%s hears %s", l.d, el)
	delete(l.asked, id)
	l.answer = el
	if q.bound && strings.Contains(el.String(), "<remote-server-timeout ") {
		l.sim.fail("a request is answered for want of an answer only", "%s: %s", l.d, el)
	}
	l.stale[id] = !q.bound // the other client may lose its session before the server knows that it has handled the request
	if q.answer != nil {
		q.answer()
	}
	return true
}

func (l *line) hearNonza(el *xmlstream.Element) {
	switch {
	case el.Is(ns.SM, "enabled"):
		l.enabled, l.id = true, el.Attr("id")
	case el.Is(ns.SM, "r"):
		if !l.lazy {
			l.acknowledge()
		}
	case el.Is(ns.SM, "a"):
		l.hearCount(el.Attr("h"))
	case el.Is(ns.SM, "resumed"):
		l.sim.counts["resumptions"]++
		l.resuming, l.lazy, l.well = false, false, time.Now()
		l.hearCount(el.Attr("h"))
		l.confirm(l.said)
		for _, s := range l.out {
			l.raw(s.xml)
		}
	case el.Is(ns.SM, "failed"):
		l.sim.counts["not resumed"]++
		if el.Attr("h") != "" {
			// Of those that the disk has refused meanwhile the errors are lost with the session.
			for _, x := range l.hearCount(el.Attr("h")) {
				x.acked = x.acked && l.sim.illUntil.Before(x.at)
			}
		}
		l.giveUp()
	case el.Is(ns.Stream, "error"):
		l.hearEnd(el)
	}
}

// acknowledge tells the server what has come.
func (l *line) acknowledge() {
	l.said = l.handled
	l.raw(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", l.handled))
}

// hearCount takes the server's count of our stanzas, and gives the messages among those that were not acknowledged before.
func (l *line) hearCount(h string) (letters []*letter) {
	n, err := strconv.ParseUint(h, 10, 32)
	k := uint32(n) - l.acked
	if err != nil || int(k) > len(l.out) || int32(k) < 0 {
		l.sim.fail("a count that cannot be", "%s: %s, after %d; %d wait", l.d, h, l.acked, len(l.out))
		return nil
	}
	for _, s := range l.out[:k] {
		if s.letter != nil {
			s.letter.acked = true
			letters = append(letters, s.letter)
		}
	}
	l.acked, l.out = uint32(n), l.out[k:]
	return letters
}

// hearEnd takes a stream error, which ends the session.
func (l *line) hearEnd(el *xmlstream.Element) {
	for _, expected := range []string{"conflict", "system-shutdown"} {
		if el.Child(ns.Streams, expected) != nil {
			l.abused = true
		}
	}
	if !l.abused && time.Now().After(l.flooded) {
		l.sim.fail("the server ends a stream", "%s: %s", l.d, el)
	}
	l.giveUp()
}

// broken is told that the connection has ended.
func (l *line) broken(err error) {
	l.sim.say("%s has no connection: %v", l.d, err)
	if !l.abused && time.Now().After(l.flooded) {
		l.sim.fail("the server ends a connection", "%s: %v", l.d, err)
	}
	l.hangUp()
	if l.id == "" || l.leaving {
		l.giveUp()
	}
}

// hangUp closes the connection, and the session stays as it is.
func (l *line) hangUp() {
	if l.client == nil {
		return
	}
	l.client.Close()
	l.client, l.resuming, l.well = nil, false, time.Now()
	l.look()
	if !l.enabled {
		l.lose()
	}
}

// giveUp ends the session, as the client sees it.
func (l *line) giveUp() {
	l.hangUp()
	l.settleLetters()
	l.id, l.out = "", nil
	l.d.leave()
}

// Close implements connection.
func (l *line) Close() {
	l.abused = true
	l.giveUp()
}

// verbatim is what clients write, and our serializer does not.
const verbatim = `lang = "x"`

// look looks at the bytes that have come on a connection.
func (l *line) look() {
	written, _ := l.route.Served()
	if bytes.Contains(written, []byte(verbatim)) {
		l.sim.fail("bytes of one client come verbatim to another", "%s: %s", l.d, written)
	}
}

var messageIDs = regexp.MustCompile(`<message[^>]* id='m([0-9]+)'`)

// wrote tells whether a message was sent on the connection that there is, or is certain to have been on the one before.
func (l *line) wrote(x *letter) bool { return !x.at.Before(l.began) }

// noticed is how soon the server has noticed that a client is gone, however it went.
const noticed = 150 * time.Second

// lose notes what may have been lost with a connection on which nothing is acknowledged: what was written and not heard; and what
// may come again: what was heard though the server could not know.
func (l *line) lose() {
	if !l.leaving && (l.vanished || l.over == xmpptest.BOSH) { // the server goes on to write for a while
		l.unsure = time.Now().Add(noticed)
	}
	written, trying := l.route.Served()
	for _, m := range messageIDs.FindAllSubmatch(written, -1) {
		if x := l.sim.letter(string(m[1])); x != nil && x.got[l.d].session != l.session {
			x.mayBeLost = true
		}
	}
	if len(trying) == 0 {
		return // the server could write all that it wanted
	}
	for _, h := range l.heard {
		h.letter.mayRepeat[l.d] = true
	}
}
