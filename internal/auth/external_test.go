package auth

import "testing"

// Who is known without a proof signs in with EXTERNAL, whatever the host's method; nobody else is offered it.
func TestExternal(t *testing.T) {
	for name, s := range map[string]*Server{"accounts": newServer(t, john()), "open": newServer(t, Open{}), "anonymous": newServer(t, Anonymous{})} {
		for _, ch := range []Channel{{}, secure, loopback} {
			for _, m := range s.Mechanisms(ch) {
				if m == "EXTERNAL" {
					t.Errorf("%s: offered on %+v", name, ch)
				}
			}
			_, err := s.Start("EXTERNAL", ch)
			wantFailure(t, err, InvalidMechanism)
		}
		for authzid, want := range map[string]string{"": "", "Jane": "", "jane@localhost": "", "john": InvalidAuthzid,
			"jane@elsewhere.example": InvalidAuthzid, "\xff": MalformedRequest} {
			x, out, done, err := say(t, s, "EXTERNAL", Channel{User: "jane"}, authzid)
			if want != "" {
				wantFailure(t, err, want)
			} else if err != nil || !done || out != "" || x.Username() != "jane" {
				t.Errorf("%s: %q: %q %v %v, user %q", name, authzid, out, done, err, x.Username())
			}
		}
		_, _, _, err := say(t, s, "EXTERNAL", Channel{User: "jo hn"}, "")
		wantFailure(t, err, NotAuthorized)
	}
}
