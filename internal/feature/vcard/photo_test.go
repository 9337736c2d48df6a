package vcard

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/host"
	"rollcall/internal/host/hosttest"
	"rollcall/internal/jid"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// avatars is where pictures are kept; what is set is noted.
type avatars struct {
	typ  string
	data []byte
	kept bool
	sets []string
}

func (a *avatars) Photo(context.Context, jid.JID, jid.JID) (string, []byte, bool, error) {
	return a.typ, a.data, a.kept, nil
}

func (a *avatars) SetPhoto(_ context.Context, client jid.JID, typ string, data []byte) error {
	a.typ, a.data, a.kept = typ, data, true
	a.sets = append(a.sets, client.Bare().String()+" "+typ+" "+string(data))
	return nil
}

// old is what is stored of a user, whose vCard is of before there were avatars.
type old struct{ others }

type others interface{ store.Values }

func (old) Value(context.Context, store.Key) ([]byte, error) {
	return []byte("<vCard xmlns='vcard-temp'><FN>John</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>aGVs\nbG8=</BINVAL></PHOTO></vCard>"), nil
}

// A photo that was in a vCard before becomes an avatar when its user reads it, once; others see it where it is until then, and in a vCard
// that has another picture by now it counts no more.
func TestPhotoOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		photos := &avatars{}
		h := hosttest.New(t, host.NewRegistry(), host.Options{Features: []host.Feature{
			New(Options{Host: "localhost", Store: old{}, Photos: photos, Log: slog.New(slog.DiscardHandler)})}})
		h.Start()
		read := func(user string) string {
			t.Helper()
			c := &hosttest.Line{}
			s, err := h.Bind(t.Context(), user, "", c)
			if err != nil {
				t.Fatal(err)
			}
			el, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='get' id='1' to='john@localhost'><vCard xmlns='vcard-temp'/></iq>"), xmlstream.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			h.Receive(s, el)
			return strings.Join(c.Fresh(), "")
		}
		for _, user := range []string{"marie", "john", "john"} {
			if got := read(user); strings.Count(got, "<PHOTO>") != 1 || !strings.Contains(got, "<FN>John</FN>") {
				t.Errorf("%s reads %s", user, got)
			}
			if want := user != "marie"; want != slices.Equal(photos.sets, []string{"john@localhost image/png hello"}) {
				t.Errorf("after %s: %q", user, photos.sets)
			}
		}
		photos.typ, photos.data = "", nil
		if got := read("marie"); strings.Contains(got, "PHOTO") {
			t.Errorf("of a picture that is gone: %s", got)
		}
	})
}
