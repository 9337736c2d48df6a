package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A party has a server with a Guard, and counts what it does.
type party struct {
	*Server
	hashed   atomic.Int32 // passwords
	looked   atomic.Int32 // up
	mu       sync.Mutex
	results  map[string]int
	exceeded []string
}

func (p *party) Credentials(ctx context.Context, username string) (Credentials, error) {
	p.looked.Add(1)
	return users{"john": pencil(), "marie": pencil()}.Credentials(ctx, username)
}

func newParty(t testing.TB, tries int) *party {
	p := &party{results: map[string]int{}}
	guard := NewGuard(GuardOptions{Tries: tries, Exceeded: func(host, user string, last netip.Prefix, _ int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.exceeded = append(p.exceeded, fmt.Sprint(user, "@", host, " ", last))
	}})
	p.Server = newServer(t, Accounts{Source: p, Plain: true}, func(c *Config) {
		c.Guard = guard
		c.Observe = func(result string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.results[result]++
		}
	})
	p.crypto.pbkdf2 = func(h *scramHash, password string, salt []byte, iterations int) ([]byte, error) {
		p.hashed.Add(1)
		return realPrimitives.pbkdf2(h, password, salt, iterations)
	}
	return p
}

func network(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// try signs in with PLAIN, and gives the condition, or "" for success.
func (p *party) try(t testing.TB, from netip.Prefix, user, password string) string {
	t.Helper()
	x, err := p.Start("PLAIN", Channel{Secure: true, Origin: from})
	if err != nil {
		t.Fatal(err)
	}
	_, done, err := x.Next(t.Context(), []byte("\x00"+user+"\x00"+password))
	if done {
		return ""
	}
	var f *Failure
	f, _ = err.(*Failure)
	if f == nil {
		t.Fatal(err)
	}
	return f.Condition
}

// Attack case 22: "10,000 guesses from one IP → IP throttled, account not locked".
func TestGuessesFromOneNetworkAreRefusedAndLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t, 10)
		bad, home, other := network("192.0.2.66/32"), network("198.51.100.1/32"), network("203.0.113.1/32")
		if got := p.try(t, home, "john", "pencil"); got != "" {
			t.Fatal(got)
		}
		p.hashed.Store(0)
		p.looked.Store(0)
		for i := range 10_000 {
			want := NotAuthorized
			if i >= 10 {
				want = TemporaryAuthFailure
			}
			if got := p.try(t, bad, "john", fmt.Sprint(i)); got != want {
				t.Fatalf("guess %d: %s, want %s", i, got, want)
			}
		}
		if p.hashed.Load() != 10 || p.looked.Load() != 10 {
			t.Errorf("%d passwords hashed and %d users looked up for 10,000 guesses, want 10", p.hashed.Load(), p.looked.Load())
		}
		if got := p.try(t, bad, "john", "pencil"); got != TemporaryAuthFailure {
			t.Errorf("the right password from there: %s", got) // nobody learns that it is the right one
		}
		for _, from := range []netip.Prefix{home, other} {
			began := time.Now()
			if got := p.try(t, from, "john", "pencil"); got != "" || time.Since(began) > defaultWait {
				t.Errorf("John from %v: %q, after %v", from, got, time.Since(began))
			}
		}
		if p.results[SignInRefused] != 9_991 || p.results[SignInFailed] != 10 || p.results[SignInOK] != 3 {
			t.Errorf("counted: %v", p.results)
		}
		time.Sleep(time.Minute) // a tenth of the time, a tenth of the budget
		if one, two := p.try(t, bad, "john", "x"), p.try(t, bad, "john", "x"); one != NotAuthorized || two != TemporaryAuthFailure {
			t.Errorf("a minute later: %s, %s", one, two)
		}
	})
}

// Guesses from many networks slow an account down, for whoever is not known there, and the owner gets in all the same.
func TestGuessesFromManyNetworksSlowDownAndLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t, 10)
		home := network("2001:db8:0:1::/64")
		if got := p.try(t, home, "john", "pencil"); got != "" {
			t.Fatal(got)
		}
		took := func(from netip.Prefix, user, password, want string) time.Duration {
			t.Helper()
			began := time.Now()
			if got := p.try(t, from, user, password); got != want {
				t.Errorf("%s from %v: %q, want %q", user, from, got, want)
			}
			return time.Since(began)
		}
		for _, user := range []string{"john", "nobody"} { // whether the account exists makes no difference
			var waits []time.Duration
			for i := range 30 {
				waits = append(waits, took(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32), user, "x", NotAuthorized))
			}
			for i, wait := range waits {
				switch {
				case i < 10 && wait != 0, i == 29 && wait != defaultWait, i > 0 && wait < waits[i-1], wait > defaultWait:
					t.Errorf("%s: guess %d waited %v after %v", user, i, wait, waits[max(i-1, 0)])
				}
			}
		}
		if wait := took(home, "john", "pencil", ""); wait != 0 {
			t.Errorf("John at home waited %v", wait)
		}
		if wait := took(network("203.0.113.1/32"), "john", "pencil", ""); wait < defaultWait*9/10 || wait > defaultWait {
			t.Errorf("John elsewhere waited %v", wait)
		}
		if wait := took(network("203.0.113.1/32"), "john", "pencil", ""); wait != 0 {
			t.Errorf("John waited %v where he had just been", wait)
		}
		if wait := took(network("203.0.113.2/32"), "marie", "pencil", ""); wait != 0 {
			t.Errorf("Marie waited %v", wait)
		}
		if want := []string{"john@localhost 10.0.0.10/32", "nobody@localhost 10.0.0.10/32"}; fmt.Sprint(p.exceeded) != fmt.Sprint(want) {
			t.Errorf("told of %q, want %q", p.exceeded, want)
		}
		began := time.Now()
		for i := range 120 { // who guesses as fast as the budget fills up is news once an hour
			for range 4 {
				p.try(t, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 32), "john", "x")
			}
			time.Sleep(time.Minute)
		}
		if n, hours := len(p.exceeded)-2, int(time.Since(began).Hours()); n < 1 || n > hours {
			t.Errorf("told %d times in %d hours", n, hours)
		}
	})
}

// Somebody who guesses behind the same address does not keep out those who are known there.
func TestThoseWhoShareTheAddressOfAGuesserGetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t, 5)
		nat := network("192.0.2.1/32")
		if got := p.try(t, nat, "marie", "pencil"); got != "" {
			t.Fatal(got)
		}
		for range 100 {
			p.try(t, nat, "john", "x")
		}
		if got := p.try(t, nat, "john", "pencil"); got != TemporaryAuthFailure {
			t.Errorf("John: %q", got)
		}
		for range 20 {
			if got := p.try(t, nat, "marie", "pencil"); got != "" {
				t.Fatalf("Marie: %q", got)
			}
		}
		for range 4 { // a few of her own mistakes are forgiven
			p.try(t, nat, "marie", "x")
		}
		if got := p.try(t, nat, "marie", "pencil"); got != "" {
			t.Errorf("Marie, after mistakes: %q", got)
		}
		for range 100 { // but being known is no licence to guess
			p.try(t, nat, "marie", "x")
		}
		if got := p.try(t, nat, "marie", "pencil"); got != TemporaryAuthFailure {
			t.Errorf("Marie, after a hundred: %q", got)
		}
	})
}

// Many tries at the same time are many: each counts before its password is looked at.
func TestTriesCountWhenTheyBegin(t *testing.T) {
	p := newParty(t, 5)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { p.try(t, network("192.0.2.1/32"), fmt.Sprint("user", i), "x") })
	}
	wg.Wait()
	if n := p.hashed.Load(); n != 5 {
		t.Errorf("%d passwords were hashed, want 5", n)
	}
}

// SCRAM is counted as PLAIN is, and what is no guess is not held against anybody.
func TestSCRAMCountsAndFaultsDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t, 3)
		from := network("192.0.2.1/32")
		scram := func() string {
			x, err := p.Start("SCRAM-SHA-256", Channel{Secure: true, Origin: from})
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := x.Next(t.Context(), []byte("n,,n=john,r=abc"))
			if err != nil {
				return err.(*Failure).Condition
			}
			nonce, _, _ := strings.Cut(string(out), ",")
			_, _, err = x.Next(t.Context(), []byte("c=biws,"+nonce+",p="+base64.StdEncoding.EncodeToString(make([]byte, 32))))
			return err.(*Failure).Condition
		}
		for range 20 {
			x, err := p.Start("SCRAM-SHA-256", Channel{Secure: true, Origin: from})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := x.Next(t.Context(), []byte("n,,n=john,r=abc")); err != nil {
				t.Fatal(err)
			}
			if _, _, err := x.Next(t.Context(), []byte("rubbish")); err == nil {
				t.Fatal("rubbish is taken")
			}
		}
		for i := range 3 {
			if got := scram(); got != NotAuthorized {
				t.Errorf("try %d: %s", i, got)
			}
		}
		if got := scram(); got != TemporaryAuthFailure {
			t.Errorf("try 4: %s", got)
		}
	})
}

// A client that is gone before its turn does not wait any longer.
func TestWaitingEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t, 1)
		p.try(t, netip.Prefix{}, "john", "x")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		x, err := p.Start("PLAIN", secure)
		if err != nil {
			t.Fatal(err)
		}
		began, looked := time.Now(), p.looked.Load()
		_, _, err = x.Next(ctx, []byte("\x00john\x00pencil"))
		wantFailure(t, err, TemporaryAuthFailure)
		if time.Since(began) != 100*time.Millisecond || p.looked.Load() != looked {
			t.Errorf("after %v, and the user was looked up %d times", time.Since(began), p.looked.Load()-looked)
		}
	})
}

// The tables are bounded, and whoever fills them does not get rid of a network that is being refused.
func TestGuardIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardOptions{Tries: 10})
		at := func(n int) *attempt {
			return &attempt{guard: g, host: "localhost", observe: func(string) {},
				network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)}
		}
		bad := at(0)
		for range 11 {
			bad.named = false
			err := bad.claim(t.Context(), "john")
			bad.failed(NotAuthorized)
			if err != nil {
				wantFailure(t, err, TemporaryAuthFailure)
			}
		}
		for n := range 2*maxGuarded + 1 {
			a := at(1 + n)
			if err := a.claim(t.Context(), fmt.Sprint("u", n)); err != nil {
				t.Fatal(err)
			}
			a.failed(NotAuthorized)
		}
		for n := range maxKnown + 100 {
			a := at(1<<20 + n%knownOrigins*2)
			a.named, a.name = true, accountName{"localhost", fmt.Sprint("k", n)}
			a.succeeded()
		}
		for n := range 100 {
			a := at(2<<20 + n)
			a.named, a.name = true, accountName{"localhost", "traveller"}
			a.succeeded()
		}
		if len(g.networks) > maxGuarded || len(g.accounts) > maxGuarded || len(g.known) > maxKnown {
			t.Errorf("%d networks, %d accounts, %d known", len(g.networks), len(g.accounts), len(g.known))
		}
		if n := len(g.known[accountName{"localhost", "traveller"}]); n != knownOrigins {
			t.Errorf("the traveller is known at %d places", n)
		}
		bad.named = false
		wantFailure(t, bad.claim(t.Context(), "john"), TemporaryAuthFailure)
	})
}

// upgrading is a source that keeps passwords hashed anew.
type upgrading struct {
	users
	upgrades int
}

func (u *upgrading) Upgrade(_ context.Context, username string, storedKey []byte, c Credentials) error {
	if string(u.users[username].SHA256.StoredKey) != string(storedKey) {
		return ErrUnknownUser
	}
	c.Version = u.users[username].Version
	u.users[username] = c
	u.upgrades++
	return nil
}

func TestPLAINHashesAnew(t *testing.T) {
	old := pencil()
	old.Version = 7
	src := &upgrading{users: users{"john": old}}
	const more = Iterations + 1
	s := newServer(t, Accounts{Source: src, Plain: true}, func(c *Config) { c.Iterations = more })
	_, _, _, err := say(t, s, "PLAIN", secure, "\x00john\x00crayon")
	wantFailure(t, err, NotAuthorized)
	if src.upgrades != 0 {
		t.Fatal("hashed anew for who does not know it")
	}
	before, _, _, err := say(t, s, "PLAIN", secure, "\x00john\x00pencil")
	if err != nil {
		t.Fatal(err)
	}
	after, _, _, err := say(t, s, "PLAIN", secure, "\x00john\x00pencil")
	if err != nil {
		t.Fatal(err)
	}
	c := src.users["john"]
	if src.upgrades != 1 || c.SHA1.Iterations != more || c.SHA256.Iterations != more {
		t.Errorf("%d upgrades, to %d and %d iterations", src.upgrades, c.SHA1.Iterations, c.SHA256.Iterations)
	}
	if before.Credential() == 0 || before.Credential() != after.Credential() {
		t.Error("it is one password, and told apart")
	}
	c.Version++
	src.users["john"] = c
	other, _, _, err := say(t, s, "PLAIN", secure, "\x00john\x00pencil")
	if err != nil || other.Credential() == after.Credential() {
		t.Errorf("another password is not told apart: %v", err)
	}
	if k := s.decoy(&hashSHA256, "jane"); k.Iterations != more {
		t.Errorf("who does not exist has %d iterations", k.Iterations)
	}
}

// Of tries that do not fail nothing is kept but where they came from: everybody signs in now and then.
func TestNothingStaysOfTriesThatSucceed(t *testing.T) {
	p := newParty(t, 10)
	for i := range 3 {
		if got := p.try(t, network(fmt.Sprintf("192.0.2.%d/32", i)), "john", "pencil"); got != "" {
			t.Fatal(got)
		}
	}
	if g := p.guard; len(g.accounts) != 0 || len(g.networks) != 0 || len(g.known) != 1 {
		t.Errorf("%d accounts, %d networks, %d known", len(g.accounts), len(g.networks), len(g.known))
	}
	p.try(t, network("192.0.2.9/32"), "john", "pen")
	p.try(t, network("192.0.2.8/32"), "john", "pencil")
	if g := p.guard; len(g.accounts) != 1 || len(g.networks) != 1 {
		t.Errorf("after one that failed: %d accounts, %d networks", len(g.accounts), len(g.networks))
	}
}
