package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// An authority is Pebble, the small ACME server of the people behind Let's Encrypt, on loopback. It looks for domains at
// httpPort and tlsPort instead of 80 and 443, and finds all of them at 127.0.0.1.
type authority struct {
	certificate          // what its own server is certified by
	directory     string // URL
	management    string // URL
	managedByOurs *http.Client
}

// startAuthority runs one whose certificates are valid for a time.
func startAuthority(t *testing.T, dir string, httpPort, tlsPort int, valid time.Duration) *authority {
	t.Helper()
	pebble := filepath.Join("bin", "pebble")
	if _, err := os.Stat(pebble); err != nil {
		missing(t, "Pebble")
	}
	listen, manage := freePort(t), freePort(t)
	a := &authority{
		certificate: makeCertificate(t, dir),
		directory:   fmt.Sprintf("https://127.0.0.1:%d/dir", listen),
		management:  fmt.Sprintf("https://127.0.0.1:%d", manage),
	}
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", listen), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", manage),
		"certificate": a.cert, "privateKey": a.key, "httpPort": httpPort, "tlsPort": tlsPort, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(valid.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, pebble, "-config", config, "-dnsserver", startDNS(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1") // it likes to keep its clients waiting
	output := &log{news: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed: it knows no other end
		if t.Failed() {
			t.Logf("output of pebble:\n%s", output)
		}
	})
	ca, err := os.ReadFile(a.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	a.managedByOurs = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return a
}

// roots are what certifies the certificates that the authority gives.
func (a *authority) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	resp, err := a.managedByOurs.Get(a.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	pem, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s: no certificate in %q", resp.Status, pem)
	}
	return pool
}

// startDNS runs a name server over TCP (RFC 7766), as Pebble asks it, that knows 127.0.0.1 for every name, and returns its
// address.
func startDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				// Whoever asked asks again if that went wrong.
				_ = conn.SetDeadline(time.Now().Add(patience))
				_ = serveDNS(conn)
			})
		}
	})
	return l.Addr().String()
}

// serveDNS answers the questions of a connection; each message has its length before it.
func serveDNS(conn net.Conn) error {
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return err
		}
		question := make([]byte, endian.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, question); err != nil {
			return err
		}
		answer := answerDNS(question)
		if _, err := conn.Write(append(endian.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return err
		}
	}
}

// answerDNS answers a question for an A record; others get an empty answer.
func answerDNS(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}
