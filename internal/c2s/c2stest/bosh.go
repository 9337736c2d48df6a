package c2stest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// BOSH is the part of a client that makes requests, one by one or two at a time, and no more than it may.
type BOSH struct {
	URL    string
	Client *http.Client
	Header http.Header
	// Attributes go into the first request.
	Attributes string
	SID        string
	RID        uint64 // of the next request

	requests int
	pending  []chan response // in the order of the requests
	queue    []*xmlstream.Element
	from     string
	fresh    bool // a header is expected: the next features or the end stand for one
	over     bool // the server has ended the session
	told     bool // Next has said so
}

type response struct {
	body []byte
	err  error
}

// NewBOSH makes a client over BOSH. The URL begins with http.
func NewBOSH(t testing.TB, url string, client *http.Client) *Peer {
	b := &BOSH{URL: url, Client: client, RID: 1000, requests: 1, fresh: true,
		Attributes: "wait='60' hold='1' ver='1.6' xml:lang='en'"}
	t.Cleanup(b.quit)
	return &Peer{T: t, Patience: patience, BOSH: b}
}

// quit ends the session, which has no connection whose end would do so.
func (b *BOSH) quit() {
	if b.SID == "" || b.over {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b.Post(ctx, b.Body("type='terminate'", "")) // the session may be gone, or the server
}

// headerMark begins what Peer.Header gives for BOSH: attributes of a request instead of an element.
const headerMark = "\x00"

// endMark stands for the end of the stream, likewise.
const endMark = "\x01"

// Body makes a request's body.
func (b *BOSH) Body(attributes, payload string) string {
	sid := ""
	if b.SID != "" {
		sid = " sid='" + b.SID + "'"
	}
	return fmt.Sprintf("<body xmlns='%s' xmlns:xmpp='%s' rid='%d'%s %s>%s</body>", ns.BOSH, ns.XBOSH, b.RID, sid, attributes, payload)
}

// Post sends a request as it is, and gives status and body of the response.
func (b *BOSH) Post(ctx context.Context, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for name, values := range b.Header {
		req.Header[name] = values
	}
	res, err := b.Client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return res.StatusCode, string(got), err
}

// send makes the next request; its answer is for receive. ctx bounds the request, and waiting the wait for room for it.
func (b *BOSH) send(ctx, waiting context.Context, attributes, payload string) error {
	for len(b.pending) >= b.requests {
		if err := b.receive(waiting); err != nil {
			return err
		}
	}
	if b.over {
		return io.ErrClosedPipe
	}
	body := b.Body(attributes, payload)
	b.RID++
	answer := make(chan response, 1)
	b.pending = append(b.pending, answer)
	go func() {
		_, got, err := b.Post(ctx, body)
		answer <- response{[]byte(got), err}
	}()
	return nil
}

// receive waits for the oldest answer.
func (b *BOSH) receive(ctx context.Context) error {
	var r response
	select {
	case r = <-b.pending[0]:
	case <-ctx.Done():
		return ctx.Err()
	}
	b.pending = b.pending[1:]
	if r.err != nil {
		return r.err
	}
	body, err := xmlstream.ParseElement(r.body, clientLimits)
	if err != nil {
		return fmt.Errorf("%w in %q", err, r.body)
	}
	b.take(body)
	return nil
}

// take makes of a response what a stream would have had: a header, elements, an error.
func (b *BOSH) take(body *xmlstream.Element) {
	ended := body.Attr("type") == "terminate"
	if sid := body.Attr("sid"); sid != "" {
		b.SID, b.requests = sid, 2
	}
	if from := body.Attr("from"); from != "" {
		b.from = from
	}
	if first := body.First(); b.fresh && (ended || first != nil && first.Is(ns.Stream, "features")) {
		b.fresh = false
		id := b.SID
		if id == "" { // there is none when the first request is refused
			id = strings.Repeat("A", 22)
		}
		header := xmlstream.New(ns.Framing, "open", "from", b.from, "id", id, "version", "1.0")
		header.Attrs = append(header.Attrs, xmlstream.Attr{Space: ns.XML, Local: "lang", Value: "en"})
		b.queue = append(b.queue, header)
	}
	for el := range body.Elements() {
		b.queue = append(b.queue, el)
	}
	if ended {
		b.over = true
		if condition := body.Attr("condition"); condition != "" && condition != "remote-stream-error" {
			b.queue = append(b.queue, xmlstream.New(ns.Stream, "error").Append(xmlstream.New(ns.Streams, condition)))
		}
	}
}

// trySend sends what a test wants to be sent: a header, the end of the stream, or payloads.
func (b *BOSH) trySend(ctx, waiting context.Context, xml string) error {
	attributes, isHeader := strings.CutPrefix(xml, headerMark)
	switch {
	case isHeader && b.SID == "":
		return b.send(ctx, waiting, strings.Replace(attributes, "version=", "xmpp:version=", 1)+" "+b.unlessIn(attributes), "")
	case isHeader:
		return b.send(ctx, waiting, strings.Replace(attributes, "version=", "xmpp:version=", 1)+" xmpp:restart='true'", "")
	case xml == endMark:
		return b.send(ctx, waiting, "type='terminate'", "")
	}
	return b.send(ctx, waiting, "", xml)
}

// unlessIn gives the attributes of the first request, those left out that a test has of its own.
func (b *BOSH) unlessIn(attributes string) string {
	if strings.Contains(attributes, "xml:lang=") {
		return strings.ReplaceAll(b.Attributes, "xml:lang='en'", "")
	}
	return b.Attributes
}

// next gives the next element, nil for the end of the stream. It asks for it when nothing is under way.
func (b *BOSH) next(ctx, waiting context.Context) (*xmlstream.Element, error) {
	for len(b.queue) == 0 {
		switch {
		case b.over && b.told:
			return nil, io.EOF
		case b.over:
			b.told = true
			return nil, nil
		case len(b.pending) == 0:
			if err := b.send(ctx, waiting, "", ""); err != nil {
				return nil, err
			}
		}
		if err := b.receive(waiting); err != nil {
			return nil, err
		}
	}
	el := b.queue[0]
	b.queue = b.queue[1:]
	return el, nil
}
