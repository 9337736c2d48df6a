package profile

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"rollcall/internal/rosterhttp"
	"rollcall/internal/store"
)

// copied is what is stored of a user, in JSON: the profile, and what the application is asked with for another.
type copied struct {
	Fields     map[string]string `json:"fields,omitempty"`
	ETag       string            `json:"etag,omitempty"`
	Avatar     string            `json:"avatar,omitempty"` // the URL that the picture is from
	AvatarETag string            `json:"avatar_etag,omitempty"`
	Photo      string            `json:"photo,omitempty"` // base64
}

const space = "profile"

func (e *Engine) key(local string) store.Key {
	return store.Key{Host: e.opts.Host, Username: local, Space: space}
}

// fetch begins a fetch of a user. The caller has the lock, and there is none.
func (e *Engine) fetch(t *entry, notified bool) *flight {
	t.begun++
	f := &flight{n: t.begun, done: make(chan struct{})}
	if e.stopped {
		f.err = context.Canceled
		close(f.done)
		return f
	}
	t.flight = f
	e.wg.Go(func() { e.fly(t, f, notified) })
	return f
}

// fly is a fetch. What it is to find out is whether anything has changed since it began, so what is known is read first.
func (e *Engine) fly(t *entry, f *flight, notified bool) {
	ctx, cancel := context.WithTimeout(e.ctx, fetchTime)
	defer cancel()
	e.mu.Lock()
	seen := t.known // by those who do not wait
	e.mu.Unlock()
	e.load(ctx, t)
	e.mu.Lock()
	before, known := t.copy, t.known
	wasStale := t.stale
	t.stale = false // a notification that comes from now on makes it so again
	e.mu.Unlock()
	got := e.ask(ctx, t.local, before, known, notified)
	if got.profile != nil && e.opts.Store != nil && (known == nil || !got.profile.equal(known) || got.copy.ETag != before.ETag || got.copy.AvatarETag != before.AvatarETag) {
		e.save(ctx, t.local, got)
	}
	changed := got.profile != nil && !got.profile.equal(known)
	e.mu.Lock()
	if got.profile != nil {
		t.known, t.copy = got.profile.seal(), got.copy
		t.fresh = time.Now().Add(got.maxAge)
	}
	t.err, t.failed = got.err, time.Time{}
	switch {
	case got.err == nil:
	case got.profile == nil:
		t.failed = time.Now()
		t.stale = t.stale || wasStale
	case got.again: // half of it is as old as it was
		t.failed, t.stale = time.Now(), true
	default:
		e.opts.Log.Warn("a profile's picture cannot be used", "user", t.local, "error", got.err)
	}
	t.flight = nil
	f.err, f.changed = got.err, changed
	now := t.known
	e.weigh(t)
	e.mu.Unlock()
	if now != nil && !now.equal(seen) && e.opts.Changed != nil {
		e.opts.Changed(t.local)
	}
	close(f.done)
}

// load reads the copy of the server's last life, once.
func (e *Engine) load(ctx context.Context, t *entry) {
	e.mu.Lock()
	loaded := t.loaded || e.opts.Store == nil
	e.mu.Unlock()
	if loaded {
		return
	}
	b, err := e.opts.Store.Value(ctx, e.key(t.local))
	var c copied
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	var p *Profile
	if err == nil {
		p = &Profile{fields: c.Fields}
		if c.Photo != "" {
			data, broken := base64.StdEncoding.DecodeString(c.Photo)
			if err = broken; err == nil {
				p.photo, err = image(data)
			}
		}
		c.Photo, c.Fields = "", nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		e.opts.Log.Warn("the copy of a profile cannot be read", "user", t.local, "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.loaded = err == nil || errors.Is(err, store.ErrNotFound)
	if err == nil && t.known == nil {
		t.known, t.copy, t.stale = p.seal(), c, true
		e.weigh(t)
	}
}

// save stores a copy. That it cannot be is no reason not to use it.
func (e *Engine) save(ctx context.Context, local string, a answer) {
	c := a.copy
	c.Fields, c.Photo = a.profile.fields, base64.StdEncoding.EncodeToString(a.profile.photo.Data)
	b, err := json.Marshal(c)
	if err == nil {
		err = e.opts.Store.SetValue(ctx, e.key(local), b, 0)
	}
	if err != nil {
		e.opts.Log.Warn("a profile cannot be stored", "user", local, "error", err)
	}
}

// answer is what came of a fetch: a profile, or an error, or a profile whose picture is the one before and why.
type answer struct {
	profile *Profile
	copy    copied
	maxAge  time.Duration
	err     error
	again   bool // it is worth another try soon, though there is a profile
}

// passes tells whether an error is of the service, and not of what it said.
func passes(err error) bool {
	var e *rosterhttp.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case rosterhttp.Refused, rosterhttp.TooLarge, rosterhttp.Type, rosterhttp.Document:
		return false
	case rosterhttp.Status:
		return e.Status >= 500 || e.Status == 408 || e.Status == 429
	}
	return true
}

// ask asks the application for a user's document, and for the picture that it names.
func (e *Engine) ask(ctx context.Context, local string, before copied, known *Profile, notified bool) (a answer) {
	tag := before.ETag
	if known == nil {
		tag = ""
	}
	most := int64(maxText + (e.opts.AvatarBytes+2)/3*4)
	doc, err := e.opts.Source.User(ctx, local, tag, most, notified)
	if err != nil {
		return answer{err: err}
	}
	a.copy = copied{ETag: doc.ETag, Avatar: before.Avatar, AvatarETag: before.AvatarETag}
	if a.maxAge = doc.MaxAge; a.maxAge < 0 {
		a.maxAge = e.opts.MaxAge
	}
	if doc.NotModified {
		a.profile = &Profile{fields: known.fields, photo: known.photo}
		if a.copy.Avatar == "" {
			return a // the picture, if any, was in the document
		}
		e.picture(ctx, local, &a, a.copy.Avatar, known, before, notified)
		return a
	}
	p, avatar, dropped, err := decode(doc.Body)
	if err != nil {
		return answer{err: err}
	}
	if len(dropped) > 0 {
		e.opts.Log.Warn("a profile has members that cannot be used", "user", local, "members", dropped)
	}
	a.profile, a.copy.Avatar, a.copy.AvatarETag = p, "", ""
	e.picture(ctx, local, &a, avatar, known, before, notified)
	return a
}

// picture puts into an answer the picture that its document names. One that cannot be had leaves the one before: that it
// cannot is no reason to take away what is known.
func (e *Engine) picture(ctx context.Context, local string, a *answer, avatar string, known *Profile, before copied, notified bool) {
	var err error
	switch {
	case avatar == "":
		return
	case len(avatar) >= 5 && strings.EqualFold(avatar[:5], "data:"):
		a.profile.photo, err = inline(avatar, e.opts.AvatarBytes)
	case len(avatar) > 2048:
		err = errors.New("the avatar's URL has more than 2048 bytes")
	default:
		err = e.fetchPicture(ctx, local, a, avatar, known, before, notified)
	}
	if err == nil {
		return
	}
	a.err = fmt.Errorf("the name is known, the picture is not: %w", err)
	a.again = passes(err)
	a.copy.ETag = "" // or the next answer would be that nothing has changed
	a.copy.Avatar, a.copy.AvatarETag = before.Avatar, before.AvatarETag
	if known != nil {
		a.profile.photo = known.photo
	}
}

func (e *Engine) fetchPicture(ctx context.Context, local string, a *answer, avatar string, known *Profile, before copied, notified bool) error {
	tag := ""
	if known != nil && avatar == before.Avatar && len(known.photo.Data) > 0 {
		tag = before.AvatarETag
	}
	got, err := e.opts.Source.Image(ctx, local, avatar, tag, int64(e.opts.AvatarBytes), notified)
	if err != nil {
		return err
	}
	a.copy.Avatar, a.copy.AvatarETag = avatar, got.ETag
	if got.NotModified {
		a.profile.photo = known.photo
		return nil
	}
	a.profile.photo, err = image(got.Body)
	return err
}

var _ Source = (*rosterhttp.Documents)(nil)
