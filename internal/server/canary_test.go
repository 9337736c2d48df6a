package server_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

// Canaries: each stands for a kind of secret, and is found nowhere but where it belongs.
const (
	canaryPassword = "canary-password"
	canaryBody     = "canary-body"
	canaryName     = "canary-name"  // of a contact
	canaryGroup    = "canary-group" // of a contact
	canaryContact  = "canary-contact"
	canaryToken    = "canary-admin-token"
	canaryGuess    = "canary-guessed-token"
	canaryRoster   = "canary-roster-token"
	canaryVCard    = "canary-vcard"
	canaryPrivate  = "canary-private"
	canaryStatus   = "canary-status"
	canarySASL     = "canary-sasl"
	canaryQuery    = "canary-query"
	canaryHeader   = "canary-header"
)

// canaryWebhook is a Standard Webhooks secret.
var canaryWebhook = "whsec_" + base64.StdEncoding.EncodeToString([]byte("canary-webhook-secret-of-24"))

// canaries are what must not be seen, as they are and in base64 wherever in it they stand.
func canaries() (all []string) {
	for _, c := range append(moreCanaries, canaryPassword, canaryBody, canaryName, canaryGroup, canaryContact, canaryToken, canaryGuess, canaryRoster, canaryVCard,
		canaryPrivate, canaryStatus, canarySASL, canaryQuery, canaryHeader, canaryWebhook[len("whsec_"):]) {
		all = append(all, c)
		for shift := range 3 {
			b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + c))
			all = append(all, strings.TrimRight(b[4:len(b)-4], "="))
		}
	}
	return all
}

// Attack case 60: no secret gets into the log at any level, into an error that anybody is told, the metrics, the events of
// the console, or its page; not of what goes well, and not of what fails.
func TestCanaries(t *testing.T) {
	service := xmpptest.NewService()
	options := xmpptest.Options{
		Disk:       xmpptest.NewDisk(nil),
		Config:     []string{"[admin]", "token = '" + canaryToken + "'", "webhook_secret = '" + canaryWebhook + "'", "[log]", "level = 'debug'"},
		HostConfig: []string{"roster.token = '" + canaryRoster + "'"},
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := xmpptest.Start(t, service, options)
		if err != nil {
			t.Fatal(err)
		}
		var seen strings.Builder // what others than the owner are shown
		closed := false
		finish := func() {
			if !closed {
				closed = true
				w.Close()
			}
		}
		defer finish()
		roster := fmt.Sprintf(`{"%s@localhost": {"name": "%s", "groups": ["%s"]}, "marie@localhost": {}}`, canaryContact, canaryName, canaryGroup)
		service.Set("john", roster)
		service.Set("marie", `{"john@localhost": {}}`)
		chat(t, w)
		askAPI(t, w, &seen)
		john := connected(t, w, "john", "phone") // so that his roster is fetched
		if err := john.Send("<presence/><iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, mode := range []string{xmpptest.AllBad, xmpptest.SomeBad, xmpptest.Truncated, xmpptest.HTML, "500", xmpptest.Redirect, xmpptest.Drop, xmpptest.Huge} {
			service.Answer("john", mode)
			requested(t, w, &seen, "POST", "/roster_admin/refresh?detail=1", canaryToken, `["john"]`)
		}
		service.Answer("john", xmpptest.Fine)
		service.Set("john", `{"x@`+canaryContact+` .example": {"name": "`+canaryName+`"}, "x@y": {"name": 7, "groups": "`+canaryGroup+`"}}`)
		requested(t, w, &seen, "POST", "/roster_admin/refresh?detail=1", canaryToken, `["john"]`)
		for _, path := range []string{"/metrics", "/admin/status", "/admin/sessions", "/console/", "/healthz", "/admin/openapi.json"} {
			requested(t, w, &seen, "GET", path, canaryToken, "")
		}
		synctest.Wait()
		finish()
		look(t, "the log", w.Log())
		look(t, "what is shown", seen.String())
		if log := w.Log(); !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "contacts that cannot be used") || !strings.Contains(seen.String(), "rollcall_build_info") {
			t.Error("the log has nothing of level debug, or the metrics were not read: nothing was tested")
		}
	})
}

func look(t *testing.T, where, text string) {
	t.Helper()
	for _, c := range canaries() {
		if i := strings.Index(text, c); i >= 0 {
			t.Errorf("%q is in %s:\n…%s…", c, where, text[max(0, i-300):min(len(text), i+len(c)+100)])
		}
	}
}

// chat has clients sign in, rightly and wrongly, and say and keep things.
func chat(t *testing.T, w *xmpptest.World) {
	john, marie := connected(t, w, "john", "phone"), connected(t, w, "marie", "laptop")
	for _, xml := range []string{
		"<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
		"<presence><status>" + canaryStatus + "</status></presence>",
		"<message type='chat' to='marie@localhost'><body>" + canaryBody + "</body></message>",
		"<message type='chat' to='nobody@localhost'><body>" + canaryBody + "</body></message>",
		"<message type='chat' to='x@elsewhere.example'><body>" + canaryBody + "</body></message>",
		"<iq type='set' id='2'><vCard xmlns='vcard-temp'><FN>" + canaryVCard + "</FN></vCard></iq>",
		"<iq type='set' id='3'><query xmlns='jabber:iq:private'><x xmlns='urn:x'>" + canaryPrivate + "</x></query></iq>",
		"<iq type='set' id='6'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'><item id='1'><x xmlns='urn:x'>" + canaryPrivate + "</x></item></publish></pubsub></iq>",
		"<iq type='get' id='7' to='marie@localhost'><query xmlns='jabber:iq:last'/></iq>",
		"<iq type='set' id='4'><query xmlns='jabber:iq:roster'><item jid='" + canaryContact + "@localhost' name='" + canaryName + "'/></query></iq>",
		"<iq type='set' id='5'><block xmlns='urn:xmpp:blocking'><item jid='" + canaryContact + "@localhost'/></block></iq>",
		"<message type='chat' to='marie@localhost'><body>" + canaryBody, // and no more
	} {
		if err := john.Send(xml); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	if err := marie.Send("<message><body>" + canaryBody + "</wrong>"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	john.Close()
	marie.Close()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00john\x00" + canaryPassword))
	foreign := base64.StdEncoding.EncodeToString([]byte("somebody\x00john\x00" + canaryPassword))
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' to='localhost' version='1.0'>"
	auth := func(data string) string {
		return header + "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + data + "</auth>"
	}
	for _, xml := range []string{auth(plain), auth(foreign), auth(canarySASL), auth(plain + "<x/>"),
		header + "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + plain + "</initial-response></authenticate>",
		header + "<auth xmlns='" + ns.SASL + "' mechanism='" + canarySASL + "'/>"} {
		c, err := w.DialC2S(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go fmt.Fprint(c, xml)
		readFor(t, c)
	}
	// BOSH: Prosody's log at level debug has had the bodies of requests.
	for _, body := range []string{
		"<body xmlns='" + ns.BOSH + "' rid='1' to='localhost' ver='1.6'><auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + plain + "</auth></body>",
		"<body xmlns='" + ns.BOSH + "' rid='1' sid='" + canaryQuery + "'>" + canaryBody + "</body>",
		"<body xmlns='" + ns.BOSH + "' rid='1' to='localhost'>" + canaryBody,
	} {
		raw(t, w, post("/http-bind", "X-Secret: "+canaryHeader+"\r\n", body))
	}
	time.Sleep(2 * time.Minute) // the rosters are written, the sessions lapse
}

// askAPI makes requests to the HTTP API, with credentials that are good and that are not.
func askAPI(t *testing.T, w *xmpptest.World, seen *strings.Builder) {
	put := fmt.Sprintf(`{"%s@localhost": {"name": "%s", "groups": ["%s"]}, "bad@@": {"name": "%s"}}`, canaryContact, canaryName, canaryGroup, canaryName)
	for _, token := range []string{canaryToken, canaryGuess, ""} {
		requested(t, w, seen, "POST", "/roster_admin/refresh", token, `["john"]`)
		requested(t, w, seen, "POST", "/roster_admin/refresh", token, `["john", `+canaryBody)
		requested(t, w, seen, "PUT", "/roster_admin/rosters/marie", token, put)
		requested(t, w, seen, "PUT", "/roster_admin/rosters/marie", token, `{"`+canaryContact+`": `)
		requested(t, w, seen, "PATCH", "/roster_admin/rosters/marie", token, put)
		requested(t, w, seen, "POST", "/admin/prebind", token, `{"user": "john", "password": "`+canaryPassword+`"}`)
		requested(t, w, seen, "GET", "/admin/nothing?token="+canaryQuery, token, "")
	}
}

// requested makes a request to the HTTP API and adds the answer to what was seen.
func requested(t *testing.T, w *xmpptest.World, seen *strings.Builder, method, path, token, body string) {
	t.Helper()
	headers := "X-Secret: " + canaryHeader + "\r\nContent-Type: application/json\r\nConnection: close\r\n"
	if method == http.MethodPatch {
		headers = strings.Replace(headers, "application/json", "application/merge-patch+json", 1)
	}
	if token != "" {
		headers += "Authorization: Bearer " + token + "\r\n"
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", method, path, headers, len(body), body)
	status, answer := raw(t, w, text)
	fmt.Fprintf(seen, "%s %s: %d %s\n", method, path[:min(len(path), 25)], status, answer)
}
