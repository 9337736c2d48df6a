package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// An element is one as it came.
type element struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Nodes   []element  `xml:",any"`
	Text    string     `xml:",chardata"`
}

func (n *element) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

func (n *element) child(name string) *element {
	for i := range n.Nodes {
		if n.Nodes[i].XMLName.Local == name {
			return &n.Nodes[i]
		}
	}
	return nil
}

const nsSM = "urn:xmpp:sm:3"

// A wire is one connection of a client that speaks XMPP by hand, mostly without TLS: there are thousands of them, and they do what
// libraries do not, such as falling silent. One goroutine reads; any may write.
type wire struct {
	conn   net.Conn
	in     *bufio.Reader
	dec    *xml.Decoder
	domain string // whose user it is

	mu sync.Mutex // of writing
}

// dialWire connects and signs in; the password is any. In the end a resource is to be bound, or a session resumed.
func dialWire(address, user string) (*wire, error) { return dialWireBy(&net.Dialer{}, address, user) }

func dialWireBy(d *net.Dialer, address, user string) (*wire, error) {
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return signInWire(conn, "localhost", user, password)
}

// refused is the condition with which a sign-in was refused.
type refused string

func (r refused) Error() string { return "refused with " + string(r) }

// signInWire signs in over a connection, which is closed when that fails, perhaps with a refused.
func signInWire(conn net.Conn, domain, user, password string) (*wire, error) {
	w := &wire{conn: conn, in: bufio.NewReader(conn), domain: domain}
	if err := w.signIn(user, password); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) signIn(user, password string) error {
	w.conn.SetDeadline(time.Now().Add(patience))
	defer w.conn.SetDeadline(time.Time{})
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	for _, say := range []string{"", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain + "</auth>"} {
		if say != "" {
			if err := w.write(say); err != nil {
				return err
			}
			n, err := w.next()
			if err == nil && n.XMLName.Local == "failure" && len(n.Nodes) > 0 {
				err = refused(n.Nodes[0].XMLName.Local)
			}
			if err != nil || n.XMLName.Local != "success" {
				return fmt.Errorf("signing in: %v, %w", n, err)
			}
		}
		if err := w.write("<?xml version='1.0'?><stream:stream to='" + w.domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
			return err
		}
		w.dec = xml.NewDecoder(w.in)
		for {
			tok, err := w.dec.Token()
			if err != nil {
				return err
			}
			if _, ok := tok.(xml.StartElement); ok {
				break
			}
		}
		if _, err := w.next(); err != nil { // features
			return err
		}
	}
	return nil
}

func (w *wire) write(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := io.WriteString(w.conn, text)
	return err
}

// next gives the next element of the stream.
func (w *wire) next() (*element, error) {
	for {
		tok, err := w.dec.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			n := &element{}
			return n, w.dec.DecodeElement(n, &tok)
		case xml.EndElement:
			return nil, io.EOF
		}
	}
}

// bind binds a resource.
func (w *wire) bind(resource string) error {
	if err := w.write("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>"); err != nil {
		return err
	}
	n, err := w.next()
	if err == nil && n.attr("type") != "result" {
		err = fmt.Errorf("bind: %+v", n)
	}
	return err
}

// resume tries to go on with a session, and tells how many stanzas the server has handled; -1 when it does not say.
func (w *wire) resume(id string, handled uint32) (ok bool, h int, err error) {
	if err := w.write(fmt.Sprintf("<resume xmlns='%s' previd='%s' h='%d'/>", nsSM, id, handled)); err != nil {
		return false, -1, err
	}
	n, err := w.next()
	if err != nil {
		return false, -1, err
	}
	h, err = strconv.Atoi(n.attr("h"))
	if err != nil {
		h = -1
	}
	return n.XMLName.Local == "resumed", h, nil
}
