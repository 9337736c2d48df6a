package rosterapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Limits of a batch. rollcall asks for 100 at a time unless roster.batch_size says otherwise.
const (
	maxBatch   = 1000
	batchBytes = 1 << 20
	batchCalls = 8 // of Handler.Roster at a time
)

// etagsMember is where a batch has the ETags, in question and answer. A user of that name cannot be told from it, and so
// is left out, as one whose roster cannot be had.
const etagsMember = "etags"

// Batch answers for many users in one request: section 4 of the contract.
//
// The question is POST with {"users": ["john", "aaron"], "etags": {"john": "…"}}; the answer has a document for each user,
// or true where the ETag is that of the document still, and the ETags of all. Users whose roster cannot be given are left
// out, which rollcall takes for a failure of theirs alone.
func (h *Handler) Batch() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.admit(w, r, http.MethodPost) {
			return
		}
		var asked struct {
			Users []string          `json:"users"`
			ETags map[string]string `json:"etags"`
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, batchBytes))
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			http.Error(w, "the question is too long", http.StatusRequestEntityTooLarge)
			return
		}
		if err == nil {
			err = json.Unmarshal(body, &asked)
		}
		switch {
		case err != nil:
			http.Error(w, `send {"users": ["john", "aaron"]}`, http.StatusBadRequest)
			return
		case len(asked.Users) > maxBatch:
			http.Error(w, fmt.Sprintf("more than %d users are asked for", maxBatch), http.StatusRequestEntityTooLarge)
			return
		}
		answer, err := json.Marshal(h.documents(r.Context(), asked.Users, asked.ETags))
		if err != nil { // cannot happen: they are documents that were marshalled
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		send(w, r, answer)
	})
}

// documents asks for each user's roster, some at a time, and makes the answer.
func (h *Handler) documents(ctx context.Context, users []string, known map[string]string) map[string]any {
	var mu sync.Mutex
	answer, tags := map[string]any{}, map[string]string{}
	users = distinct(users)
	next := make(chan string)
	var calls sync.WaitGroup
	for range min(batchCalls, len(users)) {
		calls.Go(func() {
			for user := range next {
				document, err := h.safely(ctx, user)
				if err != nil {
					continue
				}
				tag := etag(document)
				mu.Lock()
				answer[user], tags[user] = json.RawMessage(document), tag
				if matches([]string{known[user]}, tag) {
					answer[user] = true
				}
				mu.Unlock()
			}
		})
	}
	for _, user := range users {
		if user != etagsMember {
			next <- user
		}
	}
	close(next)
	calls.Wait()
	answer[etagsMember] = tags
	return answer
}

// safely is document with its errors logged. It runs in a goroutine of ours, where a panic would end the program;
// net/http ends only the request, and so does this.
func (h *Handler) safely(ctx context.Context, user string) (document []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil && !errors.Is(err, ErrUnknownUser) {
			h.log().ErrorContext(ctx, "a roster of a batch cannot be given", "error", err)
		}
	}()
	return h.document(ctx, user)
}
