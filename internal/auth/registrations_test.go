package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Attack case 22, of those who make accounts: a network has its budget, a host has one, and they fill up again.
func TestRegistrationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := NewRegistrations(4, 10, slog.New(slog.NewTextHandler(&log, nil)))
		made := func(host string, from netip.Prefix, times int) (n int) {
			for range times {
				if r.Try(host, from) {
					n++
				}
			}
			return n
		}
		bad, nobody := network("192.0.2.66/32"), netip.Prefix{}
		if n := made("a", bad, 20); n != 4 {
			t.Errorf("%d from one network, want 4", n)
		}
		if n := made("b", bad, 1); n != 0 {
			t.Error("a network has one budget at each host")
		}
		if n := made("a", nobody, 20); n != 6 { // what is refused for its network is none of the host's
			t.Errorf("%d of the host's ten are left, want 6", n)
		}
		if n := made("a", network("198.51.100.1/32"), 1); n != 0 {
			t.Error("the host's budget does not hold for a network that has done nothing")
		}
		if n := made("b", network("198.51.100.1/32"), 5); n != 4 { // that try cost nothing
			t.Errorf("%d at the other host, want 4", n)
		}
		if n := strings.Count(log.String(), "\n"); n != 3 {
			t.Errorf("%d lines in the log, want one for each budget:\n%s", n, log.String())
		}
		time.Sleep(15 * time.Minute) // a quarter of an hour
		if n := made("b", bad, 20); n != 1 {
			t.Errorf("%d after a quarter of an hour, want 1", n)
		}
		r.Adjust(0, 0)
		if n := made("a", bad, 1000); n != 1000 {
			t.Errorf("%d without limits", n)
		}
	})
}

// What is known of networks is bounded, and making up networks does not get rid of one that is refused.
func TestRegistrationsOfManyNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistrations(3, 0, slog.New(slog.DiscardHandler))
		bad := network("192.0.2.66/32")
		for range 4 {
			r.Try("a", bad)
		}
		for i := range maxGuarded + 1000 {
			r.Try("a", network(fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255)))
		}
		if n := len(r.networks); n != maxGuarded {
			t.Errorf("%d networks are known", n)
		}
		if r.Try("a", bad) {
			t.Error("a network that was refused may go on")
		}
	})
}
