package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ClientCAs are the certificates from a PEM file that may sign those of clients (mutual TLS). They are loaded again when
// the file changes, as a Store's. Its methods may be called by any goroutine, and on nil, which has none.
type ClientCAs struct {
	file string
	log  *slog.Logger
	now  func() time.Time

	current atomic.Pointer[x509.CertPool]

	polling sync.Mutex // held by the one handshake that looks at the file; it guards what follows
	polled  time.Time
	tried   stamp
}

type stamp struct {
	modified time.Time
	size     int64
}

// NewClientCAs loads the file. The error names it.
func NewClientCAs(file string, log *slog.Logger) (*ClientCAs, error) {
	c := &ClientCAs{file: file, log: log, now: time.Now}
	found, err := c.stat()
	if err != nil {
		return nil, err
	}
	pool, err := c.load()
	if err != nil {
		return nil, err
	}
	c.tried, c.polled = found, c.now()
	c.current.Store(pool)
	return c, nil
}

func (c *ClientCAs) stat() (stamp, error) {
	fi, err := os.Stat(c.file)
	if err != nil {
		return stamp{}, fmt.Errorf("CA certificates for clients: %w", err)
	}
	return stamp{fi.ModTime(), fi.Size()}, nil
}

func (c *ClientCAs) load() (*x509.CertPool, error) {
	pem, err := os.ReadFile(c.file)
	if err != nil {
		return nil, fmt.Errorf("CA certificates for clients: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("CA certificates for clients: " + c.file + " has no certificate in PEM form")
	}
	return pool, nil
}

// Pool gives the CAs.
func (c *ClientCAs) Pool() *x509.CertPool { return c.pool() }

// pool gives what to use now, after a look at the file when the last one is some time ago. Like Store.refresh it never
// fails and hardly waits.
func (c *ClientCAs) pool() *x509.CertPool {
	if c == nil {
		return nil
	}
	if c.polling.TryLock() {
		defer c.polling.Unlock()
		if now := c.now(); now.Sub(c.polled) >= pollInterval {
			c.polled = now
			c.reload()
		}
	}
	return c.current.Load()
}

// reload loads the file if it changed since it was last tried. What cannot be used leaves the old CAs in use.
func (c *ClientCAs) reload() {
	found, err := c.stat()
	if err == nil && found == c.tried || err != nil && c.tried == (stamp{}) {
		return
	}
	c.tried = found
	var pool *x509.CertPool
	if err == nil {
		pool, err = c.load()
	}
	if err != nil {
		c.log.Error("CA certificates for clients not reloaded, the old ones stay in use", "error", err)
		return
	}
	c.current.Store(pool)
	c.log.Info("CA certificates for clients reloaded", "file", c.file)
}
