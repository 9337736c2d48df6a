package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"rollcall/internal/xmpptest"
	"rollcall/rosterapi"
)

// TestTheGoClient lets the public client do all it can with a whole server: what each side means by the contract is the
// same. A request is signed in one half and carries a token in the other.
func TestTheGoClient(t *testing.T) {
	const secret = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"
	for name, client := range map[string]rosterapi.Client{"token": {Token: "t0ken"}, "signature": {Secret: secret}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := xmpptest.NewService()
				w, err := xmpptest.Start(t, service, xmpptest.Options{Config: []string{
					"admin.token = 't0ken'", "admin.webhook_secret = '" + secret + "'"}})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.DialHTTP(ctx) }}
				defer transport.CloseIdleConnections()
				client.URL, client.HTTP = "http://localhost", &http.Client{Transport: transport}
				useClient(t, w, service, &client)
			})
		})
	}
}

func useClient(t *testing.T, w *xmpptest.World, service *xmpptest.Service, client *rosterapi.Client) {
	ctx := t.Context()
	expect := func(what string, report rosterapi.Report, err error, user string, result rosterapi.Result, added, removed, changed int) {
		t.Helper()
		got := report.Users[user]
		if (err != nil) != (result == rosterapi.Held) || got.Result != result || got.Added != added || got.Removed != removed || got.Changed != changed {
			t.Errorf("%s: %+v, %v", what, report, err)
		}
	}
	john, err := w.Connect(ctx, "john", "phone")
	if err != nil {
		t.Fatal(err)
	}
	defer john.Close()
	if err := john.Send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()

	many := rosterapi.Roster{}
	for i := range 30 {
		many[fmt.Sprintf("c%d@localhost", i)] = rosterapi.Item{Groups: []string{"G"}}
	}
	document, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	service.Set("john", string(document))
	report, err := client.Notify(ctx, "john", "marie")
	expect("notify", report, err, "john", rosterapi.Changed, 30, 0, 0)
	expect("notify", report, err, "marie", rosterapi.Offline, 0, 0, 0)

	service.Set("john", `{}`)
	report, err = client.Notify(ctx, "john")
	expect("a suspicious answer", report, err, "john", rosterapi.Held, 0, 30, 0)
	known, err := client.Get(ctx, "john")
	if err != nil || len(known.Roster) != 30 || known.Held == nil || known.Held.Removed != 30 || known.Source != "fetch" || !known.Online {
		t.Errorf("get: %+v, %v", known, err)
	}
	report, err = client.Confirm(ctx, "john")
	expect("confirm", report, err, "john", rosterapi.Changed, 0, 30, 0)

	report, err = client.Put(ctx, "john", rosterapi.Roster{"ann@localhost": {Name: "Ann"}})
	expect("put", report, err, "john", rosterapi.Changed, 1, 0, 0)
	if known, err = client.Get(ctx, "john"); err != nil || known.Source != "put" || known.Roster["ann@localhost"].Name != "Ann" {
		t.Errorf("get: %+v, %v", known, err)
	}
	name := "Anna"
	patch := rosterapi.Patch{"ann@localhost": {Name: &name}, "ben@localhost": {}}
	report, err = client.Patch(ctx, "john", patch, rosterapi.IfVersion(known.Version))
	expect("patch", report, err, "john", rosterapi.Changed, 1, 0, 1)
	_, err = client.Patch(ctx, "john", patch, rosterapi.IfVersion(known.Version))
	if refused := (*rosterapi.Error)(nil); !errors.As(err, &refused) || refused.Status != http.StatusPreconditionFailed {
		t.Errorf("a patch of an old version: %v", err)
	}
	report, err = client.PatchMany(ctx, map[string]rosterapi.Patch{"john": {"ben@localhost": nil}, "marie": {"john@localhost": {}}})
	expect("patch many", report, err, "john", rosterapi.Changed, 0, 1, 0)
	expect("patch many", report, err, "marie", rosterapi.Offline, 0, 0, 0)
	if known, err = client.Get(ctx, "john"); err != nil || len(known.Roster) != 1 || known.Source != "patch" {
		t.Errorf("get: %+v, %v", known, err)
	}
	if _, err := client.Get(ctx, "marie"); err == nil {
		t.Error("a roster that nobody knows was given")
	}
}
