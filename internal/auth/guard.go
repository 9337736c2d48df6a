package auth

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Guard slows down those who guess passwords, and nobody else (XEP-0205 v1.0 section 3, RFC 6120 section 13.12). It has budgets of
// failed tries, each of the same size, which fill up again in ten minutes:
//
//   - that of a network. Once it is used up, tries from there are refused before anything is looked up or hashed.
//   - that of an account. Tries beyond it are never refused, for then anybody could lock the owner out: they wait, some seconds
//     at most, whoever makes them and whether there is such an account or not.
//   - that of a network together with an account that has signed in from there before. As long as it lasts the others do not
//     count, so that a known user is neither held up by those who guess elsewhere nor by those who share the address.
//
// What it knows is bounded, and is gone with the process. A Guard is shared by all hosts, and nil does nothing.
type Guard struct {
	o GuardOptions

	mu       sync.Mutex
	tries    int           // see SetTries
	maxWait  time.Duration // likewise
	networks map[netip.Prefix]budget
	accounts map[accountName]budget
	known    map[accountName][]origin
}

// GuardOptions make a Guard.
type GuardOptions struct {
	// Tries is the size of the budgets: how many may fail in ten minutes; 0: as many as like.
	Tries int
	// MaxWait is the longest that a try waits; 0: 8 s.
	MaxWait time.Duration
	// Exceeded, which may be nil, is told that the budget of an account, which need not exist, has been used up by guesses, the
	// last of which came from a network, and how many tries that were: once an hour for one account. It does not block.
	Exceeded func(host, username string, last netip.Prefix, tries int)
	Log      *slog.Logger // nil: none
}

const (
	forgiveness = 10 * time.Minute // in which a budget fills up
	tellAgain   = time.Hour
	waitStep    = 500 * time.Millisecond
	defaultWait = 8 * time.Second

	// Each table has that many entries at most. When one is full, an entry with the least to lose of a few gives way: filling
	// a table with names or networks does not get rid of one that is being slowed down.
	maxGuarded   = 16 << 10
	maxKnown     = 64 << 10
	knownOrigins = 8 // of one account
	considered   = 8
)

// accountName names an account, which need not exist.
type accountName struct{ host, user string }

// An origin is a network from which an account has signed in.
type origin struct {
	network netip.Prefix
	since   time.Time // last
	budget  budget
}

// NewGuard makes a Guard.
func NewGuard(o GuardOptions) *Guard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{o: o, networks: map[netip.Prefix]budget{}, accounts: map[accountName]budget{}, known: map[accountName][]origin{}}
	g.SetTries(o.Tries, o.MaxWait)
	return g
}

// SetTries takes over Tries and MaxWait of other options. What has been spent stays spent.
func (g *Guard) SetTries(tries int, maxWait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tries, g.maxWait = max(0, tries), cmp.Or(maxWait, defaultWait)
}

// An attempt is a try to sign in. It counts from the moment at which the client has said who it is: many at the same time are
// many.
type attempt struct {
	guard   *Guard
	host    string
	network netip.Prefix
	observe func(string)

	named bool
	name  accountName
	wrong bool // it is counted already that what the client has shown is not good
	// What it was counted in.
	origin, inNetwork, inAccount bool
}

// claim says who the client wants to be, a canonical localpart, before anything about that is looked at. It may wait. The error
// is a *Failure when the try is refused, or that of ctx.
func (a *attempt) claim(ctx context.Context, username string) error {
	if a == nil || a.guard == nil || a.named {
		return nil
	}
	a.named, a.name = true, accountName{a.host, username}
	wait, refused := a.guard.enter(a)
	if refused {
		a.observe(SignInRefused)
		return &Failure{Condition: TemporaryAuthFailure, Text: "too many tries from your network have failed; wait some minutes"}
	}
	if wait == 0 {
		return nil
	}
	a.observe(SignInSlowed)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gone before its turn: %w", context.Cause(ctx))
	}
}

// showedNothing says that what the client has shown is not good, nobody's, before the exchange is over: it may never be.
func (a *attempt) showedNothing() {
	if a == nil {
		return
	}
	a.observe(SignInFailed)
	a.wrong = true
	if a.guard != nil {
		a.guard.mu.Lock()
		defer a.guard.mu.Unlock()
		a.guard.blame(a.network)
	}
}

// blame counts a try of a network that names nobody.
func (g *Guard) blame(network netip.Prefix) {
	if !network.IsValid() {
		return
	}
	b, now := g.networks[network], time.Now()
	g.spend(&b, now)
	keep(g.networks, network, b, maxGuarded, g.lessSpent(now))
}

// enter counts a try, and tells how long it has to wait.
func (g *Guard) enter(a *attempt) (wait time.Duration, refused bool) {
	wait, refused, last, exceeded := g.count(a, time.Now())
	if last {
		g.o.Log.Warn("tries to sign in are refused: too many from one network have failed", "from", a.network)
	}
	if exceeded > 0 {
		g.o.Log.Warn("tries to sign in have to wait: too many for one account have failed",
			"host", a.host, "user", a.name.user, "last_from", a.network)
		if g.o.Exceeded != nil {
			g.o.Exceeded(a.host, a.name.user, a.network, exceeded)
		}
	}
	return wait, refused
}

// count tells beside that whether it was the last try of its network, and how many tries the account's budget had if it was
// used up with it, else 0.
func (g *Guard) count(a *attempt, now time.Time) (wait time.Duration, refused, last bool, exceeded int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tries == 0 {
		return 0, false, false, 0
	}
	if i := g.find(a); i >= 0 {
		if g.spend(&g.known[a.name][i].budget, now) {
			a.origin = true
			return 0, false, false, 0
		}
	}
	if a.network.IsValid() {
		b := g.networks[a.network]
		if !g.spend(&b, now) {
			return 0, true, false, 0
		}
		a.inNetwork, last = true, g.left(b, now) < 1 && b.tell(now)
		keep(g.networks, a.network, b, maxGuarded, g.lessSpent(now))
	}
	size := float64(g.tries)
	b := g.accounts[a.name]
	b.spent, b.at = min(g.spent(b, now)+1, size+float64(g.maxWait)/float64(waitStep)), now
	a.inAccount = true
	if b.spent > size && b.tell(now) {
		exceeded = g.tries
	}
	keep(g.accounts, a.name, b, maxGuarded, g.lessSpent(now))
	if over := b.spent - size; over > 0 {
		wait = min(g.maxWait, time.Duration(over*float64(waitStep)))
	}
	return wait, false, last, exceeded
}

// failed says that the try came to nothing. Only a wrong password, or name, is held against anybody.
func (a *attempt) failed(condition string) {
	if a == nil || a.wrong {
		return
	}
	if condition == NotAuthorized {
		a.observe(SignInFailed)
	}
	if a.guard == nil {
		return
	}
	a.guard.mu.Lock()
	defer a.guard.mu.Unlock()
	switch {
	case condition != NotAuthorized:
		a.guard.refund(a)
	case !a.named: // a name that nobody can have
		a.guard.blame(a.network)
	}
}

// succeeded says that somebody has proven to be the user.
func (a *attempt) succeeded() {
	if a == nil {
		return
	}
	a.observe(SignInOK)
	if a.guard == nil || !a.named {
		return
	}
	g := a.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refund(a)
	if !a.network.IsValid() {
		return
	}
	now := time.Now()
	if i := g.find(a); i >= 0 {
		g.known[a.name][i] = origin{network: a.network, since: now}
		return
	}
	list := g.known[a.name]
	if len(list) >= knownOrigins {
		oldest := slices.MinFunc(list, func(x, y origin) int { return x.since.Compare(y.since) })
		list = slices.DeleteFunc(slices.Clone(list), func(o origin) bool { return o == oldest })
	}
	list = append(list, origin{network: a.network, since: now})
	keep(g.known, a.name, list, maxKnown, func(x, y []origin) int { return x[len(x)-1].since.Compare(y[len(y)-1].since) })
}

// refund takes back what the try was counted in.
func (g *Guard) refund(a *attempt) {
	now := time.Now()
	if i := g.find(a); a.origin && i >= 0 {
		g.forgive(&g.known[a.name][i].budget, now)
	}
	if a.inNetwork {
		restore(g, g.networks, a.network, now)
	}
	if a.inAccount {
		restore(g, g.accounts, a.name, now)
	}
	a.origin, a.inNetwork, a.inAccount = false, false, false
}

// restore takes one try back. Most people's tries do not fail, and of them nothing stays in the table.
func restore[K comparable](g *Guard, table map[K]budget, key K, now time.Time) {
	b, ok := table[key]
	if !ok {
		return
	}
	g.forgive(&b, now)
	if b.spent == 0 && now.Sub(b.told) >= tellAgain {
		delete(table, key)
		return
	}
	table[key] = b
}

func (g *Guard) find(a *attempt) int {
	if !a.network.IsValid() {
		return -1
	}
	return slices.IndexFunc(g.known[a.name], func(o origin) bool { return o.network == a.network })
}

// size is that of the budgets.
func (g *Guard) size() size { return size{g.tries, forgiveness} }

// spent is what is held against somebody now.
func (g *Guard) spent(b budget, now time.Time) float64 { return g.size().spent(b, now) }

func (g *Guard) left(b budget, now time.Time) float64 { return g.size().left(b, now) }

func (g *Guard) spend(b *budget, now time.Time) bool { return g.size().spend(b, now) }

func (g *Guard) forgive(b *budget, now time.Time) { g.size().forgive(b, now) }

func (g *Guard) lessSpent(now time.Time) func(x, y budget) int { return g.size().lessSpent(now) }

type attemptKey struct{}

// claim tells the attempt of a context whom the client wants to be. Every mechanism comes by here, in identity.
func claim(ctx context.Context, username string) error {
	return attemptOf(ctx).claim(ctx, username)
}

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}
