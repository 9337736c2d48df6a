package jwt

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rollcall/internal/unanswered"
)

// A Remote is a JWK Set at a URL, as it was last fetched.
type Remote struct {
	url       string
	issuer    string // OpenID Connect: its discovery document has the URL
	userAgent string
	transport *http.Transport
	// Observe is told of every time that keys were asked for: how long it took, and why they did not come. It may be set before
	// the first token comes.
	Observe func(took time.Duration, err error)

	turn chan struct{} // one at a time fetches

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys came
	asked   time.Time // when they were last asked for because there were none, or old ones
	named   time.Time // when they were last asked for because a token named another
}

// How often keys are asked for.
const (
	keysAge     = time.Hour        // then they are asked for again; when they do not come, the old ones stay
	keysPause   = 10 * time.Second // at the most often for each of the two reasons, whatever kid tokens name
	keysTimeout = 5 * time.Second
	maxKeySet   = 1 << 20 // bytes
)

// NewRemote takes the URL of a JWK Set, or with discovery that of an issuer (OpenID Connect Discovery 1.0 section 4). dial and
// tlsConfig may be nil. Nothing is asked before a token comes.
func NewRemote(address string, discovery bool, userAgent string, tlsConfig *tls.Config,
	dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*Remote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || discovery && u.RawQuery != "" {
		return nil, errors.New(`is no URL such as "https://login.example.com/keys"`)
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: keysTimeout}).DialContext
	}
	r := &Remote{url: address, userAgent: userAgent, turn: make(chan struct{}, 1), transport: &http.Transport{
		Proxy: nil, DialContext: dial, TLSClientConfig: tlsConfig, TLSHandshakeTimeout: keysTimeout, ForceAttemptHTTP2: true,
		MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		DisableCompression: true,
	}}
	if discovery {
		r.issuer = address
	}
	return r, nil
}

// Close gives up the kept connection.
func (r *Remote) Close() { r.transport.CloseIdleConnections() }

// keysFor gives the keys, with the one that a token names if there is one. An error is a fault on our side: there are none.
func (r *Remote) keysFor(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	if keys, reason := r.known(kid); reason == nil {
		return keys, nil
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("jwt: given up before the keys came: %w", context.Cause(ctx))
	}
	keys, reason := r.known(kid) // somebody else may have asked meanwhile
	if reason == nil {
		return keys, nil
	}
	r.mu.Lock()
	soon := !reason.IsZero() && time.Since(*reason) < keysPause
	if !soon {
		*reason = time.Now()
	}
	r.mu.Unlock()
	if soon {
		if len(keys) == 0 {
			return nil, errors.New("jwt: the keys could not be had a moment ago, and are not asked for again yet")
		}
		return keys, nil
	}
	begun := time.Now()
	fresh, err := r.fetch(ctx)
	if r.Observe != nil && ctx.Err() == nil {
		r.Observe(time.Since(begun), err)
	}
	if err != nil && len(keys) == 0 {
		return nil, err
	}
	if err != nil { // those of before stay
		return keys, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys, r.fetched = fresh, time.Now()
	return fresh, nil
}

// known gives the keys that there are, and when they were last asked for for the reason for which they are not enough now; nil
// when they are. The two reasons do not wait for each other: a key that is new just after keys came is had at once.
func (r *Remote) known(kid string) (keys []jose.JSONWebKey, reason *time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.keys) == 0 || time.Since(r.fetched) >= keysAge:
		return r.keys, &r.asked
	case kid != "" && !slices.ContainsFunc(r.keys, func(k jose.JSONWebKey) bool { return k.KeyID == kid }):
		return r.keys, &r.named
	}
	return r.keys, nil
}

func (r *Remote) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	at := r.url
	if r.issuer != "" {
		var document struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := r.get(ctx, strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
			return nil, err
		}
		// "The issuer value returned MUST be identical to the Issuer URL that was used as the prefix" (section 4.3).
		if document.Issuer != r.issuer {
			return nil, errors.New("jwt: the discovery document is of another issuer than auth.jwt.issuer")
		}
		at = document.Keys
	}
	var set jose.JSONWebKeySet
	if err := r.get(ctx, at, &set); err != nil {
		return nil, err
	}
	return public(set.Keys)
}

func (r *Remote) get(ctx context.Context, address string, v any) error {
	target, err := url.Parse(address)
	if err != nil || target.Scheme != "https" && (target.Scheme != "http" || strings.HasPrefix(r.url, "https:")) || target.Hostname() == "" {
		return errors.New("jwt: the keys are at no URL that is as safe as the one configured")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("jwt: the keys are at no URL")
	}
	req.Header.Set("User-Agent", r.userAgent)
	req.Header.Set("Accept", "application/json")
	resp, err := r.transport.RoundTrip(req) // no redirects
	if err != nil {
		return fmt.Errorf("jwt: no answer came from %s: %w", target.Host, unanswered.Why(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("jwt: %s answered %s in place of the keys", target.Host, unanswered.Status(resp.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil || len(b) > maxKeySet {
		return fmt.Errorf("jwt: the answer of %s is not whole, or has more than %d bytes", target.Host, maxKeySet)
	}
	if json.Unmarshal(b, v) != nil {
		return fmt.Errorf("jwt: the answer of %s is not the JSON that it must be", target.Host)
	}
	return nil
}
