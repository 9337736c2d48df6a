package auth

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
	"unicode/utf8"
)

// Registrations bounds how many accounts clients make for themselves (XEP-0077 v2.4 section 3.1, XEP-0205 v1.0 section 3). There is a
// budget for each network and one for each host, which fill up again in an hour. It is tries that count, those for a name that is
// taken among them: who asks for names learns which there are, and is to learn it of few.
//
// What it knows is bounded, and is gone with the process. It is shared by all hosts; its methods may be called by any goroutine.
type Registrations struct {
	log *slog.Logger

	mu       sync.Mutex
	network  size
	host     size
	networks map[netip.Prefix]budget
	hosts    map[string]budget // by domain, as many as there are
}

const registrationTime = time.Hour // in which a budget fills up

// NewRegistrations makes one with budgets of those sizes; 0: as many as like.
func NewRegistrations(perNetwork, perHost int, log *slog.Logger) *Registrations {
	r := &Registrations{log: log, networks: map[netip.Prefix]budget{}, hosts: map[string]budget{}}
	r.Adjust(perNetwork, perHost)
	return r
}

// Adjust takes over other sizes. What has been spent stays spent.
func (r *Registrations) Adjust(perNetwork, perHost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.network, r.host = size{max(0, perNetwork), registrationTime}, size{max(0, perHost), registrationTime}
}

// Try counts a try from a network, the zero value for one that stands for nobody in particular. It is false, and nothing is
// counted, when one of the budgets is used up.
func (r *Registrations) Try(host string, network netip.Prefix) bool {
	ok, networkOver, hostOver := r.count(host, network, time.Now())
	if networkOver {
		r.log.Warn("registrations are refused: too many from one network", "from", network, "limit", "limits.registrations_per_address")
	}
	if hostOver {
		r.log.Warn("registrations are refused: too many for one host", "host", host, "limit", "limits.registrations")
	}
	return ok
}

// count tells beside that which of the budgets it was that refused, when it is time to say so.
func (r *Registrations) count(host string, network netip.Prefix, now time.Time) (ok, networkOver, hostOver bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of, all := r.networks[network], r.hosts[host]
	counted, total := r.network.most > 0 && network.IsValid(), r.host.most > 0
	switch {
	case counted && !r.network.spend(&of, now):
		networkOver = of.tell(now)
		r.networks[network] = of
		return false, networkOver, false
	case total && !r.host.spend(&all, now):
		hostOver = all.tell(now)
		r.hosts[host] = all
		return false, false, hostOver
	}
	if counted {
		keep(r.networks, network, of, maxGuarded, r.network.lessSpent(now))
	}
	if total {
		r.hosts[host] = all
	}
	return true, false, false
}

// CheckPassword tells why a new password, which is to have a number of characters at least, cannot be one, without quoting it and
// without hashing it. What is counted are those that are hashed.
func CheckPassword(password string, least int) error {
	prepared, err := preparePassword(password)
	if err == nil && utf8.RuneCountInString(prepared) < least {
		err = fmt.Errorf("auth: the password is shorter than %d characters", least)
	}
	return err
}

// Private tells whether a client may say a password on a channel as it is, as PLAIN has it.
func (s *Server) Private(ch Channel) bool { return s.private(ch) == nil }
