// Package unanswered says why a request to somebody else's service over HTTP got no answer, without a word of what was sent or came:
// errors of net/http quote the line that they could not read, which may be from a roster, or a key.
package unanswered

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

// errOther is in place of an error that may quote something.
var errOther = errors.New("what came is not HTTP as it must be; look whether the URL is that of the service")

// Why gives the part of an error of http.Transport, or of reading a body, that can be shown.
func Why(err error) error {
	var network *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &network): // it names the place
		return network
	case errors.As(err, &name):
		return name
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &record):
		return record
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("timed out")
	}
	for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errOther
}

// Status is a status as numbers and words of the standard's: what stands in an answer behind the number is the service's.
func Status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprint(code, " ", text)
	}
	return fmt.Sprint(code)
}
