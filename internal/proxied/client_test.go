package proxied_test

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"

	"rollcall/internal/proxied"
)

func trusted(networks ...string) (t proxied.Trusted) {
	for _, n := range networks {
		t = append(t, netip.MustParsePrefix(n))
	}
	return t
}

// Attack case 44: spoofed headers change nothing.
func TestClient(t *testing.T) {
	proxies := trusted("127.0.0.1/32", "::1/128", "10.0.0.0/8")
	for _, tc := range []struct {
		name, peer string
		header     map[string][]string
		tls        bool
		want       proxied.Client
	}{
		{name: "direct", peer: "192.0.2.1:1234", want: proxied.Client{Name: "192.0.2.1:1234", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "direct, TLS", peer: "192.0.2.1:1234", tls: true,
			want: proxied.Client{Name: "192.0.2.1:1234", IP: netip.MustParseAddr("192.0.2.1"), Secure: true}},
		{name: "on this machine", peer: "127.0.0.1:1234",
			want: proxied.Client{Name: "127.0.0.1:1234", IP: netip.MustParseAddr("127.0.0.1"), Local: true}},
		{name: "on this machine, mapped", peer: "[::ffff:127.0.0.1]:1234",
			want: proxied.Client{Name: "[::ffff:127.0.0.1]:1234", IP: netip.MustParseAddr("127.0.0.1"), Local: true}},
		{name: "spoofed by a stranger", peer: "192.0.2.1:1234",
			header: map[string][]string{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=127.0.0.1;proto=https"}},
			want:   proxied.Client{Name: "192.0.2.1:1234", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "by a trusted proxy", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}},
			want: proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1"), Secure: true}},
		{name: "spoofed through a trusted proxy", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"203.0.113.9, 192.0.2.1"}},
			want: proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "two trusted proxies", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"203.0.113.9", "192.0.2.1, 10.1.2.3"}},
			want: proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "trusted ones only", peer: "10.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"10.1.2.3"}},
			want: proxied.Client{Name: "10.1.2.3", IP: netip.MustParseAddr("10.1.2.3")}},
		{name: "never local", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"127.0.0.1"}},
			want: proxied.Client{Name: "127.0.0.1", IP: netip.MustParseAddr("127.0.0.1")}},
		{name: "never local by X-Real-IP", peer: "127.0.0.1:1234", header: map[string][]string{"X-Real-Ip": {"x"}},
			want: proxied.Client{Name: "127.0.0.1:1234", IP: netip.MustParseAddr("127.0.0.1")}},
		{name: "no address", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"192.0.2.1, unknown"}},
			want: proxied.Client{Name: "127.0.0.1:1234", IP: netip.MustParseAddr("127.0.0.1")}},
		{name: "line break", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"192.0.2.1\nlevel=ERROR"}},
			want: proxied.Client{Name: "127.0.0.1:1234", IP: netip.MustParseAddr("127.0.0.1")}},
		{name: "with a port", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"192.0.2.1:4711"}},
			want: proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "IPv6", peer: "[::1]:1234", header: map[string][]string{"X-Forwarded-For": {"2001:db8::1"}},
			want: proxied.Client{Name: "2001:db8::1", IP: netip.MustParseAddr("2001:db8::1")}},
		{name: "https at one of two", peer: "127.0.0.1:1234", header: map[string][]string{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https, http"}},
			want: proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "Forwarded", peer: "127.0.0.1:1234", header: map[string][]string{"Forwarded": {`for="[2001:db8::1]:4711";proto=https;by="a,b"`}},
			want: proxied.Client{Name: "2001:db8::1", IP: netip.MustParseAddr("2001:db8::1"), Secure: true}},
		{name: "Forwarded, spoofed and chained", peer: "127.0.0.1:1234",
			header: map[string][]string{"Forwarded": {"for=203.0.113.9;proto=https, For=192.0.2.1;Proto=http, for=10.0.0.7;proto=https"}},
			want:   proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "Forwarded, hidden", peer: "127.0.0.1:1234", header: map[string][]string{"Forwarded": {"for=_secret;proto=https"}},
			want: proxied.Client{Name: "127.0.0.1:1234", IP: netip.MustParseAddr("127.0.0.1")}},
		{name: "a client's Forwarded passed on", peer: "127.0.0.1:1234",
			header: map[string][]string{"Forwarded": {"for=203.0.113.9;proto=https"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"http"}},
			want:   proxied.Client{Name: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1")}},
		{name: "no peer", peer: "@", header: map[string][]string{"X-Forwarded-For": {"192.0.2.1"}}, want: proxied.Client{Name: "@"}},
	} {
		r := &http.Request{RemoteAddr: tc.peer, Header: tc.header}
		if tc.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := proxies.Client(r); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestNobodyTrusted(t *testing.T) {
	r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}}
	want := proxied.Client{Name: "127.0.0.1:1", IP: netip.MustParseAddr("127.0.0.1")}
	if got := proxied.Trusted(nil).Client(r); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
