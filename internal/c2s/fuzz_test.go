package c2s_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"testing"

	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// replay is a Transport whose peer says what was written down, and whose answers are looked at instead of sent.
type replay struct {
	in     *xmlstream.Reader
	closed sync.WaitGroup

	mu      sync.Mutex
	opened  bool
	secure  bool
	success int // streams that were authenticated
	ends    int
	faults  []string
}

func (r *replay) fault(s string) { r.faults = append(r.faults, s) }

func (r *replay) Handshake(context.Context) error { return nil }
func (r *replay) Next() (c2s.Event, error) {
	ev, err := r.in.Next()
	if err != nil {
		return c2s.Event{}, err
	}
	if ev.Kind == xmlstream.Open {
		return c2s.Event{Kind: ev.Kind, Header: c2s.HeaderOf(ev.Element)}, nil
	}
	return c2s.Event{Kind: ev.Kind, Element: ev.Element}, nil
}
func (r *replay) SetLimits(l xmlstream.Limits) { r.in.SetLimits(l) }
func (r *replay) Measure(*c2s.Meter)           {}
func (r *replay) Restart()                     { r.in.Restart() }

func (r *replay) Open(h c2s.Header, features *xmlstream.Element) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends > 0 {
		r.fault("a header after the end")
	}
	if features != nil && !r.secure && (features.Child(ns.SASL, "mechanisms") != nil || features.Child(ns.SASL2, "authentication") != nil ||
		features.Child(ns.RegisterFeature, "register") != nil) {
		r.fault("mechanisms, or registration, are offered in clear")
	}
	r.opened = true
	return nil
}

func (r *replay) Write(els ...*xmlstream.Element) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, el := range els {
		r.write(el)
	}
	return nil
}

func (r *replay) write(el *xmlstream.Element) {
	switch {
	case r.ends > 0:
		r.fault("written after the end: " + el.String())
	case !r.opened:
		r.fault("written before the header: " + el.String())
	case el.Is(ns.SASL, "success"):
		r.success++
		r.opened = false
		r.mustBeSecure()
	case el.Is(ns.SASL2, "success"):
		r.success++
		r.mustBeSecure()
	case el.Local == "iq" && el.Child(ns.Bind, "bind") != nil && r.success == 0:
		r.fault("bound without authentication")
	case el.Local == "iq" && el.Attr("type") == "result" && r.success == 0: // of a registration
		r.mustBeSecure()
	}
}

func (r *replay) mustBeSecure() {
	if !r.secure {
		r.fault("authenticated, or registered, in clear")
	}
}

func (r *replay) Send(ws []stanza.Wire) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.success != 1 {
		r.fault("stanzas on a stream that is not authenticated, or twice")
	}
	return nil
}

func (r *replay) CanStartTLS() bool { return !r.secure }
func (r *replay) StartTLS(context.Context, *xmlstream.Element) error {
	// What is buffered stands for what comes through TLS: a handshake cannot be replayed.
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secure, r.opened = true, false
	r.in.Restart()
	return nil
}

func (r *replay) End(h c2s.Header, serr *stanza.StreamError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.From != c2stest.Domain && h.From != c2stest.Other {
		r.fault("the end is from " + h.From)
	}
	r.ends++
}
func (r *replay) Abort() {}
func (r *replay) Close() { r.closed.Done() }
func (r *replay) Channel() auth.Channel {
	return auth.Channel{Secure: r.secure}
}
func (r *replay) Info() session.ConnInfo { return session.ConnInfo{Transport: "replay"} }

// chunks gives its bytes in small pieces.
type chunks struct {
	b []byte
	n int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b[:min(c.n, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}

// Whatever a client sends: no panic, an end that is told once and in a stream, and nothing in clear that needs TLS.
func FuzzNegotiation(f *testing.F) {
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
	tls := "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	sasl := "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + c2stest.Plain + "</auth>"
	bind := "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>"
	f.Add([]byte(header+tls+header+sasl+header+bind+"<message to='a@b'><body>x</body></message></stream:stream>"), uint8(255))
	f.Add([]byte(header+sasl+header+bind), uint8(3))
	f.Add([]byte(header+tls+header+"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>"+
		"biwsbj1qdWxpZXQscj1hYmNkZWZnaA==</auth><response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>"+
		"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), uint8(50))
	f.Add([]byte(header+tls+header+sasl+header+"<iq type='set' id='b'/><iq type='get' id='c'><q xmlns='x'/></iq>"+bind+bind+
		"<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"), uint8(7))
	sasl2 := "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + c2stest.Plain + "</initial-response>"
	f.Add([]byte(header+tls+header+sasl2+"<bind xmlns='urn:xmpp:bind:0'><tag>x</tag><enable xmlns='urn:xmpp:sm:3' resume='1'/></bind>"+
		"</authenticate><message to='a@b'/></stream:stream>"), uint8(20))
	f.Add([]byte(header+sasl2+"</authenticate>"+header+tls+header+sasl2+"<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>"+
		"</authenticate>"+bind), uint8(200))
	f.Add([]byte(header+tls+header+"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"+sasl+
		"<response xmlns='urn:xmpp:sasl:2'/><abort xmlns='urn:xmpp:sasl:2'/>"), uint8(200))
	asks := "<iq type='get' id='g'><query xmlns='jabber:iq:register'/></iq>"
	makes := "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>juliet</username><password>x</password></query></iq>"
	f.Add([]byte(header+asks+makes+tls+header+asks+makes+makes+sasl+header+bind+asks), uint8(100))
	f.Add([]byte("<?xml version='1.0'?><x/>"), uint8(1))
	hosts := c2stest.NewHosts(f)
	o := registering(&notary{})
	o.Hosts, o.RequireTLS = hosts, true
	srv, _ := c2stest.NewServer(f, o)
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		r := &replay{in: xmlstream.NewReader(&chunks{in, int(size) + 1}, xmlstream.Limits{})}
		tk, err := srv.Admit(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		r.closed.Add(1)
		srv.Start(tk, r)
		r.closed.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.faults) > 0 {
			t.Error(errors.New(r.faults[0]))
		}
		if r.ends > 1 {
			t.Errorf("the stream ended %d times", r.ends)
		}
		for len(hosts.Closed) > 0 {
			<-hosts.Closed
		}
	})
}
