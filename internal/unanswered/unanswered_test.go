package unanswered

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a service says that speaks no HTTP, and speaks of secrets, is not repeated.
func TestWhyQuotesNothing(t *testing.T) {
	for _, answer := range []string{"canary", "HTTP/1.1 canary", "HTTP/1.1 200 OK\r\ncanary", "HTTP/1.1 200 OK\r\n canary: x", "HTTP/9.canary 200 OK",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: canary", "HTTP/1.1 200 OK\r\nContent-Length: canary", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2canary"} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
				_, _ = io.WriteString(theirs, answer+"\r\n\r\n") // it fails when the other side has seen enough
			}
		}()
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
		req := httptest.NewRequest(http.MethodGet, "http://app/", nil)
		req.RequestURI = ""
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
			t.Errorf("%q is an answer", answer)
			continue
		}
		if got := Why(err).Error(); strings.Contains(got, "canary") || !strings.Contains(got, "not HTTP") {
			t.Errorf("%q: %v, of %v", answer, got, err)
		}
	}
}

func TestWhyNamesWhatIsKnown(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{errors.Join(errors.New("canary"), refused), "dial tcp: connection refused"}, {io.ErrUnexpectedEOF, "unexpected EOF"},
		{context.Canceled, "context canceled"},
	} {
		if got := Why(tc.err).Error(); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.err, got, tc.want)
		}
	}
	if got := Status(503) + ", " + Status(799); got != "503 Service Unavailable, 799" {
		t.Error(got)
	}
}
