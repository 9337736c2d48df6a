package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

// The largest roster that the contract allows reaches a client that reads, whole and in pushes, with the default limits.
func TestLargestRoster(t *testing.T) {
	const contacts = 10_000
	var doc strings.Builder
	for i := range contacts {
		fmt.Fprintf(&doc, `%c"contact%d@example.com":{"name":"%0350d"}`, ",{"[b2i(i == 0)], i, i)
	}
	doc.WriteString("}")
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("john", doc.String())
		world, err := xmpptest.Start(t, service, xmpptest.Options{HostConfig: []string{"roster.guard = false"}})
		if err != nil {
			t.Fatal(err)
		}
		defer world.Close()
		john, err := world.Connect(t.Context(), "john", "phone")
		if err != nil {
			t.Fatal(err)
		}
		defer john.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()

		count := func() (items int) {
			for items < contacts {
				el, err := john.Receive(ctx)
				if err != nil {
					t.Fatalf("after %d items: %v", items, err)
				}
				for range el.Child(ns.Roster, "query").Elements() {
					items++
				}
			}
			return items
		}
		if err := john.Send("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != contacts {
			t.Errorf("the result has %d items", n)
		}
		for _, roster := range []string{"{}", doc.String()} {
			service.Set("john", roster)
			done := make(chan error, 1)
			go func() {
				status, answer, err := world.Notify("", "", `["john"]`)
				if err == nil && (status != 200 || !strings.Contains(string(answer), `"updated":1`)) {
					err = fmt.Errorf("%d %s", status, answer)
				}
				done <- err
			}()
			if n := count(); n != contacts {
				t.Errorf("%d pushes", n)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
