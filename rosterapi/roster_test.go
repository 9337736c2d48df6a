package rosterapi

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is written is the contract's main form, and Decode reads it back as it was.
func TestRosterJSON(t *testing.T) {
	for _, c := range []struct {
		roster Roster
		want   string
		back   Roster
	}{
		{nil, `{}`, Roster{}},
		{Roster{}, `{}`, Roster{}},
		{
			Roster{"news.example.com": {Subscription: To}, "marie@example.com": {Name: "Marie <3 & co", Groups: []string{"Work", "Friends"}, Ask: true}},
			`{"marie@example.com":{"name":"Marie <3 & co","groups":["Friends","Work"],"ask":"subscribe"},"news.example.com":{"subscription":"to"}}`,
			Roster{
				"marie@example.com": {Name: "Marie <3 & co", Groups: []string{"Friends", "Work"}, Subscription: Both, Ask: true},
				"news.example.com":  {Subscription: To},
			},
		},
	} {
		got, err := c.roster.MarshalJSON()
		if err != nil || string(got) != c.want {
			t.Errorf("got %s, %v, want %s", got, err, c.want)
		}
		back, dropped, err := Decode(got, "john@example.com")
		if diff := cmp.Diff(c.back, back); diff != "" || dropped != nil || err != nil {
			t.Errorf("back: %v, %v (-want +got)\n%s", dropped, err, diff)
		}
	}
	groups := []string{"b", "a"}
	if _, err := json.Marshal(Roster{"a@b": {Groups: groups}}); err != nil || groups[0] != "b" {
		t.Errorf("marshalling changed the caller's groups: %v, %v", groups, err)
	}
}

func TestRosterUnmarshal(t *testing.T) {
	var got Roster
	if err := json.Unmarshal([]byte(`{"a@b": {"name": "A", "ask": "subscribe"}, "c@d": {"ask": null, "other": 1}}`), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Roster{"a@b": {Name: "A", Ask: true}, "c@d": {}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"a@b": {"ask": "unsubscribe"}}`), &got); err == nil {
		t.Error("ask: unsubscribe is taken")
	}
}

func TestDecode(t *testing.T) {
	got, dropped, err := Decode([]byte(`{"John@Example.com": {}, "marie@example.com/phone": {"groups": {"Friends": true}}, "x@": {}}`), "john@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Roster{"marie@example.com": {Groups: []string{"Friends"}, Subscription: Both}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(dropped) != 3 || dropped[0].Key != "John@Example.com" || dropped[0].Warning || !dropped[1].Warning {
		t.Errorf("dropped %+v", dropped)
	}
	if _, _, err := Decode([]byte(`[]`), ""); err == nil {
		t.Error("an array is taken")
	}
	if _, _, err := Decode([]byte(`{}`), "@"); err == nil {
		t.Error("a user that cannot be is taken")
	}
}

func TestPatchJSON(t *testing.T) {
	got, err := json.Marshal(Patch{
		"a@b": nil, "c@d": {}, "e@f": {Name: new(""), Groups: []string{}, Subscription: None, Ask: new(Ask(false))},
	})
	want := `{"a@b":null,"c@d":{},"e@f":{"name":"","groups":[],"subscription":"none","ask":null}}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
