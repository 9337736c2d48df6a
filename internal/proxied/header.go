package proxied

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol (www.haproxy.org/download/3.0/doc/proxy-protocol.txt) puts a header before the first byte of a
// connection. It is read to its last byte and no further, so that what follows is the connection's as it was.

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n" // of version 2 (section 2.2)
	maxV1     = 107                      // bytes of a version 1 header (section 2.1)
	maxV2     = 4096                     // of what follows the fixed part of version 2: addresses, and extensions, which are skipped
)

var errNoHeader = errors.New("the connection does not begin with a PROXY protocol header")

// readHeader reads a header and gives the client's address; zero when the proxy speaks for itself, or does not know.
func readHeader(r io.Reader) (netip.AddrPort, error) {
	var start [len(signature)]byte // shorter than any header
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case string(start[:]) == signature:
		return readV2(r)
	case bytes.HasPrefix(start[:], []byte("PROXY ")):
		return readV1(r, start[:])
	}
	return netip.AddrPort{}, errNoHeader
}

// readV1 reads on in a line, byte by byte so as not to read further.
func readV1(r io.Reader, line []byte) (netip.AddrPort, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		var b [1]byte
		if len(line) == maxV1 {
			return netip.AddrPort{}, errors.New("a PROXY protocol header that is too long")
		}
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return netip.AddrPort{}, err
		}
		line = append(line, b[0])
	}
	// PROXY TCP4 source destination sourceport destinationport
	fields := strings.Split(string(line[:len(line)-2]), " ")
	if fields[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return netip.AddrPort{}, errors.New("a malformed PROXY protocol header")
	}
	port, err := strconv.ParseUint(fields[4], 10, 16)
	if err != nil {
		return netip.AddrPort{}, errors.New("a malformed port in a PROXY protocol header")
	}
	ip, err := netip.ParseAddr(fields[2])
	if err != nil || ip.Is4() != (fields[1] == "TCP4") || ip.Zone() != "" {
		return netip.AddrPort{}, errors.New("a malformed address in a PROXY protocol header")
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}

// readV2 reads what follows the signature.
func readV2(r io.Reader) (netip.AddrPort, error) {
	var fixed [4]byte // version and command, family and protocol, length
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	command, family, n := fixed[0], fixed[1], int(binary.BigEndian.Uint16(fixed[2:]))
	if command != 0x20 && command != 0x21 || n > maxV2 {
		return netip.AddrPort{}, errors.New("a malformed PROXY protocol header")
	}
	rest := make([]byte, n)
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, err
	}
	size := 0 // of an address
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	}
	if command == 0x20 || size == 0 { // LOCAL: the proxy's own; or not a family that we know
		return netip.AddrPort{}, nil
	}
	if n < 2*size+4 {
		return netip.AddrPort{}, errors.New("a PROXY protocol header without its addresses")
	}
	ip, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(rest[2*size:])), nil
}
