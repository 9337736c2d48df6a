package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const mergePatch = "application/merge-patch+json" // RFC 7396

// openBody makes the body ready to be read: at most limit bytes, as they are, in time. done is to be called when it has been read to its
// end. What is left of another is not waited for: net/http would read it before it sends the answer.
func openBody(c *call, limit int64) (body io.Reader, done func(), err error) {
	if c.r.ContentLength > limit {
		return nil, nil, tooLarge(limit)
	}
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, nil, refuse(http.StatusUnsupportedMediaType, "the body is compressed (%s); send it as it is", enc)
	}
	// A test's ResponseWriter has no deadlines, and then needs none.
	conn := http.NewResponseController(c.w)
	_ = conn.SetReadDeadline(c.arrived.Add(bodyTime))
	return http.MaxBytesReader(c.w, c.r.Body, limit), func() { _ = conn.SetReadDeadline(time.Time{}) }, nil
}

func readBody(c *call, limit int64) ([]byte, error) {
	body, done, err := openBody(c, limit)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if n := c.r.ContentLength; n > 0 {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(body); err != nil {
		return nil, badBody(err, "")
	}
	done()
	return b.Bytes(), nil
}

func tooLarge(limit int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes; send less in one request", limit)
}

// badBody says why a body could not be read, and with hint what to send.
func badBody(err error, hint string) error {
	var large *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return refuse(http.StatusRequestTimeout, "the body did not arrive within %v", bodyTime)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(http.StatusBadRequest, "the body is cut off%s", hint)
	default:
		return refuse(http.StatusBadRequest, "the body is not JSON (%v)%s", err, hint)
	}
}

// readDocument reads the body of a PUT or PATCH for one user, which must be an object on the outside. what says what it
// is to be. What else is wrong with it Rosters will say.
func readDocument(c *call, limit int64, what string) ([]byte, error) {
	b, err := readBody(c, limit)
	if err != nil {
		return nil, err
	}
	switch kind := jsontext.NewDecoder(bytes.NewBuffer(b)).PeekKind(); {
	case kind == '{':
		return b, nil
	case len(bytes.TrimSpace(b)) == 0:
		return nil, refuse(http.StatusBadRequest, "the body is missing; send %s", what)
	case kind == jsontext.KindInvalid:
		return nil, refuse(http.StatusBadRequest, "the body is not JSON; send %s", what)
	default:
		return nil, refuse(http.StatusBadRequest, "the body is %s; send %s", describe(kind), what)
	}
}

// A patch is what a PATCH for many has for one of them.
type patch struct {
	name string
	doc  []byte // an object, when err is nil
	err  error
}

const examplePatches = `; send an object such as {"john": {"marie@example.com": {"name": "Marie"}}}`

// decodePatches takes a PATCH for many users apart: strict JSON, an object with a patch for each. A patch that is no
// object is an error of that user alone.
func decodePatches(body []byte) ([]patch, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, refuse(http.StatusBadRequest, "the body is missing%s", examplePatches)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, badBody(err, examplePatches)
	}
	if tok.Kind() != '{' {
		return nil, refuse(http.StatusBadRequest, "the body is %s%s", describe(tok.Kind()), examplePatches)
	}
	var patches []patch
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, badBody(err, examplePatches)
		}
		if len(patches) == maxNames {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the object has more than %d users; send them in several requests", maxNames)
		}
		p := patch{name: tok.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, badBody(err, examplePatches)
		}
		end := dec.InputOffset()
		p.doc = body[end-int64(len(value)) : end : end]
		switch kind := value.Kind(); {
		case kind == 'n':
			p.err = errors.New("null would delete the user; to empty a roster, PUT {} to " + rostersPath + "/USER")
		case kind != '{':
			p.err = fmt.Errorf("the patch is %s, not an object", describe(kind))
		}
		patches = append(patches, p)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, badBody(err, examplePatches)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		if err == nil {
			return nil, refuse(http.StatusBadRequest, "something follows the object%s", examplePatches)
		}
		return nil, badBody(err, examplePatches)
	}
	return patches, nil
}

func describe(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	default:
		return "an array"
	}
}

// wantPatch refuses a PATCH whose type is not that of merge patches: there are others, which mean other things.
func wantPatch(r *http.Request) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && t == mergePatch {
		return nil
	}
	no := refuse(http.StatusUnsupportedMediaType, "a PATCH needs the header Content-Type: %s", mergePatch)
	no.patch = true
	return no
}

// wantDocument refuses a PUT whose type says that it is no JSON. Types that say no more than "text" or "bytes" are taken,
// as in answers to fetches, and what `curl -d` says of everything.
func wantDocument(r *http.Request) error {
	sent := r.Header.Get("Content-Type")
	t, _, err := mime.ParseMediaType(sent)
	switch {
	case sent == "", err == nil && t == "text/plain", t == "application/octet-stream", t == "application/x-www-form-urlencoded":
		return nil
	case t == mergePatch:
		return refuse(http.StatusUnsupportedMediaType, "a merge patch is sent with PATCH; a PUT has the whole roster and the header Content-Type: application/json")
	case t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"):
		return nil
	}
	return refuse(http.StatusUnsupportedMediaType, "the body of a PUT is the roster in JSON; send the header Content-Type: application/json")
}

// ifMatch reads If-Match (RFC 9110 section 13.1.1): a version, "*", or "" when there is none.
func ifMatch(r *http.Request) (string, error) {
	sent := strings.TrimSpace(strings.Join(r.Header.Values("If-Match"), ", "))
	if sent == "" || sent == "*" {
		return sent, nil
	}
	if strings.HasPrefix(sent, "W/") { // "a recipient MUST use the strong comparison function"
		return "", refuse(http.StatusPreconditionFailed, "If-Match has a weak entity tag (W/), which never matches; send the version as it came in ETag")
	}
	version, ok := strings.CutPrefix(sent, `"`)
	if ok {
		version, ok = strings.CutSuffix(version, `"`)
	}
	if !ok || version == "" || strings.Contains(version, `"`) {
		return "", refuse(http.StatusBadRequest, `If-Match is no entity tag; write one version in quotes, as ETag has it, or *`)
	}
	return version, nil
}
