package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

const bearer = "Authorization: Bearer canary-prebind\r\n"

var withToken = xmpptest.Options{Config: []string{`admin.token = "canary-prebind"`}}

type prebound struct{ JID, SID, RID string }

func prebind(t *testing.T, w *xmpptest.World, user string) (p prebound) {
	t.Helper()
	status, body := raw(t, w, post("/admin/prebind", bearer, `{"user": "`+user+`"}`))
	if err := json.Unmarshal([]byte(body), &p); err != nil || status != 200 {
		t.Fatalf("prebind: %d %s %v", status, body, err)
	}
	return p
}

// A page goes on with the session as Strophe's attach does: its first request has the rid of the answer, and asks for the
// contacts.
func TestPrebound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		service.Set("john", `{"marie@localhost": {"name": "Marie", "groups": ["Friends"]}}`)
		w, err := xmpptest.Start(t, service, withToken)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		p := prebind(t, w, "john")
		if user, _, _ := strings.Cut(p.JID, "/"); user != "john@localhost" {
			t.Fatalf("prebound %+v", p)
		}
		rid, err := strconv.ParseInt(p.RID, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(payload string) string {
			body := fmt.Sprintf("<body xmlns='%s' sid='%s' rid='%d'>%s</body>", ns.BOSH, p.SID, rid, payload)
			rid++
			status, answer := raw(t, w, post("/http-bind", "", body))
			if status != 200 {
				t.Errorf("%d %s", status, answer)
			}
			return answer
		}
		if got := ask("<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"); !strings.Contains(got, "name='Marie'") ||
			!strings.Contains(got, "<group>Friends</group>") {
			t.Errorf("the contacts: %s", got)
		}
		if got := ask("<presence xmlns='jabber:client'/>"); !strings.Contains(got, "from='"+p.JID+"'") {
			t.Errorf("the own presence: %s", got)
		}
		if log := w.Log(); strings.Contains(log, p.SID) || strings.Contains(log, p.RID) || strings.Contains(log, "canary") {
			t.Error("the log has the session's secrets")
		}
	})
}

// A user has so many sessions, made ahead or not; those that nobody comes for end by themselves.
func TestPreboundCount(t *testing.T) {
	inWorld(t, withToken, func(t *testing.T, w *xmpptest.World) {
		for range 10 { // limits.sessions_per_user
			prebind(t, w, "john")
		}
		status, body := raw(t, w, post("/admin/prebind", bearer, `{"user": "john"}`))
		if status != http.StatusConflict || !strings.Contains(body, "10 sessions") {
			t.Errorf("one more: %d %s", status, body)
		}
		prebind(t, w, "marie")
		time.Sleep(63 * time.Second)
		synctest.Wait()
		for range 10 {
			prebind(t, w, "john")
		}
	})
}
