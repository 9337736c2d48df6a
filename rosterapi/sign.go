package rosterapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// secretPrefix marks a secret that is written in base64.
const secretPrefix = "whsec_"

// signingKey reads a secret: whsec_ and base64, or the bytes as they are.
func signingKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(encoded)
	}
	if err != nil || len(key) == 0 {
		// Without the cause: it could quote the secret.
		return nil, errors.New("rosterapi: the secret begins with whsec_ and what follows is not base64")
	}
	return key, nil
}

// sign adds the three headers of Standard Webhooks 1.0.0 (symmetric signatures, v1).
//
// "The unique identifier ... remains the same no matter how many times a webhook that has failed is retried." Here each
// request has its own: rollcall takes an id once, so a second try with the same id would be refused as a replay where
// the first had arrived and its answer was lost. That a notification comes twice does no harm.
func sign(h http.Header, key, body []byte, now time.Time) {
	id := "msg_" + rand.Text()
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", signature(key, id, timestamp, body))
}

// signature is that of id.timestamp.body, as the header has it.
func signature(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
