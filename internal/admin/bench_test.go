package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"rollcall/internal/config"
)

// BenchmarkNotify is what a notification costs beside its fetches, by the number of names.
func BenchmarkNotify(b *testing.B) {
	for _, n := range []int{1, 20, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			results := make([]RosterResult, n)
			for i := range results {
				results[i].Result = Offline
			}
			a := New(b.Context(), Options{
				Hosts:  []Host{{Name: "a.example", Rosters: refresher(func(context.Context, []string) []RosterResult { return results })}},
				Tokens: []config.Secret{adminToken}, Ready: func() bool { return true }, Log: slog.New(slog.DiscardHandler),
			})
			defer a.Close()
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf(`"user%d"`, i)
			}
			body := "[" + strings.Join(names, ",") + "]"
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(post, "/roster_admin/refresh", strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+adminToken)
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
