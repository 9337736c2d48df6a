package admin

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/internal/config"
	"rollcall/internal/webhook"
)

// Signatures in the form of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, symmetric, "v1"):
// webhook-signature has BASE64(HMAC-SHA256(secret, id.timestamp.body)), several with spaces between them. They cover the
// body and not method and path, so whoever can read and change what passes on the way is kept out by https alone.

const (
	clockDifference = 5 * time.Minute
	maxIDLength     = 256
	maxSignatures   = 16 // in one request; a sender has a few while a secret is changed
)

// A secretKey is the secret of a Standard Webhooks credential, decoded.
type secretKey struct {
	key []byte
	credential
}

func (a *API) secretKeys(o Options) (keys []secretKey) {
	list, secrets := a.credentials(o, "webhook_secret", o.WebhookSecrets, func(h *Host) []config.Secret { return h.WebhookSecrets })
	for i, c := range list {
		if key, err := config.WebhookKey(secrets[i]); err == nil { // the configuration has been checked
			keys = append(keys, secretKey{key, c})
		}
	}
	return keys
}

// Sign signs a body: the value of the header webhook-signature.
func Sign(secret config.Secret, id string, at time.Time, body []byte) (string, error) {
	key, err := config.WebhookKey(secret)
	if err != nil {
		return "", err
	}
	return webhook.Signature(key, id, strconv.FormatInt(at.Unix(), 10), body), nil
}

// signature reads the body, at most limit bytes of it, and grants what its signature is for. What can be said without the
// body is said before it is read.
func (a *API) signature(c *call, limit int64) (grant, error) {
	id, timestamp, sent, err := a.signed(c.r)
	if err != nil {
		return grant{}, err
	}
	weight := c.r.ContentLength
	if weight < 0 || weight > limit {
		weight = limit
	}
	weight = min(weight, strangerBudget)
	if !a.strangers.TryAcquire(weight) {
		return grant{}, busy("too many signed requests are waiting; try again")
	}
	defer a.strangers.Release(weight)
	body, err := readBody(c, limit)
	if err != nil {
		return grant{}, err
	}
	g := grant{by: bySignature}
	var first []byte
	for _, k := range a.who.Load().secrets {
		want := webhook.MAC(k.key, id, timestamp, body)
		for _, have := range sent {
			if hmac.Equal(want, have) {
				if g.hosts == nil {
					first = k.key
				}
				g.add(k.credential)
			}
		}
	}
	if g.hosts == nil {
		return grant{}, refuse(http.StatusUnauthorized, "webhook-signature fits none of the secrets configured "+
			"(admin.webhook_secret, host.admin_webhook_secret); sign id.timestamp.body, with the body as it is sent")
	}
	seconds, _ := strconv.ParseInt(timestamp, 10, 64) // looked at before
	g.id, err = a.seen.add(first, id, time.Unix(seconds, 0).Add(clockDifference))
	if err != nil {
		return grant{}, err
	}
	c.r.Body, c.r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return g, nil
}

// signed takes the three headers apart.
func (a *API) signed(r *http.Request) (id, timestamp string, sent [][]byte, err error) {
	refused := func(format string, args ...any) (string, string, [][]byte, error) {
		return "", "", nil, refuse(http.StatusUnauthorized, format, args...)
	}
	if len(a.who.Load().secrets) == 0 {
		return refused("no secret for signatures is configured (admin.webhook_secret, host.admin_webhook_secret)")
	}
	id, timestamp = r.Header.Get(webhook.HeaderID), r.Header.Get(webhook.HeaderTimestamp)
	if id == "" || len(id) > maxIDLength || len(r.Header[webhook.HeaderID]) != 1 || len(r.Header[webhook.HeaderTimestamp]) != 1 {
		return refused("a signed request has one webhook-id, of at most %d bytes, and one webhook-timestamp", maxIDLength)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || timestamp[0] == '+' {
		return refused("webhook-timestamp is not a number of seconds since 1970")
	}
	if d := time.Since(time.Unix(seconds, 0)); d > clockDifference || d < -clockDifference {
		return refused("webhook-timestamp is more than %v from this server's clock; sign the request anew, or set the clocks", clockDifference)
	}
	for _, s := range strings.Fields(strings.Join(r.Header[webhook.HeaderSignature], " ")) {
		version, text, _ := strings.Cut(s, ",")
		if version != "v1" || len(sent) == maxSignatures {
			continue
		}
		if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) == sha256.Size {
			sent = append(sent, b)
		}
	}
	if len(sent) == 0 {
		return refused("webhook-signature has no signature of the form v1,BASE64")
	}
	return id, timestamp, sent, nil
}

// webhookIDs are the ids that were used, each kept until its timestamp is too old anyway: "an id once" (section 2). They
// are in memory only.
type webhookIDs struct {
	mu    sync.Mutex
	count int
	used  map[int64]map[[16]byte]struct{} // by the minute at whose end they are forgotten
}

// A webhookID is an id that was used; its zero value is none.
type webhookID struct {
	minute int64
	hash   [16]byte
}

// maxIDs bounds what the ids take to some 50 MB.
const maxIDs = 1 << 20

// add notes that an id of one of the secrets is used, which is to be remembered until a time. Its error is a *refusal.
func (w *webhookIDs) add(secret []byte, id string, until time.Time) (webhookID, error) {
	sum := sha256.Sum256(webhook.MAC(secret, id, "", nil))
	key := webhookID{minute: until.Unix() / 60, hash: [16]byte(sum[:16])}
	now := time.Now().Unix() / 60
	w.mu.Lock()
	defer w.mu.Unlock()
	for minute, ids := range w.used {
		if minute < now {
			w.count -= len(ids)
			delete(w.used, minute)
		} else if _, twice := ids[key.hash]; twice {
			return webhookID{}, refuse(http.StatusUnauthorized, "this webhook-id was used before; a new request needs a new one")
		}
	}
	if w.count >= maxIDs {
		return webhookID{}, busy("too many signed requests in the last minutes; try again")
	}
	if w.used == nil {
		w.used = map[int64]map[[16]byte]struct{}{}
	}
	if w.used[key.minute] == nil {
		w.used[key.minute] = map[[16]byte]struct{}{}
	}
	w.used[key.minute][key.hash] = struct{}{}
	w.count++
	return key, nil
}

// forget lets an id be used again: nothing was done.
func (w *webhookIDs) forget(id webhookID) {
	if id == (webhookID{}) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.used[id.minute][id.hash]; ok {
		delete(w.used[id.minute], id.hash)
		w.count--
	}
}
