// Package proxied tells who is behind a reverse proxy: by X-Forwarded-For and X-Forwarded-Proto, or Forwarded
// (RFC 7239), for HTTP; and by the PROXY protocol of HAProxy, versions 1 and 2, for other connections. What a proxy says
// is believed when its address is one that the administrator trusts, and never makes anybody local to this machine.
package proxied

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Trusted are the addresses of proxies that are believed.
type Trusted []netip.Prefix

// Has tells whether a proxy at that address is believed.
func (t Trusted) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(t, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Client is who made a request, as far as that can be told.
type Client struct {
	// Name is for logs and operators: "host:port" of the peer, or the address that a trusted proxy gave, without a port.
	Name string
	// IP is the same as an address; zero when there is none.
	IP netip.Addr
	// Secure: there is TLS, ours or, as it says, the trusted proxy's.
	Secure bool
	// Local: a program on this machine made the request, and passed nothing on for others.
	Local bool
}

// headers are those by which a proxy shows itself.
var headers = [...]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// Shown tells whether a request came through a proxy that says so: then the peer's address says nothing of the client.
func Shown(r *http.Request) bool {
	return slices.ContainsFunc(headers[:], func(name string) bool { return r.Header.Get(name) != "" })
}

// Client tells who made a request.
func (t Trusted) Client(r *http.Request) Client {
	c := Client{Name: r.RemoteAddr, Secure: r.TLS != nil}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return c
	}
	c.IP = peer.Addr().Unmap()
	c.Local = c.IP.IsLoopback() && !Shown(r)
	if !t.Has(c.IP) {
		return c
	}
	ip, secure := t.forwarded(r.Header)
	if ip.IsValid() {
		c.IP, c.Name = ip, ip.String()
	}
	c.Secure = c.Secure || secure
	return c
}

// forwarded gives what trusted proxies say. X-Forwarded-For goes first: a proxy that writes it may pass on a Forwarded
// that the client made up, and the other way round nobody does it.
func (t Trusted) forwarded(h http.Header) (client netip.Addr, secure bool) {
	if list := elements(h["X-Forwarded-For"]); len(list) > 0 {
		i := t.hop(len(list), func(i int) (netip.Addr, bool) { return node(list[i]) })
		if i >= 0 {
			client, _ = node(list[i])
		}
		return client, https(h)
	}
	list := elements(h["Forwarded"])
	i := t.hop(len(list), func(i int) (netip.Addr, bool) { return node(parameter(list[i], "for")) })
	if i >= 0 {
		client, _ = node(parameter(list[i], "for"))
		secure = strings.EqualFold(parameter(list[i], "proto"), "https")
	}
	return client, secure || https(h)
}

// hop picks the client among n hops: the last one that is no trusted proxy. What stands before it was written by the
// client itself, or by somebody who believed it. It gives -1 when nothing can be told.
func (t Trusted) hop(n int, at func(int) (netip.Addr, bool)) int {
	found := -1
	for i := n - 1; i >= 0; i-- {
		a, ok := at(i)
		if !ok { // "unknown", or a name that is kept secret
			break
		}
		if found = i; !t.Has(a) {
			break
		}
	}
	return found
}

// https tells whether every proxy says that the request came to it by https.
func https(h http.Header) bool {
	list := elements(h["X-Forwarded-Proto"])
	return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool { return !strings.EqualFold(s, "https") })
}

// elements splits headers into the elements of their lists; commas may stand in quotes.
func elements(lines []string) (list []string) {
	for _, line := range lines {
		start, quoted := 0, false
		for i := 0; i <= len(line); i++ {
			switch {
			case i == len(line) || line[i] == ',' && !quoted:
				list = append(list, strings.Trim(line[start:i], " \t"))
				start = i + 1
			case line[i] == '"':
				quoted = !quoted
			case line[i] == '\\' && quoted:
				i++
			}
		}
	}
	return list
}

// parameter gives the value of a parameter in an element of Forwarded (RFC 7239 section 4), "" when it is absent.
func parameter(element, name string) string {
	for pair := range strings.SplitSeq(element, ";") { // no value that we want has a semicolon in it
		key, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if strings.EqualFold(key, name) {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// node reads an address with or without a port, an IPv6 address in brackets or without (RFC 7239 section 6).
func node(s string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}
