package rosterhttp

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"
)

var (
	errLarge = errors.New("too large")
	errGzip  = errors.New("bad gzip")
)

var gunzips = sync.Pool{New: func() any { return new(gzip.Reader) }}

// readBody appends the body to buf, decompressed. No more than max bytes are taken, neither of what was sent
// nor of what it decompresses to: the one bounds gzip that stands for nothing (empty blocks without end),
// the other gzip that stands for too much. Lengths that the answer claims are not believed.
func readBody(buf *bytes.Buffer, body io.Reader, max int64, gzipped bool) error {
	sent := &limited{r: body, left: max}
	if !gzipped {
		_, err := buf.ReadFrom(sent)
		return err
	}
	z := gunzips.Get().(*gzip.Reader)
	defer gunzips.Put(z)
	if err := z.Reset(sent); err == io.EOF {
		return nil // an empty body is an empty body
	} else if err != nil {
		return sent.cause(err)
	}
	if _, err := buf.ReadFrom(&limited{r: z, left: max}); err != nil {
		return sent.cause(err)
	}
	return nil
}

// limited reads left bytes of r and fails with errLarge when there are more.
type limited struct {
	r    io.Reader
	left int64
	err  error // what r failed with, or errLarge; nil for io.EOF
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		l.err = errLarge
		return int(l.left), errLarge
	}
	l.left -= int64(n)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

// cause tells a fault of the compression from one of the connection below it.
func (l *limited) cause(err error) error {
	switch {
	case errors.Is(err, errLarge):
		return errLarge
	case l.err != nil:
		return l.err
	}
	return fmt.Errorf("%w: %w", errGzip, err)
}
