// Package check is the command `rollcall check`: section 6 of docs/roster-http.md. It runs the cases of
// rosterapi/conformance, shows what they found and what clients would see, and may then wait for the application to notify
// of a change, and follow it through.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"rollcall/internal/rosterhttp"
	"rollcall/rosterapi/conformance"
)

// Options say what is checked and how it is shown.
type Options struct {
	conformance.Config

	// Notify is an address to listen at for the application's notification, such as 127.0.0.1:5280. "": nothing is
	// waited for.
	Notify string
	Wait   time.Duration // for a change; 0: until the context ends

	JSON  bool // a JSON object for the report; with Notify one more for each thing that happens
	Color bool // of a terminal; not with JSON
	Out   io.Writer
}

// ErrBroken says that clients would not get the right roster. What is wrong has been written.
var ErrBroken = errors.New("clients would not get the right roster")

// A UsageError is a mistake in the options.
type UsageError struct{ error }

// mistake is an error of a room that looked at the options, without the room's name.
func mistake(err error) error {
	text := err.Error()
	for _, room := range []string{"rosterhttp: ", "conformance: "} {
		text = strings.TrimPrefix(text, room)
	}
	return UsageError{errors.New(text)}
}

// Run checks, shows and follows. The error is nil when clients would get the right roster, and a change, if one was to be
// waited for, came through.
func Run(ctx context.Context, o Options) error {
	client, err := clientOf(o)
	if err != nil {
		return mistake(err)
	}
	defer client.Close()
	var listener net.Listener
	if o.Notify != "" {
		// Before the check, which takes its time: whoever starts both expects the listener to be there.
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.Notify); err != nil {
			return UsageError{fmt.Errorf("the notification cannot be waited for: %w", err)}
		}
		defer listener.Close()
	}
	report, err := conformance.Run(ctx, o.Config)
	if err != nil {
		return mistake(err)
	}
	p := &printer{out: o.Out, color: o.Color}
	if o.JSON {
		err = writeJSON(o.Out, report)
	} else {
		p.report(report)
		err = p.err
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case listener == nil || report.Roster == nil: // without a roster there is nothing to compare with
	default:
		if err := follow(ctx, o, client, listener, p); err != nil {
			return err
		}
	}
	if !report.OK {
		return ErrBroken
	}
	return nil
}

// clientOf makes the server's own client, which looks closely at the URL, too.
func clientOf(o Options) (*rosterhttp.Client, error) {
	host := o.Host
	if host == "" {
		host = "localhost"
	}
	return rosterhttp.New(rosterhttp.Config{Host: host, URL: o.URL, Token: o.Token, Timeout: o.Timeout, UserAgent: "rollcall-check"})
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
