package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// What is put off is answered in the order in which it came, and keeps nothing else of its sender waiting.
func TestLaterKeepsOrder(t *testing.T) {
	gate := make(chan struct{})
	h := newHost(t, Feature{Name: "test", IQ: map[IQKey]IQHandler{
		{ToSelf, "get", "urn:q", "question"}: func(_ context.Context, iq *IQ) (*xmlstream.Element, error) {
			if iq.ID == "now" {
				return nil, nil
			}
			return iq.Later(func(context.Context) (*xmlstream.Element, error) {
				if iq.ID == "0" {
					<-gate
				}
				if iq.ID == "3" {
					panic("fault")
				}
				return nil, nil
			})
		},
	}})
	c := sink{make(chan string)}
	s := bind(t, h, "john", c)
	for i := range 6 {
		h.Receive(s, iq(fmt.Sprint(i)))
	}
	h.Receive(s, iq("now"))
	if got := <-c.got; !strings.Contains(got, "id='now'") {
		t.Errorf("before it came %s", got)
	}
	close(gate)
	for i := range 6 {
		got := <-c.got
		if !strings.Contains(got, fmt.Sprintf("id='%d'", i)) || strings.Contains(got, "internal-server-error") != (i == 3) {
			t.Errorf("%d: %s", i, got)
		}
	}
}

// A store that hangs: requests are refused when too much waits, those that wait are answered in bounded time, what was
// answered without is not done, and the host can be stopped.
func TestLaterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := 0
		h, err := New(t.Context(), NewRegistry(), Options{Name: "localhost", SessionsPerUser: 10, OutboxBytes: 1 << 20, StanzaBytes: 256 << 10,
			Log: slog.New(slog.DiscardHandler), Features: []Feature{{Name: "test", IQ: map[IQKey]IQHandler{
				{ToSelf, "get", "urn:q", "question"}: func(_ context.Context, iq *IQ) (*xmlstream.Element, error) {
					return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
						done++
						<-ctx.Done()
						return nil, ctx.Err()
					})
				},
			}}}})
		if err != nil {
			t.Fatal(err)
		}
		c := sink{make(chan string, 1000)}
		s := bind(t, h, "john", c)
		large := func(id string) *xmlstream.Element {
			el := iq(id)
			el.First().AppendText(strings.Repeat("x", 100<<10))
			return el
		}
		for i := range 20 {
			h.Receive(s, large(fmt.Sprint(i)))
		}
		synctest.Wait()
		if n := len(c.got); n != 10 {
			t.Errorf("%d are refused of 20 times 100 KiB", n)
		}
		for range len(c.got) {
			if got := <-c.got; !strings.Contains(got, "resource-constraint") {
				t.Error(got)
			}
		}
		time.Sleep(answerTimeout)
		synctest.Wait()
		if n := len(c.got); n != 10 {
			t.Errorf("%d are answered within %v, want 10", n, answerTimeout)
		}
		time.Sleep(answerTimeout)
		synctest.Wait()
		if done != 2 { // one ran until 20 s, one was begun then; the others were answered at 30 s
			t.Errorf("%d were done", done)
		}
		if !h.later.Empty() {
			t.Error("something is left")
		}
		h.Receive(s, iq("last"))
		synctest.Wait()
		h.Stop(t.Context(), &stanza.StreamError{Condition: stanza.SystemShutdown})
	})
}

// Errors go to the sender as those of a handler do.
func TestLaterHidesErrors(t *testing.T) {
	h := newHost(t, Feature{Name: "test", IQ: map[IQKey]IQHandler{
		{ToSelf, "get", "urn:q", "question"}: func(_ context.Context, iq *IQ) (*xmlstream.Element, error) {
			return iq.Later(func(context.Context) (*xmlstream.Element, error) {
				if iq.ID == "own" {
					return xmlstream.New(ns.Client, "x"), stanza.NewError(stanza.ItemNotFound, "")
				}
				return nil, errors.New("the password is hunter2")
			})
		},
	}})
	c := sink{make(chan string)}
	s := bind(t, h, "john", c)
	for id, want := range map[string]string{"own": "item-not-found", "other": "internal-server-error"} {
		h.Receive(s, iq(id))
		if got := <-c.got; !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: %s", id, got)
		}
	}
}
