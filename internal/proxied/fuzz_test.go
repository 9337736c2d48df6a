package proxied

import (
	"bytes"
	"strings"
	"testing"
)

// A header is read to its end and no further, whatever it is.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 10.0.0.1 4660 5222\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x34\x14\x66"))
	f.Add([]byte("<stream:stream>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const rest = "<stream:stream>"
		r := bytes.NewReader(append(b[:len(b):len(b)], rest...))
		client, err := readHeader(r)
		read := len(b) + len(rest) - r.Len()
		if read > maxV2+len(signature)+4 {
			t.Fatalf("%d bytes were read", read)
		}
		if err != nil {
			return
		}
		head := string(append(b[:len(b):len(b)], rest...)[:read])
		if strings.HasPrefix(head, "PROXY ") && strings.Index(head, "\r\n") != len(head)-2 {
			t.Fatalf("read %q", head)
		}
		if client.IsValid() && client.Addr().Is4In6() {
			t.Fatalf("the address %v is not in its shortest form", client)
		}
		// What was read is the whole of it: without its last byte it is none.
		if _, err := readHeader(strings.NewReader(head[:read-1])); err == nil {
			t.Fatalf("%q is a header without its last byte", head)
		}
	})
}
