package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// A Notifier tells a server that rosters changed.
type Notifier struct {
	URL   string // .../roster_admin/refresh; of Patch .../roster_admin/rosters
	Host  string // the virtual host, sent as HTTP Host
	Token string // bearer token; "" sends none

	client *http.Client
}

// NewNotifier returns a notifier that keeps up to parallel connections.
func NewNotifier(url, host, token string, parallel int) *Notifier {
	transport := &http.Transport{MaxIdleConnsPerHost: parallel}
	return &Notifier{URL: url, Host: host, Token: token, client: &http.Client{Transport: transport}}
}

// Close ends the connections that are kept.
func (n *Notifier) Close() { n.client.CloseIdleConnections() }

// Notify posts the names of the users given by number, and fails unless the server says that it refreshed every one.
func (n *Notifier) Notify(ctx context.Context, users []int) error {
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = User(u)
	}
	body, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return n.send(ctx, http.MethodPost, "application/json", body, len(users))
}

// Patch sends the change itself (section 3 of docs/roster-http.md): each of the users has the friend more, or has it no more. It
// fails unless the server says that it changed every roster.
func (n *Notifier) Patch(ctx context.Context, g *Graph, users []int, add bool) error {
	body := []byte{'{'}
	for k, i := range users {
		if k > 0 {
			body = append(body, ',')
		}
		body = append(body, `"`+User(i)+`":{"`+g.Extra(i)+`":`...)
		if add {
			body = append(body, extraItem...)
		} else {
			body = append(body, "null"...)
		}
		body = append(body, '}')
	}
	return n.send(ctx, http.MethodPatch, "application/merge-patch+json", append(body, '}'), len(users))
}

// send makes a request that is about so many users.
func (n *Notifier) send(ctx context.Context, method, contentType string, body []byte, users int) error {
	req, err := http.NewRequestWithContext(ctx, method, n.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Host = n.Host
	req.Header.Set("Content-Type", contentType)
	if n.Token != "" {
		req.Header.Set("Authorization", "Bearer "+n.Token)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return fmt.Errorf("notification: %w", err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("notification: %w", err)
	}
	return checkAnswer(resp.StatusCode, answer, users)
}

func checkAnswer(status int, answer []byte, want int) error {
	var told struct{ Updated, Errors int }
	if status != http.StatusOK {
		return fmt.Errorf("notification: the server answered %d: %.200s", status, answer)
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return fmt.Errorf("notification: the server answered %.200q: %w", answer, err)
	}
	if told.Updated != want || told.Errors != 0 {
		return fmt.Errorf("notification: the server refreshed %d of %d rosters, %d errors: %.200s", told.Updated, want, told.Errors, answer)
	}
	return nil
}
