package pep

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// A user's avatar (XEP-0084) is the photo of the vCard too, and the other way round (XEP-0398 v1.0.0). There is one of them: that of the
// nodes, which is put into the vCard when somebody reads it who may see both nodes. "An alternative implementation, that also satisfies
// the requirements, is one that dynamically injects the PEP avatar into the vCard upon request" (section 6.2). So neither goes in circles.

// maxPhoto bounds a picture in a vCard, in base64: as large as a vCard may be without it.
const maxPhoto = 256 << 10

// A photo is a picture as vCards have it.
type photo struct {
	typ  string // "image/png", as it was said
	data []byte
}

func hashOf(data []byte) string {
	sum := sha1.Sum(data)
	return hex.EncodeToString(sum[:])
}

// Photo gives the avatar of an account to somebody: data is nil when there is none, or none for them. kept is false where the account
// has no avatar and never had one: then the vCard may have a photo of its own.
func (p *PEP) Photo(ctx context.Context, owner, somebody jid.JID) (typ string, data []byte, kept bool, err error) {
	meta, pictures, err := p.avatar(ctx, owner.Local())
	if meta == nil || err != nil {
		return "", nil, false, err
	}
	found := photoOf(meta, pictures)
	if found == nil {
		return "", nil, true, nil
	}
	for _, n := range []*node{meta, pictures} {
		err := p.may(ctx, owner, somebody, &n.Config)
		if e, ok := stanza.AsError(err); ok && e.Condition == stanza.RemoteServerTimeout {
			return "", nil, true, err // unknown is not empty
		} else if err != nil {
			return "", nil, true, nil
		}
	}
	return found.typ, found.data, true, nil
}

// avatar reads the two nodes; either may be nil.
func (p *PEP) avatar(ctx context.Context, local string) (meta, data *node, err error) {
	names, err := p.names(ctx, local)
	if err != nil || !slices.Contains(names, ns.AvatarMetadata) {
		return nil, nil, err
	}
	if meta, err = p.load(ctx, local, ns.AvatarMetadata); meta == nil || err != nil {
		return nil, nil, err
	}
	if slices.Contains(names, ns.AvatarData) {
		data, err = p.load(ctx, local, ns.AvatarData)
	}
	return meta, data, err
}

// photoOf finds the picture that metadata speak of, which "might contain multiple info elements": the "info element that does not point
// to an external URL". "Services SHOULD verify that the SHA-1 hash of the image matches the id" (section 3.1).
func photoOf(meta, data *node) *photo {
	info := infoOf(meta)
	if info == nil || data == nil {
		return nil
	}
	id := info.Attr("id")
	i := slices.IndexFunc(data.Items, func(it item) bool { return it.ID == id })
	if i < 0 {
		return nil
	}
	el, err := xmlstream.ParseElement([]byte(data.Items[i].Payload), xmlstream.Limits{Bytes: 2 * maxNode})
	if err != nil || !el.Is(ns.AvatarData, "data") || len(el.Text()) > maxPhoto {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(el.Text()), ""))
	if err != nil || !strings.EqualFold(hashOf(raw), id) {
		return nil
	}
	return &photo{info.Attr("type"), raw}
}

func infoOf(meta *node) *xmlstream.Element {
	if len(meta.Items) == 0 {
		return nil
	}
	el, err := xmlstream.ParseElement([]byte(meta.Items[len(meta.Items)-1].Payload), xmlstream.Limits{Bytes: 2 * maxNode})
	if err != nil || !el.Is(ns.AvatarMetadata, "metadata") {
		return nil
	}
	for info := range el.Elements() {
		if info.Is(ns.AvatarMetadata, "info") && info.Attr("id") != "" && info.Attr("url") == "" {
			return info
		}
	}
	return nil
}

// SetPhoto has the photo of a vCard that a client has written as the user's avatar; without data there is to be none. It waits until
// that is stored, no longer than ctx. Nothing is done where it is as it was.
func (p *PEP) SetPhoto(ctx context.Context, client jid.JID, typ string, data []byte) error {
	done := make(chan error, 1)
	err := p.do(client.Local(), func(ctx context.Context) {
		tell, err := p.setPhoto(ctx, client, typ, data)
		done <- err
		if tell != nil {
			tell()
		}
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// setPhoto does it, in the account's queue: "a service MUST first publish an item to the 'urn:xmpp:avatar:data' node", whose id is "the
// SHA-1 hash of the image", and then "a new item to the 'urn:xmpp:avatar:metadata' node with one info element" (section 3.2). To have
// none is to publish no info (XEP-0084 section 4.5).
func (p *PEP) setPhoto(ctx context.Context, client jid.JID, typ string, data []byte) (tell func(), err error) {
	meta, pictures, err := p.avatar(ctx, client.Local())
	if err != nil {
		return nil, err
	}
	var was *photo
	if meta != nil {
		was = photoOf(meta, pictures)
	}
	said := xmlstream.New(ns.AvatarMetadata, "metadata")
	id := strings.ToLower(rand.Text())
	same := data == nil && was == nil || data != nil && was != nil && bytes.Equal(data, was.data)
	switch {
	case same && (was == nil || !p.opts.Managed || meta.Config.Access == accessPresence && pictures.Config.Access == accessPresence):
		return nil, nil
	case data != nil:
		id = hashOf(data)
		picture := xmlstream.New(ns.AvatarData, "data").AppendText(base64.StdEncoding.EncodeToString(data))
		if _, _, err := p.publishFor(ctx, client, ns.AvatarData, id, picture); err != nil {
			return nil, err
		}
		said.Append(xmlstream.New(ns.AvatarMetadata, "info", "bytes", strconv.Itoa(len(data)), "id", id, "type", typ))
	}
	n, it, err := p.publishFor(ctx, client, ns.AvatarMetadata, id, said)
	if err == nil {
		err = p.review(ctx, client.Bare())
	}
	if err != nil || !n.Config.Notify {
		return nil, err
	}
	return func() { p.published(ctx, client.Bare(), ns.AvatarMetadata, n, it) }, nil
}

// Show has a picture of the application's for an account's avatar; no data: there is none. It does not wait.
func (p *PEP) Show(account jid.JID, typ string, data []byte) {
	failed := func(err error) {
		p.opts.Log.Warn("an avatar is not the picture of the profile", "user", account.String(), "error", err)
	}
	if err := p.do(account.Local(), func(ctx context.Context) {
		tell, err := p.setPhoto(ctx, account, typ, data)
		if err != nil {
			failed(err)
		}
		if tell != nil {
			tell()
		}
	}); err != nil {
		failed(err)
	}
}

// publishFor publishes for a client. A node that it makes everybody may see, as vCards are. The application's pictures are for contacts,
// as its profiles are.
func (p *PEP) publishFor(ctx context.Context, client jid.JID, name, id string, payload *xmlstream.Element) (*node, *item, error) {
	n, err := p.load(ctx, client.Local(), name)
	if err != nil {
		return nil, nil, err
	}
	fresh := n == nil
	if fresh {
		n = &node{Config: defaults()}
		n.Config.Access = accessOpen
	}
	if p.opts.Managed {
		n.Config.Access = accessPresence
	}
	it := item{ID: id, Publisher: client.String(), At: time.Now().UTC(), Payload: xml(payload)}
	return n, &it, p.add(ctx, client.Local(), name, n, it, fresh)
}

// photos remembers what presence is to say of the pictures of users who have sessions.
type photos struct {
	mu sync.Mutex
	of map[string]*shown
}

type shown struct {
	sessions int
	hash     string
	known    bool
}

// PhotoHash gives the hash of a user's avatar, "" when there is none (any more), for a user who has a session. known is false where
// there never was one, or it is not known yet; then Options.PhotoChanged is called when it is. It does not wait.
func (p *PEP) PhotoHash(local string) (hash string, known bool) {
	p.photos.mu.Lock()
	defer p.photos.mu.Unlock()
	if s := p.photos.of[local]; s != nil {
		return s.hash, s.known
	}
	return "", false
}

func (p *PEP) opened(_ context.Context, s *session.Session) {
	if p.opts.PhotoChanged == nil {
		return
	}
	local := s.JID().Local()
	p.photos.mu.Lock()
	one := p.photos.of[local]
	if one == nil {
		one = &shown{}
		p.photos.of[local] = one
	}
	one.sessions++
	fresh := one.sessions == 1
	p.photos.mu.Unlock()
	names, known := p.index.get(local)
	if fresh && (!known || slices.Contains(names, ns.AvatarMetadata)) {
		// Without room in the queue clients say it themselves.
		_ = p.do(local, func(ctx context.Context) {
			if err := p.review(ctx, s.JID().Bare()); err != nil {
				p.opts.Log.Warn("presence does not say which avatar a user has", "user", local, "error", err)
			}
		})
	}
}

// review works out, in the account's queue, what presence is to say of the avatar. What came of it is kept with the metadata, so that
// nobody reads the picture for it at each sign-in.
func (p *PEP) review(ctx context.Context, owner jid.JID) error {
	if p.opts.PhotoChanged == nil {
		return nil
	}
	local := owner.Local()
	names, err := p.names(ctx, local)
	if err != nil || !slices.Contains(names, ns.AvatarMetadata) {
		return p.show(owner, "", false, err)
	}
	meta, err := p.load(ctx, local, ns.AvatarMetadata)
	if meta == nil || err != nil {
		return p.show(owner, "", false, err)
	}
	if meta.Photo == nil {
		_, pictures, err := p.avatar(ctx, local)
		if err != nil {
			return err
		}
		hash := ""
		if found := photoOf(meta, pictures); found != nil && meta.Config.contactsSee() && pictures.Config.contactsSee() {
			hash = hashOf(found.data)
		}
		meta.Photo = &hash
		b, err := meta.encode()
		if err == nil {
			err = p.opts.Store.SetValue(ctx, p.key(local, "n"+ns.AvatarMetadata), b, 0)
		}
		if err != nil {
			return err
		}
	}
	return p.show(owner, *meta.Photo, true, nil)
}

// contactsSee tells whether all contacts see a node: to whom presence says that there is a picture, that somebody may see it.
func (c *config) contactsSee() bool { return c.Access == accessOpen || c.Access == accessPresence }

// show notes what presence is to say. That there was an avatar is remembered as long as its user is online.
func (p *PEP) show(owner jid.JID, hash string, known bool, err error) error {
	if err != nil {
		return err
	}
	p.photos.mu.Lock()
	one := p.photos.of[owner.Local()]
	changed := one != nil && (known && !one.known || hash != one.hash)
	if changed {
		one.hash, one.known = hash, true
	}
	p.photos.mu.Unlock()
	if changed {
		p.opts.PhotoChanged(owner)
	}
	return nil
}

// forgetPhoto lets go of what is remembered of a user without sessions.
func (p *PEP) forgetPhoto(local string) {
	p.photos.mu.Lock()
	defer p.photos.mu.Unlock()
	if one := p.photos.of[local]; one != nil {
		if one.sessions--; one.sessions == 0 {
			delete(p.photos.of, local)
		}
	}
}

// changed is called when a request has changed a node of an account, in its queue, before it is answered.
func (p *PEP) changed(ctx context.Context, owner jid.JID, name string) error {
	if name != ns.AvatarMetadata && name != ns.AvatarData {
		return nil
	}
	if name == ns.AvatarData { // what was found out of the picture may be so no more
		meta, err := p.load(ctx, owner.Local(), ns.AvatarMetadata)
		if err != nil {
			return err
		}
		if meta != nil && meta.Photo != nil {
			if err := p.save(ctx, owner.Local(), ns.AvatarMetadata, meta, false); err != nil {
				return err
			}
		}
	}
	return p.review(ctx, owner)
}
