package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// The conversations that the documents print, byte by byte.
func TestScramVectors(t *testing.T) {
	decode := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := map[string]struct {
		hash             *scramHash
		salt             string
		nonce            string // the server's part
		first, challenge string
		final, success   string
	}{
		"RFC 5802 section 5": {&hashSHA1, "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j",
			"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		"RFC 7677 section 3": {&hashSHA256, "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
			"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys, err := realPrimitives.derive(test.hash, "pencil", decode(test.salt), 4096)
			if err != nil {
				t.Fatal(err)
			}
			s := newServer(t, Accounts{Source: users{"user": {SHA1: keys, SHA256: keys}}}, noHash)
			s.crypto.nonce = func() string { return test.nonce }
			x, out, done, err := say(t, s, test.hash.name, secure, test.first)
			if out != test.challenge || done || err != nil {
				t.Fatalf("challenge %q, %v, %v; want %q", out, done, err, test.challenge)
			}
			last, done, err := x.Next(t.Context(), []byte(test.final))
			if string(last) != test.success || !done || err != nil || x.Username() != "user" {
				t.Errorf("success %q, %v, %v, user %q; want %q", last, done, err, x.Username(), test.success)
			}
		})
	}
}

// XEP-0474 section 5.3: channel binding, the hash of what was advertised, and an extension of the client's.
func TestDowngradeVector(t *testing.T) {
	h := downgradeHash(&hashSHA1, []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, []string{"tls-server-end-point", "tls-exporter"})
	if want := "G6k/rBLDqgOhRRaCuuatSDFkJ08="; h != want {
		t.Errorf("hash %s, want %s", h, want)
	}
	salt, err := base64.StdEncoding.DecodeString("QSXCR+Q6sek8bf92")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := realPrimitives.derive(&hashSHA1, "pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, Open{})
	s.crypto.nonce = func() string { return "a09117a6-ac50-4f2f-93f1-93799c2bddf6" }
	c := &conversation{server: s, hash: &hashSHA1, source: users{"user": {SHA1: keys}}, plus: true,
		bindings: []binding{{"tls-exporter", []byte("THIS IS FAKE CB DATA")}}, extension: ",h=" + h}
	r, err := c.first(t.Context(), []byte("p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08="; string(r.out) != want {
		t.Errorf("challenge %s, want %s", r.out, want)
	}
	r, err = c.final(t.Context(), []byte("c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4="))
	if err != nil || string(r.out) != "v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c=" {
		t.Errorf("success %s, %v", r.out, err)
	}
}

// clientHash is the hash in the client's library.
func clientHash(mechanism string) scram.HashGeneratorFcn {
	if strings.HasPrefix(mechanism, "SCRAM-SHA-256") {
		return scram.SHA256
	}
	return scram.SHA1
}

func newClient(t testing.TB, mechanism, user, password, authzid string) *scram.Client {
	t.Helper()
	c, err := clientHash(mechanism).NewClient(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// converse lets a client of another make sign in. The error is the server's.
func converse(t testing.TB, s *Server, mechanism string, ch Channel, c *scram.ClientConversation) (user string, err error) {
	t.Helper()
	x, err := s.Start(mechanism, ch)
	if err != nil {
		return "", err
	}
	var out []byte
	for done := false; !done; {
		in, err := c.Step(string(out))
		if err != nil {
			t.Fatalf("%s: the client does not understand %q: %v", mechanism, out, err)
		}
		if out, done, err = x.Next(t.Context(), []byte(in)); err != nil {
			return x.Username(), err
		}
	}
	if _, err := c.Step(string(out)); err != nil || !c.Valid() {
		t.Errorf("%s: the client does not believe the server: %v", mechanism, err)
	}
	return x.Username(), nil
}

func clientBinding(name string) scram.ChannelBinding {
	data := map[string][]byte{"tls-exporter": bound.Exporter, "tls-server-end-point": bound.EndPoint}[name]
	return scram.ChannelBinding{Type: scram.ChannelBindingType(name), Data: data}
}

func TestScramWithAnotherMakesClient(t *testing.T) {
	comma, err := MakeCredentials("p=,\u00aa") // SASLprep makes an "a" of the last
	if err != nil {
		t.Fatal(err)
	}
	source := users{"john": pencil(), "a=b,c": comma}
	for _, change := range []func(*Config){noHash, func(*Config) {}} {
		s := newServer(t, Accounts{Source: source}, change)
		check := func(mechanism, want string, got string, err error) {
			t.Helper()
			if err != nil || got != want {
				t.Errorf("%s: %q, %v; want %q", mechanism, got, err, want)
			}
		}
		for _, mechanism := range s.Mechanisms(secure) {
			c := newClient(t, mechanism, "john", "pencil", "")
			got, err := converse(t, s, mechanism, secure, c.NewConversation())
			check(mechanism, "john", got, err)
			// "y" is right where no binding is offered.
			got, err = converse(t, s, mechanism, secure, c.NewConversationAdvertisingChannelBinding())
			check(mechanism+" y", "john", got, err)
			// A client that cannot bind needs not, although others may.
			got, err = converse(t, s, mechanism, bound, c.NewConversation())
			check(mechanism+" n", "john", got, err)

			c = newClient(t, mechanism, "John", "pencil", "john@localhost")
			got, err = converse(t, s, mechanism, secure, c.NewConversation())
			check(mechanism+" authzid", "john", got, err)
			c = newClient(t, mechanism, "a=b,c", "p=,a", "a=b,c@localhost")
			got, err = converse(t, s, mechanism, secure, c.NewConversation())
			check(mechanism+" escapes", "a=b,c", got, err)

			for _, name := range s.ChannelBindings(bound) {
				c = newClient(t, mechanism, "john", "pencil", "")
				got, err = converse(t, s, mechanism+"-PLUS", bound, c.NewConversationWithChannelBinding(clientBinding(name)))
				check(mechanism+"-PLUS "+name, "john", got, err)
			}

			c = newClient(t, mechanism, "john", "crayon", "")
			_, err = converse(t, s, mechanism, secure, c.NewConversation())
			wantFailure(t, err, NotAuthorized)
		}
	}
}

// Attack case 19: whatever does not fit the channel fails.
func TestChannelBindingAttacks(t *testing.T) {
	s := newServer(t, john())
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		c := newClient(t, mechanism, "john", "pencil", "")
		exporter := clientBinding("tls-exporter")
		wrong := func(name string, data []byte) *scram.ClientConversation {
			return c.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(name), Data: data})
		}
		onlyEndPoint := bound
		onlyEndPoint.Exporter = nil
		tests := map[string]struct {
			mechanism string
			ch        Channel
			client    *scram.ClientConversation
			want      string
		}{
			"y though -PLUS was offered":  {mechanism, bound, c.NewConversationAdvertisingChannelBinding(), NotAuthorized},
			"-PLUS with y":                {mechanism + "-PLUS", bound, c.NewConversationAdvertisingChannelBinding(), MalformedRequest},
			"-PLUS with n":                {mechanism + "-PLUS", bound, c.NewConversation(), MalformedRequest},
			"p without -PLUS":             {mechanism, bound, c.NewConversationWithChannelBinding(exporter), MalformedRequest},
			"p where nothing was offered": {mechanism, secure, c.NewConversationWithChannelBinding(exporter), MalformedRequest},
			"tls-unique":                  {mechanism + "-PLUS", bound, wrong("tls-unique", bound.Exporter), NotAuthorized},
			"a type that is not here":     {mechanism + "-PLUS", onlyEndPoint, c.NewConversationWithChannelBinding(exporter), NotAuthorized},
			"data of another connection":  {mechanism + "-PLUS", bound, wrong("tls-exporter", []byte("of somebody in the middle")), NotAuthorized},
			"data of the other type":      {mechanism + "-PLUS", bound, wrong("tls-exporter", bound.EndPoint), NotAuthorized},
			"data cut":                    {mechanism + "-PLUS", bound, wrong("tls-exporter", bound.Exporter[:1]), NotAuthorized},
		}
		for name, test := range tests {
			t.Run(mechanism+" "+name, func(t *testing.T) {
				user, err := converse(t, s, test.mechanism, test.ch, test.client)
				f := wantFailure(t, err, test.want)
				if user != "" || strings.Contains(f.Error(), "exported") {
					t.Errorf("user %q, %v", user, f)
				}
			})
		}
		_, _, _, err := say(t, s, mechanism+"-PLUS", bound, "p=tls-nonsense,,n=john,r=abc")
		wantFailure(t, err, NotAuthorized)
	}
}

// The hash covers what is advertised on this very channel.
func TestDowngradeHashIsSent(t *testing.T) {
	s := newServer(t, john())
	for _, ch := range []Channel{secure, bound} {
		_, first, _, err := say(t, s, "SCRAM-SHA-256", ch, "n,,n=john,r=abc")
		if err != nil {
			t.Fatal(err)
		}
		want := ",i=10000,h=" + downgradeHash(&hashSHA256, s.Mechanisms(ch), s.ChannelBindings(ch))
		if !strings.HasSuffix(first, want) {
			t.Errorf("%q does not end with %q", first, want)
		}
	}
	if a, b := downgradeHash(&hashSHA1, []string{"A", "B"}, nil), downgradeHash(&hashSHA1, []string{"B", "A"}, nil); a != b {
		t.Error("the order matters")
	}
	if a, b := downgradeHash(&hashSHA1, []string{"A"}, []string{"b"}), downgradeHash(&hashSHA1, []string{"A", "b"}, nil); a == b {
		t.Error("a binding passes for a mechanism")
	}
	s = newServer(t, john(), noHash)
	_, first, _, err := say(t, s, "SCRAM-SHA-256", bound, "n,,n=john,r=abc")
	if err != nil || !strings.HasSuffix(first, ",i=10000") {
		t.Errorf("%q, %v", first, err)
	}
}

// Attack case 20, first message.
func TestClientFirstRefused(t *testing.T) {
	s := newServer(t, john())
	for _, in := range []string{
		"", ",", ",,", ",,,", "n", "n,,", "n,,n=john", "n,,n=john,", "n=john,r=abc",
		"n,,n=john,r=", "n,,n=john,r=a b", "n,,n=john,r=\u00e9", "n,,n=john,r=\x7f", "n,,n=john,x=abc",
		"n,,r=abc,n=john", "n,,n=,r=abc", "n,,n=john,r=abc,", "n,,n=john,r=abc,,x=1", "n,,n=john,r=abc,x", "n,,n=john,r=abc,x=",
		"n,,n=john,r=abc,1=2", "n,,m=1,n=john,r=abc", "n,,n=john,r=abc,m=1", "n,,n=john,r=abc,x=1,m=1",
		"n,,n=jo=hn,r=abc", "n,,n=john=,r=abc", "n,,n=john=2,r=abc", "n,,n=john=2c,r=abc", "n,,n=john=3d,r=abc",
		"n,a=,n=john,r=abc", "n,john,n=john,r=abc", "n,a=john=,n=john,r=abc", "n,n=john,r=abc",
		"x,,n=john,r=abc", "N,,n=john,r=abc", "p,,n=john,r=abc", "p=,,n=john,r=abc", "p=tls exporter,,n=john,r=abc", " n,,n=john,r=abc",
		"n,,n=john\x00,r=abc", "n,,n=jo\xffhn,r=abc", "n,,n=john,r=abc,x=\xff",
		"n,,n=john,r=" + strings.Repeat("a", maxMessage),
	} {
		for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
			_, _, _, err := say(t, s, mechanism, secure, in)
			if f := wantFailure(t, err, MalformedRequest); len(f.Error()) > 200 {
				t.Errorf("%.40q: an error of %d bytes", in, len(f.Error()))
			}
		}
	}
	for _, name := range []string{"jo hn", "john@localhost", strings.Repeat("a", 1024), "\u0007"} {
		_, _, _, err := say(t, s, "SCRAM-SHA-256", secure, "n,,n="+name+",r=abc")
		wantFailure(t, err, NotAuthorized)
	}
	// Optional extensions are nobody's business.
	if _, _, _, err := say(t, s, "SCRAM-SHA-256", secure, "n,,n=john,r=abc,x=1,Y=a=b"); err != nil {
		t.Error(err)
	}
}

// script signs john in by hand. change gets the attributes of the final message, without the proof, and may
// change them, set a proof, or return a whole message in their place. What it does not touch is right, the
// proof too, so that only the change can be what fails.
func script(t *testing.T, s *Server, change func(final map[string]string) string) (*Exchange, []byte, error) {
	t.Helper()
	keys := pencil().SHA256
	salted, err := realPrimitives.pbkdf2(&hashSHA256, "pencil", keys.Salt, keys.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	clientKey := realPrimitives.hmac(&hashSHA256, salted, []byte("Client Key"))
	x, first, _, err := say(t, s, "SCRAM-SHA-256", secure, "n,,n=john,r=abc")
	if err != nil {
		t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(first, "r="), ",")
	final := map[string]string{"c": "biws", "r": nonce}
	sign := func(withoutProof string) string {
		p := realPrimitives.hmac(&hashSHA256, keys.StoredKey, []byte("n=john,r=abc,"+first+","+withoutProof))
		for i := range p {
			p[i] ^= clientKey[i]
		}
		return base64.StdEncoding.EncodeToString(p)
	}
	message := change(final)
	if message == "" {
		message = "c=" + final["c"] + ",r=" + final["r"] + final["x"]
		p := sign(message)
		if final["p"] != "" {
			p = final["p"]
		}
		message += ",p=" + p
	}
	out, _, err := x.Next(t.Context(), []byte(message))
	return x, out, err
}

// Attack case 20, final message.
func TestClientFinalRefused(t *testing.T) {
	s := newServer(t, john())
	set := func(key, value string) func(map[string]string) string {
		return func(m map[string]string) string { m[key] = value; return "" }
	}
	literal := func(s string) func(map[string]string) string {
		return func(map[string]string) string { return s }
	}
	ok := func(map[string]string) string { return "" }
	for name, change := range map[string]func(map[string]string) string{"plain": ok, "extension": set("x", ",x=1,y=a=b")} {
		if x, out, err := script(t, s, change); err != nil || !strings.HasPrefix(string(out), "v=") || x.Username() != "john" {
			t.Fatalf("%s: %q, %v: what the other cases change is not right to begin with", name, out, err)
		}
	}
	tests := map[string]struct {
		change func(map[string]string) string
		want   string
	}{
		"nonce cut":         {func(m map[string]string) string { m["r"] = m["r"][:len(m["r"])-1]; return "" }, NotAuthorized},
		"nonce longer":      {func(m map[string]string) string { m["r"] += "a"; return "" }, NotAuthorized},
		"client nonce only": {set("r", "abc"), NotAuthorized},
		"nonce empty":       {set("r", ""), MalformedRequest},
		"other header":      {set("c", base64.StdEncoding.EncodeToString([]byte("y,,"))), NotAuthorized},
		"no header":         {set("c", base64.StdEncoding.EncodeToString([]byte("n"))), NotAuthorized},
		"authzid smuggled":  {set("c", base64.StdEncoding.EncodeToString([]byte("n,a=admin,"))), NotAuthorized},
		"c empty":           {set("c", ""), MalformedRequest},
		"c not base64":      {set("c", "bi*s"), MalformedRequest},
		"c on two lines":    {set("c", "bi\nws"), MalformedRequest},
		"c not padded":      {set("c", "biwsbg"), MalformedRequest},
		"m=":                {set("x", ",m=1"), MalformedRequest},
		"bad extension":     {set("x", ",x"), MalformedRequest},
		"wrong proof":       {set("p", proof["SCRAM-SHA-256"]), NotAuthorized},
		"short proof":       {set("p", proof["SCRAM-SHA-1"]), MalformedRequest},
		"one byte":          {set("p", "AA=="), MalformedRequest},
		"proof not base64":  {set("p", "*"), MalformedRequest},
		"proof not strict":  {set("p", strings.Repeat("A", 42)+"B="), MalformedRequest},
		"first again":       {literal("n,,n=john,r=abc"), MalformedRequest},
		"line feed":         {literal("\n"), MalformedRequest},
		"only proof":        {literal("p=" + proof["SCRAM-SHA-256"]), MalformedRequest},
		"no proof":          {func(m map[string]string) string { return "c=biws,r=" + m["r"] }, MalformedRequest},
		"proof first":       {func(m map[string]string) string { return "p=AAAA,c=biws,r=" + m["r"] }, MalformedRequest},
		"nonce first":       {func(m map[string]string) string { return "r=" + m["r"] + ",c=biws,p=AAAA" }, MalformedRequest},
		"commas":            {literal(",,,"), MalformedRequest},
		"NUL":               {literal("c=biws,r=a,p=\x00"), MalformedRequest},
		"too long":          {literal("c=biws,r=" + strings.Repeat("a", maxMessage)), MalformedRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			x, out, err := script(t, s, test.change)
			f := wantFailure(t, err, test.want)
			if out != nil || x.Username() != "" {
				t.Errorf("%q, user %q", out, x.Username())
			}
			if len(f.Error()) > 200 {
				t.Errorf("an error of %d bytes", len(f.Error()))
			}
		})
	}
}

// Attack case 20: what was recorded from one exchange is of no use in the next, also when the client's nonce
// is the same again.
func TestScramReplay(t *testing.T) {
	s := newServer(t, john())
	var recorded string
	_, _, err := script(t, s, func(m map[string]string) string { recorded = m["r"]; return "" })
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{recorded: true}
	for range 100 {
		_, first, _, err := say(t, s, "SCRAM-SHA-256", secure, "n,,n=john,r=abc")
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(first, "r="), ",")
		// Attack case 25: our part has at least 128 bits.
		if seen[nonce] || len(nonce) < len("abc")+26 {
			t.Fatalf("nonce %q", nonce)
		}
		seen[nonce] = true
	}
	_, _, err = script(t, s, func(m map[string]string) string { m["r"] = recorded; return "" })
	wantFailure(t, err, NotAuthorized)
}

// Attack case 22: guesses do not lock the account. (Slowing them down is the connection's work.)
func TestGuessesDoNotLock(t *testing.T) {
	s := newServer(t, john())
	for range 1000 {
		guess(t, s, "SCRAM-SHA-1", "john")
	}
	c := newClient(t, "SCRAM-SHA-1", "john", "pencil", "")
	if user, err := converse(t, s, "SCRAM-SHA-1", secure, c.NewConversation()); err != nil || user != "john" {
		t.Errorf("%q, %v", user, err)
	}
}

// A failure of the source in SCRAM reaches the log whole and the client not at all.
func TestFailureForTheLog(t *testing.T) {
	s := newServer(t, Accounts{Source: failing{errors.New("disk I/O error")}})
	_, _, _, err := say(t, s, "SCRAM-SHA-1", secure, "n,,n=john,r=abc")
	if want := "auth: temporary-auth-failure: try again later: disk I/O error"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

// Where the -PLUS mechanisms are left out on purpose, a client that could bind signs in without, and says so.
func TestUnbound(t *testing.T) {
	unbound := john()
	unbound.Unbound = true
	s := newServer(t, unbound)
	if got := strings.Join(s.Mechanisms(bound), " "); got != "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN" || s.ChannelBindings(bound) != nil {
		t.Errorf("offered: %s; bindings %v", got, s.ChannelBindings(bound))
	}
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		c := newClient(t, mechanism, "john", "pencil", "")
		if user, err := converse(t, s, mechanism, bound, c.NewConversationAdvertisingChannelBinding()); err != nil || user != "john" {
			t.Errorf("%s: %q, %v", mechanism, user, err)
		}
	}
}
