package demo

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Where the demo listens unless the ports are taken.
const (
	DefaultHTTP = "127.0.0.1:5280"
	DefaultC2S  = "127.0.0.1:5222"
)

// Config gives the configuration, in TOML, that the demo runs with: one host called localhost, any password, everything
// in memory, and the contacts from the sample service behind listenHTTP. Both addresses are a loopback IP address and a
// port, as FreeAddress gives them.
func Config(listenHTTP, listenC2S string) ([]byte, error) {
	for _, address := range []string{listenHTTP, listenC2S} {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !a.Addr().IsLoopback() || a.Port() == 0 {
			return nil, fmt.Errorf("the demo asks for no passwords, so it listens on a loopback address and port like %s only, not on %q",
				DefaultHTTP, address)
		}
	}
	return fmt.Appendf(nil, `# What "rollcall demo" runs with. Nothing is kept on disk.
data_dir = ""

[listen]
c2s  = %[2]q
http = %[1]q

[tls]
require = false

[[host]]
name = "localhost"
auth.method = "open"
roster.url = "http://%[1]s/contacts/%%s"
roster.mutual = true # presence is shown when both list each other
`, listenHTTP, listenC2S), nil
}

// FreeAddress gives preferred, a host and port, when it can be listened on now, else the same host with a port that is
// free. Somebody else may take the port before it is used; listening then fails and says so.
func FreeAddress(preferred string) (string, error) {
	host, port, err := net.SplitHostPort(preferred)
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", preferred)
	if err != nil && port != "0" {
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", fmt.Errorf("no port is free on %s: %w", host, err)
	}
	address := net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	return address, l.Close()
}
