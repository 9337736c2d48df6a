// Package transfer brings users from other servers and to them, as CSV (RFC 4180) and as XML (XEP-0227 v1.1, Portable
// Import/Export Format for XMPP-IM Servers), with SCRAM keys as RFC 5803 section 3.1 writes them and XEP-0227 section 4.3.
//
// Nothing is held in memory but some users at a time, however many there are. Users are added in batches: their data first, and
// then their accounts, all of a batch or none. Who has an account is therefore complete, and an import that broke off is done
// again with Skip; what of it was stored already is found and not stored twice.
//
// Rosters are the application's and are not taken. What else has no place here is counted, by what it is.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"rollcall/internal/jid"
	"rollcall/internal/store"
)

// A Policy says what becomes of users who have an account already.
type Policy string

// The policies.
const (
	Fail   Policy = "fail"   // nothing of their batch is done, and the import ends
	Skip   Policy = "skip"   // they are left alone
	Update Policy = "update" // they get the password, and are disabled or not as it says; what is stored of them stays
)

// A Host is one of this server.
type Host struct {
	Name       string // canonical domain
	Accounts   bool   // its users have accounts here; otherwise their data alone is taken
	Iterations int    // of PBKDF2, for passwords
}

// Options says how users are imported.
type Options struct {
	Store    *store.Store
	Hosts    []Host
	Existing Policy
	DryRun   bool
	// Problem is told of each user who is not imported, and why, with the file and the line.
	Problem func(error)
}

// A Report is what an import has done, or would have.
type Report struct {
	Added, Updated, Skipped int // accounts
	DataOnly                int // users whose host has no accounts
	Failed                  int // users who cannot be imported: Options.Problem has heard of each
	Taken, Left             Counts
}

// Counts are numbers of things by what they are.
type Counts map[string]int

// maxKinds bounds what may be told apart: names of elements are others' words.
const maxKinds = 60

func (c Counts) add(kind string, n int) {
	if n == 0 {
		return
	}
	if _, known := c[kind]; !known && len(c) >= maxKinds {
		kind = "others"
	}
	c[kind] += n
}

func (c Counts) merge(other Counts) {
	for kind, n := range other {
		c.add(kind, n)
	}
}

// Kinds lists the kinds in order.
func (c Counts) Kinds() []string { return slices.Sorted(maps.Keys(c)) }

// What is taken of a user beside the account.
const (
	kindMessages = "messages that waited"
	kindPrivate  = "pieces of private XML"
	kindVCards   = "vCards"
	kindItems    = "items of personal eventing"
	kindNodes    = "nodes of personal eventing"
	kindBlocked  = "blocked addresses"
)

// A record is a user as a file has it.
type record struct {
	where    string // file:line
	user     jid.JID
	host     *Host
	password string
	account  store.ImportedAccount
	values   []value
	messages []store.Entry
	taken    Counts
	size     int // bytes, roughly
	state    state
}

type value struct {
	space string
	store.NamedValue
	merge func(name string, old, fresh []byte) ([]byte, error) // nil: what is there stays
}

// keep adds what is stored in a space.
func (r *record) keep(space, kind string, n int, values []store.NamedValue, merge func(string, []byte, []byte) ([]byte, error)) {
	for _, v := range values {
		r.values = append(r.values, value{space, v, merge})
		r.size += len(v.Value)
	}
	r.taken.add(kind, n)
}

func (r *record) hasKeys() bool {
	c := r.account.Credentials
	return c.SHA1.StoredKey != nil || c.SHA256.StoredKey != nil
}

// Bounds of a batch and of one user, in bytes. What a user has beyond it is left, and counted.
const (
	batchUsers = 200
	batchBytes = 16 << 20
	userBytes  = 32 << 20
)

// An Importer imports users from files.
type Importer struct {
	o      Options
	hosts  map[string]*Host
	batch  []*record
	bytes  int
	report Report
	would  map[jid.JID]struct{} // of a dry run: who would have been added
}

// NewImporter makes one.
func NewImporter(o Options) *Importer {
	im := &Importer{o: o, hosts: map[string]*Host{}, report: Report{Taken: Counts{}, Left: Counts{}}, would: map[jid.JID]struct{}{}}
	for i := range o.Hosts {
		im.hosts[o.Hosts[i].Name] = &o.Hosts[i]
	}
	return im
}

// Finish imports what has been read and not been imported yet, and tells what was done. It is called after an error too: what was
// done before it stays done.
func (im *Importer) Finish(ctx context.Context, err error) (Report, error) {
	if err == nil {
		err = im.flush(ctx)
	}
	return im.report, err
}

// at is an error at a place of a file.
func at(where string, err error) error { return fmt.Errorf("%s: %w", where, err) }

// fail notes that a user cannot be imported.
func (im *Importer) fail(where string, err error) {
	im.report.Failed++
	im.o.Problem(at(where, err))
}

// user gives the address of a user of a host, or tells why nobody has it.
func (im *Importer) user(local, domain string) (jid.JID, *Host, error) {
	user, err := jid.New(local, domain, "")
	if err != nil {
		return user, nil, err
	}
	if user.Local() == "" {
		return user, nil, errors.New("a user has a name")
	}
	h := im.hosts[user.Domain()]
	if h == nil {
		return user, nil, fmt.Errorf("this server has no host %q", user.Domain())
	}
	return user, h, nil
}

// add takes a user who has been read. Who comes twice is at the second time one who exists.
func (im *Importer) add(ctx context.Context, r *record) error {
	if err := r.check(); err != nil {
		im.fail(r.where, err)
		return nil
	}
	for _, other := range im.batch {
		if other.user == r.user {
			if err := im.flush(ctx); err != nil {
				return err
			}
			break
		}
	}
	im.batch = append(im.batch, r)
	im.bytes += r.size
	if len(im.batch) >= batchUsers || im.bytes >= batchBytes {
		return im.flush(ctx)
	}
	return nil
}

// check tells why a user cannot be imported.
func (r *record) check() error {
	r.account.Host, r.account.Username = r.user.Domain(), r.user.Local()
	if !r.host.Accounts {
		return nil
	}
	if r.hasKeys() {
		return r.account.Check()
	}
	if r.password == "" {
		return errors.New("there is neither a password nor keys for SCRAM-SHA-1 or SCRAM-SHA-256, so nobody could sign in")
	}
	return nil
}
