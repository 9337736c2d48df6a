package client

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A server whose roster service has too much to do says that it is worth asking again.
func TestRosterIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := New(&Config{}, 0, "u0", func(*Client, []byte) {})
		c.conn, c.buf = here, make([]byte, firstBuffer)
		go serve(t, there,
			"<iq type='error' id='roster'><error type='wait'><resource-constraint/></error></iq>",
			"<iq type='result' id='roster'><query><item jid='a@h'/><item jid='b@h'/></query></iq>",
			"<iq type='error' id='roster'><error type='cancel'><item-not-found/></error></iq>")
		start := time.Now()
		if n, err := c.roster(); n != 2 || err != nil || c.Repeats() != 1 || time.Since(start) != repeatRoster {
			t.Errorf("%d contacts, %v, after %d repeats and %v", n, err, c.Repeats(), time.Since(start))
		}
		if _, err := c.roster(); err == nil || !strings.Contains(err.Error(), "item-not-found") || c.Repeats() != 1 {
			t.Errorf("got %v after %d repeats", err, c.Repeats())
		}
		if err := here.Close(); err != nil {
			t.Error(err)
		}
	})
}

// serve answers one request after the other.
func serve(t *testing.T, c net.Conn, answers ...string) {
	in := bufio.NewReader(c)
	for _, answer := range answers {
		for !strings.HasSuffix(read(in), "</iq>") {
		}
		if _, err := io.WriteString(c, answer); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// read returns the bytes up to the end of the next tag.
func read(in *bufio.Reader) string {
	s, err := in.ReadString('>')
	if err != nil {
		return "</iq>" // the client has gone: nothing more to wait for
	}
	return s
}
