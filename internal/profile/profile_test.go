package profile

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/rosterhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const png, gif = "\x89PNG\r\n\x1a\n\x00\x00\x00\r", "GIF89a\x01\x00"

// application is a Source; each request takes a second.
type application struct {
	mu       sync.Mutex
	doc      string
	pictures map[string]string
	fails    error // for documents
	asked    int
	fetched  int // pictures that were not as before
}

func (a *application) User(ctx context.Context, _, etag string, _ int64, _ bool) (rosterhttp.Content, error) {
	a.mu.Lock()
	a.asked++
	doc, fails := a.doc, a.fails
	a.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return rosterhttp.Content{}, ctx.Err()
	}
	if fails != nil {
		return rosterhttp.Content{}, fails
	}
	return content(doc, etag), nil
}

func (a *application) Image(_ context.Context, _, reference, etag string, _ int64, _ bool) (rosterhttp.Content, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	data, ok := a.pictures[reference]
	if !ok {
		return rosterhttp.Content{}, &rosterhttp.Error{Kind: rosterhttp.Unavailable, Err: errors.New("no answer")}
	}
	c := content(data, etag)
	if !c.NotModified {
		a.fetched++
	}
	return c, nil
}

func content(body, etag string) rosterhttp.Content {
	tag := fmt.Sprintf("%q", body)
	return rosterhttp.Content{Body: []byte(body), ETag: tag, NotModified: tag == etag, MaxAge: -1}
}

func (a *application) set(doc string, fails error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doc, a.fails = doc, fails
}

func run(t *testing.T, o Options, test func(t *testing.T, a *application, e *Engine)) {
	synctest.Test(t, func(t *testing.T) {
		a := &application{pictures: map[string]string{}}
		o.Host, o.Source, o.MaxAge, o.AvatarBytes, o.Log = "localhost", a, time.Hour, 1000, slog.New(slog.DiscardHandler)
		e := New(t.Context(), o)
		defer e.Stop()
		test(t, a, e)
	})
}

func name(t *testing.T, e *Engine) string {
	t.Helper()
	p, err := e.Get(t.Context(), "john")
	if err != nil {
		return err.Error()
	}
	return p.fields["name"]
}

// Many who ask share one fetch, and a copy is used until it is an hour old; then it is served while the application is slow.
func TestOneFetch(t *testing.T) {
	run(t, Options{}, func(t *testing.T, a *application, e *Engine) {
		a.set(`{"name": "John"}`, nil)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if got := name(t, e); got != "John" {
					t.Errorf("%q", got)
				}
			})
		}
		all.Wait()
		time.Sleep(59 * time.Minute)
		if name(t, e); a.asked != 1 {
			t.Errorf("asked %d times", a.asked)
		}
		time.Sleep(time.Minute)
		a.set(`{"name": "Johnny"}`, nil)
		if got := name(t, e); got != "Johnny" || a.asked != 2 {
			t.Errorf("%q, asked %d times", got, a.asked)
		}
	})
}

// What a refresh answers with comes from a fetch that began after it was asked for.
func TestRefreshBeginsAnew(t *testing.T) {
	var told int
	run(t, Options{Changed: func(string) { told++ }}, func(t *testing.T, a *application, e *Engine) {
		a.set(`{"name": "John"}`, nil)
		if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Offline || a.asked != 0 {
			t.Errorf("%v, asked %d times", r, a.asked)
		}
		go name(t, e)
		synctest.Wait() // that fetch is under way, and has the old document
		a.set(`{"name": "Johnny"}`, nil)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Changed {
					t.Errorf("%v", r)
				}
				if got := name(t, e); got != "Johnny" {
					t.Errorf("%q", got)
				}
			})
		}
		all.Wait()
		if a.asked != 2 || told != 2 {
			t.Errorf("asked %d times, told %d times", a.asked, told)
		}
		if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Unchanged {
			t.Errorf("%v", r)
		}
	})
}

// A failure takes nothing away, is no empty profile, and is not repeated by everybody who asks.
func TestFailure(t *testing.T) {
	run(t, Options{}, func(t *testing.T, a *application, e *Engine) {
		down := errors.New("503")
		a.set("", down)
		for range 5 {
			if p, err := e.Get(t.Context(), "john"); !errors.Is(err, ErrUnknown) || p != nil {
				t.Errorf("%v, %v", p, err)
			}
		}
		if a.asked != 1 {
			t.Errorf("asked %d times", a.asked)
		}
		time.Sleep(pause)
		a.set(`{"name": "John"}`, nil)
		if got := name(t, e); got != "John" {
			t.Errorf("%q", got)
		}
		for _, bad := range []string{`{"error": "down"}`, `[]`, `null`, `{"name": "J"`, `{"name": "a", "name": "b"}`, "{\"name\": \"\xff\"}"} {
			a.set(bad, nil)
			if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Failed || strings.Contains(r[0].Err.Error(), "down") {
				t.Errorf("%s: %v", bad, r)
			}
			if got := name(t, e); got != "John" {
				t.Errorf("%s: %q", bad, got)
			}
		}
		a.set(`{"name": 7, "title": "Dr"}`, nil)
		if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Changed || name(t, e) != "" {
			t.Errorf("%v: a member that is wrong is left out by itself", r)
		}
	})
}

// A picture that cannot be had leaves the one before, and the next fetch asks for it again.
func TestPicture(t *testing.T) {
	run(t, Options{}, func(t *testing.T, a *application, e *Engine) {
		photo := func() string {
			p, err := e.Get(t.Context(), "john")
			if err != nil {
				return err.Error()
			}
			return string(p.photo.Data)
		}
		a.pictures["/1"] = png
		a.set(`{"name": "John", "avatar": "/1"}`, nil)
		if got := photo(); got != png || a.fetched != 1 {
			t.Errorf("%q, %d pictures", got, a.fetched)
		}
		e.Refresh(t.Context(), []string{"john"})
		if a.fetched != 1 {
			t.Error("a picture that is as it was is fetched again")
		}
		a.pictures["/1"] = gif // under the same address
		if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Changed || photo() != gif {
			t.Errorf("%v, %q", r, photo())
		}
		a.set(`{"name": "J", "avatar": "/2"}`, nil) // which does not answer
		if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Failed || photo() != gif || name(t, e) != "J" {
			t.Errorf("%v, %q", r, photo())
		}
		a.pictures["/2"] = png
		time.Sleep(pause)
		if got := photo(); got != png {
			t.Errorf("%q", got)
		}
		for _, bad := range []string{"<svg xmlns='http://www.w3.org/2000/svg'/>", "<html>", "", "BM"} {
			a.pictures["/2"] = bad
			if r := e.Refresh(t.Context(), []string{"john"}); r[0].Kind != Failed || photo() != png {
				t.Errorf("%q: %v", bad, r)
			}
		}
		for _, c := range []struct{ data, want string }{
			{base64.StdEncoding.EncodeToString([]byte(gif)), gif},
			{base64.StdEncoding.EncodeToString([]byte(png + strings.Repeat("x", 1000))), gif}, // too large
			{"####", gif},
			{base64.StdEncoding.EncodeToString([]byte("<svg/>")), gif},
			{base64.StdEncoding.EncodeToString([]byte(png)), png},
		} {
			a.set(fmt.Sprintf(`{"avatar": "data:image/svg+xml;base64,%s"}`, c.data), nil)
			e.Refresh(t.Context(), []string{"john"})
			if got := photo(); got != c.want {
				t.Errorf("%.20s: %q", c.data, got)
			}
		}
		a.set(`{"name": "John", "avatar": null}`, nil)
		if e.Refresh(t.Context(), []string{"john"}); photo() != "" {
			t.Error("a picture that was taken away is still there")
		}
	})
}

// Copies have bounded room, and somebody who is waited for keeps theirs.
func TestRoom(t *testing.T) {
	run(t, Options{KeepBytes: 10_000}, func(t *testing.T, a *application, e *Engine) {
		a.set(fmt.Sprintf(`{"note": %q}`, strings.Repeat("x", 1000)), nil)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if p, err := e.Get(t.Context(), fmt.Sprint(i)); err != nil || p.size() < 1000 {
					t.Errorf("%v, %v", p, err)
				}
			})
		}
		all.Wait()
		e.Get(t.Context(), "last")
		if e.bytes > 10_000 || len(e.entries) != e.used.Len() || len(e.entries) == 0 {
			t.Errorf("%d bytes, %d entries, %d in order", e.bytes, len(e.entries), e.used.Len())
		}
	})
}

func TestVCard(t *testing.T) {
	p, avatar, dropped, err := decode([]byte(`{"name": "J & M", "email": "j@example.com", "phone": "1", "organization": "O", "note": "", "url": null,
		"nickname": ["x"], "avatar": "/a", "age": 7}`))
	if err != nil || avatar != "/a" || len(dropped) != 1 {
		t.Fatal(avatar, dropped, err)
	}
	p.photo = Image{"image/gif", []byte(gif)}
	const want = "<vCard xmlns='vcard-temp'><FN>J &amp; M</FN><EMAIL><USERID>j@example.com</USERID></EMAIL><TEL><NUMBER>1</NUMBER></TEL>" +
		"<ORG><ORGNAME>O</ORGNAME></ORG><PHOTO><TYPE>image/gif</TYPE><BINVAL>R0lGODlhAQA=</BINVAL></PHOTO></vCard>"
	if got := p.VCard().String(); got != want {
		t.Errorf("%s", got)
	}
	if empty, _, _, err := decode([]byte(" {} ")); err != nil || empty.VCard() != nil {
		t.Error("an empty profile is something")
	}
}
