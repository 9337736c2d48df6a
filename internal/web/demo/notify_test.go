package demo

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestChangeIsNotified(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("add", `{"owner":"carol","contact":"bob","both":true}`)
	if got := <-f.told; got != `["bob","carol"]` {
		t.Errorf("rollcall was told %s", got)
	}
	change, _ := page.line(func(l Line) bool { return l.Kind == "change" })
	if change.Text != "Carol and Bob now know each other" {
		t.Errorf("the change is %q", change.Text)
	}
	begun, _ := page.line(func(l Line) bool { return l.Kind == "notify" && l.Pending })
	f.answers <- allWell("2") // not before: the feed may leave out a state that has passed
	ended, _ := page.line(func(l Line) bool { return l.Number == begun.Number })
	if ended.Pending || ended.Failed || ended.Status != 200 || ended.Note != "updated 2" || ended.Request != `["bob","carol"]` ||
		!strings.Contains(ended.Answer, "roster update complete") {
		t.Errorf("the line is %+v", ended)
	}
}

func TestNothingChangedIsNotNotified(t *testing.T) {
	f := start(t)
	f.act("reset", `{}`)
	f.act("change", `{"owner":"dave","contact":"bob","name":"Bob Okafor"}`)
	f.act("remove", `{"owner":"dave","contact":"bob"}`)
	f.answers <- allWell("1")
	if got := <-f.told; got != `["dave"]` {
		t.Errorf("rollcall was told %s first", got)
	}
}

// While a notification is under way, changes gather for the next one.
func TestNotificationsGather(t *testing.T) {
	f := start(t)
	f.act("remove", `{"owner":"alice","contact":"bob"}`)
	<-f.told // and is not answered yet
	f.act("remove", `{"owner":"bob","contact":"dave"}`)
	f.act("remove", `{"owner":"alice","contact":"carol"}`)
	f.act("remove", `{"owner":"carol","contact":"alice"}`)
	f.answers <- allWell("1")
	f.answers <- allWell("3")
	if got := <-f.told; got != `["alice","bob","carol"]` {
		t.Errorf("the second time rollcall was told %s", got)
	}
}

// What failed while the application was off is told again when it is on, and not before.
func TestSwitchingOnMakesUp(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("mode", `{"mode":"unavailable"}`)
	f.answers <- fakeAnswer{200, `{"status":"error","message":"alice: the service answered 503","updated":0,"errors":1}`}
	f.act("remove", `{"owner":"alice","contact":"bob"}`)
	<-f.told
	if l, _ := page.line(func(l Line) bool { return l.Kind == "notify" && !l.Pending }); !l.Failed || l.Note != "updated 0, 1 error" {
		t.Errorf("the line is %+v", l)
	}
	f.answers <- allWell("1")
	f.act("mode", `{"mode":"on"}`)
	if got := <-f.told; got != `["alice"]` {
		t.Errorf("rollcall was told %s", got)
	}
	page.line(func(l Line) bool { return l.Kind == "notify" && l.Status == 200 && !l.Failed })
}

// A notification that still waits for the application when that comes back is sent anew.
func TestSwitchingOnSendsAnew(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("mode", `{"mode":"silent"}`)
	f.act("remove", `{"owner":"alice","contact":"bob"}`)
	<-f.told // the fake does not answer
	f.act("mode", `{"mode":"on"}`)
	if got := <-f.told; got != `["alice"]` {
		t.Errorf("rollcall was told %s", got)
	}
	<-f.hungUp // the first one must not get the second one's answer
	f.answers <- allWell("1")
	page.line(func(l Line) bool { return l.Kind == "notify" && l.Failed && l.Note == errResumed.Error() })
	page.line(func(l Line) bool { return l.Kind == "notify" && l.Status == 200 })
}

func TestReadAnswer(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, note string
		ok         bool
	}{
		{200, `{"status":"ok","message":"m","updated":1,"errors":0}`, "updated 1", true},
		{200, `{"status":"error","message":"m","updated":1,"errors":2}`, "updated 1, 2 errors", false},
		{503, `{"status":"error","message":"shutting down","updated":0,"errors":0}`, "shutting down", false},
		{200, `<html>`, "an answer that is not JSON", false},
		{200, ``, "an answer that is not JSON", false},
	} {
		if note, err := readAnswer(c.status, []byte(c.body)); note != c.note || (err == nil) != c.ok {
			t.Errorf("%d %s: %q, %v", c.status, c.body, note, err)
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A rollcall that cannot be reached is tried again after 2, 4, 8, 16, 30 and again 30 seconds; a success starts over.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		n := newNotifier(func() string { return "http://127.0.0.1:1/roster_admin/refresh" }, newFeed(), slog.New(slog.DiscardHandler))
		n.client.Transport = transport(func(*http.Request) (*http.Response, error) {
			at = append(at, time.Since(begin).Round(time.Second))
			if len(at) < 7 {
				return nil, errors.New("connection refused")
			}
			body := `{"status":"ok","message":"","updated":1,"errors":0}`
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		go n.run(ctx)
		n.tell("alice")
		time.Sleep(time.Hour) // of the bubble's clock
		synctest.Wait()
		cancel()
		synctest.Wait()
		want := []time.Duration{0, 2, 6, 14, 30, 60, 90}
		if len(at) != len(want) {
			t.Fatalf("told at %v", at)
		}
		for i := range want {
			if at[i] != want[i]*time.Second {
				t.Errorf("told at %v, want %v s", at, want)
				break
			}
		}
	})
}
