package server_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

// Canaries of what users sign in with, and of what a host's services are asked for and answer.
const (
	canaryNew         = "canary-new-password"
	canaryOffline     = "canary-offline-body"
	canaryProfile     = "canary-profile-name"
	canaryImage       = "canary-image"
	canaryProfileKey  = "canary-profile-token"
	canaryCredentials = "canary-auth-credentials"
	canaryAnswer      = "canary-answer"
	canarySigning     = "canary-signing-secret-of-32-bytes-and-more"
	canaryClaim       = "canary-claim"
	canaryJWK         = "canary-jwk"
	canaryFormat      = "canary-format"
)

var moreCanaries = []string{canaryNew, canaryOffline, canaryProfile, canaryImage, canaryProfileKey, canaryCredentials, canaryAnswer,
	canarySigning, canaryClaim, canaryJWK, canaryFormat, "canary-admin"}

// A watch is over one world: what others than the owners of secrets are shown.
type watch struct {
	t       *testing.T
	w       *xmpptest.World
	service *xmpptest.Service
	disk    *xmpptest.Disk
	token   string // of the HTTP API
	seen    strings.Builder
	secrets []string // beside the canaries: those that the server has made
}

// watched plays with a world whose log is at level debug, and sees that no canary is in the log, or in what is shown, at its end.
func watched(t *testing.T, token string, o xmpptest.Options, play func(*watch)) {
	o.Config = append(o.Config, "log.level = 'debug'")
	o.Disk, o.DataDir = xmpptest.NewDisk(nil), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		w, err := xmpptest.Start(t, service, o)
		if err != nil {
			t.Fatal(err)
		}
		x := &watch{t: t, w: w, service: service, disk: o.Disk, token: token}
		ended := false
		defer func() {
			if !ended {
				w.Close()
			}
		}()
		play(x)
		o.Disk.Fail(xmpptest.Works)
		for _, path := range []string{"/metrics", "/admin/status", "/admin/sessions", "/console/", "/healthz", "/admin/users?host=localhost"} {
			x.ask("GET", path, "")
		}
		c := dialHTTP(t, w) // the events do not end by themselves
		go fmt.Fprintf(c, "GET /admin/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", token)
		events := readFor(t, c)
		synctest.Wait()
		ended = true
		w.Close()
		for where, text := range map[string]string{"the log": w.Log(), "what is shown": x.seen.String(), "the events": events} {
			look(t, where, text)
			for _, s := range x.secrets {
				if s == "" || strings.Contains(text, s) {
					t.Errorf("the secret %q is in %s", s, where)
				}
			}
		}
		if !strings.Contains(w.Log(), "level=DEBUG") || !strings.Contains(x.seen.String(), "rollcall_build_info") || !strings.Contains(events, "event: outcome") {
			t.Errorf("nothing was tested: %s", events)
		}
	})
}

// ask makes a request to the HTTP API, whose answer is among what is shown.
func (x *watch) ask(method, path, body string) {
	requested(x.t, x.w, &x.seen, method, path, x.token, body)
}

// made makes one whose answer has a secret, for the one who asks.
func (x *watch) made(path, body, pattern string) string {
	x.t.Helper()
	status, answer := raw(x.t, x.w, post(path, "Authorization: Bearer "+x.token+"\r\n", body))
	return x.found(fmt.Sprint(status, " ", answer), pattern)
}

// found takes a secret down that the server has made.
func (x *watch) found(text, pattern string) string {
	x.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		x.t.Fatalf("there is no %s in %s", pattern, text)
	}
	x.secrets = append(x.secrets, m[1])
	return m[1]
}

// says sends what a client says before it has a session, and gives what it is told.
func (x *watch) says(xml string) string {
	x.t.Helper()
	c, err := x.w.DialC2S(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	go fmt.Fprint(c, "<stream:stream xmlns='jabber:client' xmlns:stream='"+ns.Stream+"' to='localhost' version='1.0'>"+xml)
	return readFor(x.t, c)
}

// plain is a sign-in by PLAIN.
func plain(user, password string) string {
	return "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>"
}

// failures are the ways in which a service answers with something that has its document in it, or not.
var failures = []string{xmpptest.Fine, "503", "404", xmpptest.HTML, xmpptest.Truncated, xmpptest.Redirect, xmpptest.Drop, xmpptest.NotHTTP, xmpptest.StatusText,
	xmpptest.PlainJSON, xmpptest.Huge}

// Attack case 60, of accounts: passwords that are set in every way, tokens of both kinds, messages that wait and are told of,
// profiles; while the services fail, and the database.
func TestCanariesOfAccounts(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john", "marie"}, HostConfig: []string{"auth.removal = true", "profile.url = 'http://app/profiles/%s'",
		"profile.token = '" + canaryProfileKey + "'", "profile.max_age = '1s'", "roster.token = '" + canaryRoster + "'",
		"webhooks = { url = 'http://app/hooks', secret = '" + canaryWebhook + "', bodies = true }"}}
	watched(t, "canary-admin", o, func(x *watch) {
		x.service.Set("john", `{"marie@localhost": {}}`)
		x.service.Set("marie", `{"john@localhost": {"name": "`+canaryName+`"}}`)
		for _, body := range []string{`{"user": "carol", "password": %q}`, `{"user": "carol", "password": %q}`, `{"user": "carol", "password": %q, "password": "x"}`,
			`{"user": "carol", "password": %q`, `{"user": "carol", "password": [%q]}`, `{"user": "c@r@l", "password": %q}`, `{"user": "carol", "secret": %q}`} {
			x.ask("POST", "/admin/users", fmt.Sprintf(body, canaryNew))
		}
		x.ask("PATCH", "/admin/users/carol", `{"password": "`+canaryNew+`"}`)
		x.ask("PATCH", "/admin/users/carol", `{"password": "`+strings.Repeat(canaryNew, 100)+`"}`)
		if got := x.says(plain("carol", canaryNew)); !strings.Contains(got, "<success") {
			x.t.Errorf("carol has no account: %s", got)
		}
		x.says(plain("carol", canaryPassword))
		token := x.made("/admin/tokens", `{"user": "john"}`, `"token":"(rct_[a-z0-9]+)"`)
		for range 2 { // the second time it is worth nothing
			x.says(plain("john", token))
		}
		x.made("/admin/tokens", `{"user": "john"}`, `"token":"(rct_[a-z0-9]+)"`)
		x.ask("DELETE", "/admin/tokens/john", "")
		x.fast()
		x.changes()
		x.administers()
		x.chats()
	})
}

// fast gets a token of FAST, and signs in by it, and by others.
func (x *watch) fast() {
	agent := "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><device>" + canaryHeader + "</device></user-agent>"
	proof := base64.StdEncoding.EncodeToString([]byte("\x00john\x00secret"))
	x.secrets = append(x.secrets, proof)
	token := x.found(x.says("<authenticate xmlns='"+ns.SASL2+"' mechanism='PLAIN'><initial-response>"+proof+"</initial-response>"+agent+
		"<request-token xmlns='"+ns.FAST+"' mechanism='HT-SHA-256-NONE'/></authenticate>"), "token='([^']{43})'")
	for _, by := range []string{token, token + "x", canaryGuess} {
		m := hmac.New(sha256.New, []byte(by))
		m.Write([]byte("Initiator"))
		response := base64.StdEncoding.EncodeToString(append([]byte("john\x00"), m.Sum(nil)...))
		got := x.says("<authenticate xmlns='" + ns.SASL2 + "' mechanism='HT-SHA-256-NONE'><initial-response>" + response + "</initial-response>" + agent +
			"<fast xmlns='" + ns.FAST + "'/></authenticate>")
		if by == token && !strings.Contains(got, "<success") {
			x.t.Errorf("the token is not taken: %s", got)
		}
		x.secrets = append(x.secrets, response)
	}
}

// overBOSH signs a user in, behind a proxy that has TLS, and gives how to send something and hear what came of it.
func (x *watch) overBOSH(user, password string) (ask func(attrs, payload string) string) {
	sid, rid := "", 1
	ask = func(attrs, payload string) string {
		_, answer := raw(x.t, x.w, post("/http-bind", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n",
			fmt.Sprintf("<body xmlns='%s' rid='%d' sid='%s' %s>%s</body>", ns.BOSH, rid, sid, attrs, payload)))
		rid++
		return answer
	}
	sid = x.found(ask("to='localhost' ver='1.6' wait='1' hold='1'", ""), " sid='([^']+)'")
	ask("", plain(user, password))
	ask("xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "")
	ask("", "<iq xmlns='jabber:client' type='set' id='1'><bind xmlns='"+ns.Bind+"'/></iq>")
	return ask
}

// changes has a user change the password, as clients do it.
func (x *watch) changes() {
	ask := x.overBOSH("carol", canaryNew)
	for _, password := range []string{canaryNew, strings.Repeat(canaryNew, 100)} {
		got := ask("", "<iq xmlns='jabber:client' type='set' id='2'><query xmlns='jabber:iq:register'><username>carol</username><password>"+password+"</password></query></iq>")
		if strings.Contains(got, "type='result'") != (password == canaryNew) {
			x.t.Errorf("the answer to a new password: %s", got)
		}
	}
}

// administers has an administrator give passwords by commands, rightly and wrongly, and in fields that are for something else.
func (x *watch) administers() {
	x.ask("PATCH", "/admin/users/carol", `{"role": "admin"}`)
	ask := x.overBOSH("carol", canaryNew)
	field := func(name, value string) string {
		return "<field var='" + name + "'><value>" + value + "</value></field>"
	}
	long := strings.Repeat(canaryNew, 100)
	for i, tc := range []struct{ command, form, want string }{
		{"add-user", field("accountjid", "dave@localhost") + field("password", canaryNew) + field("password-verify", canaryNew), "status='completed'"},
		{"add-user", field("accountjid", "dave@localhost") + field("password", canaryNew) + field("password-verify", canaryNew), "<conflict "},
		{"add-user", field("accountjid", "erin@localhost") + field("password", long) + field("password-verify", long), "<not-acceptable "},
		{"add-user", field("accountjid", "erin@localhost") + field("password", canaryNew) + field("password-verify", "x"), "<bad-payload "},
		{"add-user", field("accountjid", canaryNew) + field("password", canaryNew) + field("password-verify", canaryNew), "<bad-payload "},
		{"change-user-password", field("accountjid", "dave@localhost") + field("password", canaryGuess), "status='completed'"},
		{"change-user-password", field("accountjid", "nobody@localhost") + field("password", canaryNew), "<item-not-found "},
		{"change-user-password", field("accountjid", "carol@localhost") + field("password", canaryNew), "<not-allowed "},
		{"announce", field("announcement", canaryOffline), "status='completed'"},
	} {
		node := ns.Admin + "#" + tc.command
		m := regexp.MustCompile("sessionid='([^']+)'").FindStringSubmatch(ask("", fmt.Sprintf(
			"<iq xmlns='jabber:client' type='set' to='localhost' id='c%d'><command xmlns='%s' node='%s'/></iq>", i, ns.Commands, node)))
		if m == nil {
			x.t.Fatalf("%s gives no form", tc.command)
		}
		got := ask("", fmt.Sprintf("<iq xmlns='jabber:client' type='set' to='localhost' id='d%d'><command xmlns='%s' node='%s' sessionid='%s'><x xmlns='jabber:x:data' type='submit'>%s</x></command></iq>",
			i, ns.Commands, node, m[1], tc.form))
		if !strings.Contains(got, tc.want) {
			x.t.Errorf("%s: %s, want %s", tc.command, got, tc.want)
		}
		look(x.t, "the answer", strings.ReplaceAll(got, canaryOffline, "")) // which she may hear herself
	}
	if got := x.says(plain("dave", canaryGuess)); !strings.Contains(got, "<success") {
		x.t.Errorf("dave has another password: %s", got)
	}
}

// chats has messages wait, while everything that hears of them fails, and profiles and archives read.
func (x *watch) chats() {
	disk := x.disk
	t := x.t
	x.service.Set("profiles/john", `{"name": "`+canaryProfile+`", "avatar": "/avatars/x", "note": 7}`)
	x.service.Set("avatars/x", base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n"+canaryImage)))
	x.service.Set("/hooks", "HTTP/1.1 500 "+canaryAnswer+"\r\n\r\n")
	arrive(t, x.w, "marie", "desk").Close() // who has signed in is known
	john := arrive(t, x.w, "john", "phone")
	john.send("<presence/>")
	ways := append([]string{}, failures...)
	for i, way := range append(ways, "read only", "broken", "lies") {
		switch way {
		case "read only":
			disk.Fail(xmpptest.ReadOnly)
		case "broken":
			disk.Fail(xmpptest.Broken)
		case "lies":
			disk.Fail(xmpptest.Lies)
		default:
			x.service.Answer("/hooks", way)
			x.service.Answer("profiles/john", way)
			x.service.Answer("avatars/x", way)
		}
		for _, xml := range []string{
			"<message type='chat' to='marie@localhost'><body>" + canaryOffline + "</body></message>",
			"<iq type='get' id='a%d' to='john@localhost'><vCard xmlns='vcard-temp'/></iq>",
			"<iq type='set' id='b%d'><query xmlns='urn:xmpp:mam:2'/></iq>",
			"<iq type='set' id='c%d'><query xmlns='jabber:iq:private'><x xmlns='urn:x'>" + canaryPrivate + "</x></query></iq>",
			"<iq type='set' id='d%d'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'><item id='1'><x xmlns='urn:x'>" + canaryPrivate + "</x></item></publish></pubsub></iq>",
			"<iq type='set' id='e%d'><query xmlns='jabber:iq:register'><username>john</username><password>" + canaryNew + "</password><x>" + canaryStatus + "</x></query></iq>",
			"<iq type='set' id='f%d'><query xmlns='jabber:iq:register'><username>marie</username><password>" + canaryNew + "</password></query></iq>",
		} {
			john.send(strings.ReplaceAll(xml, "%d", fmt.Sprint(i)))
		}
		for el, err := john.Poll(); el != nil || err != nil; el, err = john.Poll() {
			if err != nil {
				t.Fatal(way, err)
			}
		}
		x.ask("POST", "/profile_admin/refresh?detail=1", `["john"]`)
		time.Sleep(12 * time.Minute) // what is told is told again, and dropped
	}
	disk.Fail(xmpptest.Works)
	x.service.Answer("/hooks", xmpptest.Fine)
	time.Sleep(10 * time.Minute)
	if told := strings.Join(x.service.Told(), " "); !strings.Contains(told, canaryOffline) {
		t.Errorf("the application was not told what waits: %s", told)
	}
	john.Close()
	time.Sleep(time.Minute)
	marie := arrive(t, x.w, "marie", "desk")
	marie.send("<presence/>")
	marie.until(canaryOffline)
}

// Attack case 60, of passwords that an application is asked about, in both dialects, and keys that it gives.
func TestCanariesOfAnApplicationsPasswords(t *testing.T) {
	for name, more := range map[string][]string{
		"mongooseim": {"auth.url = 'http://app/auth'", "auth.credentials = '" + canaryCredentials + ":" + canaryCredentials + "'"},
		"basic":      {"auth.url = 'http://app/auth/check_password'", "auth.style = 'basic'"},
		"scram": {"auth.url = 'http://app/auth'", "auth.scram = true", "auth.plain = true",
			"auth.credentials = '" + canaryCredentials + ":" + canaryCredentials + "'"},
	} {
		t.Run(name, func(t *testing.T) {
			o := xmpptest.Options{Config: []string{"admin.token = '" + canaryToken + "'", "limits.failed_sign_ins = 0"}, HostConfig: append(more, "auth.method = 'http'")}
			watched(t, canaryToken, o, func(x *watch) {
				for _, way := range failures {
					for _, user := range []string{"/auth", "/auth/get_password"} {
						x.service.Set(user, canaryAnswer)
						x.service.Answer(user, way)
					}
					x.says(plain("john", canaryPassword))
					x.says(plain("john", "secret"))
					x.says("<auth xmlns='" + ns.SASL + "' mechanism='SCRAM-SHA-256'>" + base64.StdEncoding.EncodeToString([]byte("n,,n=john,r="+canarySASL)) + "</auth>")
					time.Sleep(time.Minute)
				}
				x.service.Answer("/auth", xmpptest.Fine)
				x.service.Answer("/auth/get_password", xmpptest.Fine)
				x.service.Set("/auth/get_password", "==SCRAM==,"+canaryAnswer+","+canaryAnswer+","+canaryAnswer+",4096")
				x.says(plain("john", canaryPassword))
				x.ask("POST", "/roster_admin/refresh?detail=1", `["john"]`)
			})
		})
	}
}

// Attack case 60, of signed tokens, and of where their keys are.
func TestCanariesOfSignedTokens(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		config string
		key    jose.SigningKey
	}{
		"secret": {"auth.jwt.secret = '" + canarySigning + "'", jose.SigningKey{Algorithm: jose.HS256, Key: []byte(canarySigning)}},
		"keys":   {"auth.jwt.url = 'http://app/keys'", jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "k1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := jose.NewSigner(tc.key, nil)
			if err != nil {
				t.Fatal(err)
			}
			o := xmpptest.Options{Config: []string{"admin.token = '" + canaryToken + "'", "limits.failed_sign_ins = 0"}, HostConfig: []string{"auth.method = 'jwt'", tc.config}}
			watched(t, canaryToken, o, func(x *watch) {
				var tokens []string
				for _, claims := range []string{
					`{"sub": "john", "email": "` + canaryClaim + `", "exp": 4000000000}`, `{"sub": "john", "email": "` + canaryClaim + `", "exp": 1}`,
					`{"sub": "` + canaryClaim + ` x", "exp": 4000000000}`, `{"sub": "john", "exp": "` + canaryClaim + `"}`, `{"sub": "` + canaryClaim,
				} {
					signed, err := signer.Sign([]byte(claims))
					if err != nil {
						t.Fatal(err)
					}
					token, err := signed.CompactSerialize()
					if err != nil {
						t.Fatal(err)
					}
					tokens = append(tokens, token, token[:len(token)-3])
					x.secrets = append(x.secrets, token, token[strings.LastIndexByte(token, '.')+1:])
				}
				private := base64.RawURLEncoding.EncodeToString([]byte(canaryJWK + canaryJWK))
				for _, document := range []string{`{"keys": [{"kty": "oct", "kid": "k1", "k": "` + private + `"}]}`, `{"keys": [{"kty": "` + canaryJWK + `"}]}`,
					`{"keys": "` + canaryJWK + `"}`, canaryJWK} {
					x.service.Set("/keys", document)
					for _, way := range failures {
						x.service.Answer("/keys", way)
						for _, token := range append(tokens, canaryFormat, canaryFormat+"."+canaryFormat+"."+canaryFormat) {
							x.says(plain("john", token))
						}
						time.Sleep(time.Minute)
						x.says("<auth xmlns='" + ns.SASL + "' mechanism='OAUTHBEARER'>" +
							base64.StdEncoding.EncodeToString([]byte("n,,\x01auth=Bearer "+tokens[0]+"\x01\x01")) + "</auth>")
					}
				}
				x.ask("POST", "/roster_admin/refresh?detail=1", `["john"]`)
			})
		})
	}
}
