package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"rollcall/internal/auth"
	"rollcall/internal/store"
)

// A state is what becomes of a user.
type state uint8

const (
	adding state = iota
	updating
	skipping
	failed
	dataOnly
)

// workers is how many users are worked at, at a time: hashing takes a processor, and the store writes in one go what comes together.
const workers = 16

// flush imports the batch.
func (im *Importer) flush(ctx context.Context) error {
	batch := im.batch
	im.batch, im.bytes = nil, 0
	if len(batch) == 0 {
		return nil
	}
	if err := each(ctx, batch, im.decide); err != nil {
		return err
	}
	for _, r := range batch {
		if r.state == skipping && im.o.Existing == Fail {
			return at(r.where, fmt.Errorf("%s exists already; --existing=skip leaves such users alone, --existing=update gives them the password", r.user))
		}
	}
	var bad sync.Map // *record → error
	if err := each(ctx, batch, func(ctx context.Context, r *record) error {
		if err := im.prepare(ctx, r); err != nil {
			var p *passwordError
			if !errors.As(err, &p) {
				return err
			}
			r.state = failed
			bad.Store(r, err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := im.accounts(ctx, batch); err != nil {
		return err
	}
	for _, r := range batch {
		if err, is := bad.Load(r); is {
			im.fail(r.where, err.(error))
		}
		im.count(r)
	}
	return nil
}

// count adds what has become of a user to the report.
func (im *Importer) count(r *record) {
	switch r.state {
	case adding:
		im.report.Added++
		if im.o.DryRun {
			im.would[r.user] = struct{}{}
		}
		im.report.Taken.merge(r.taken)
	case dataOnly:
		im.report.DataOnly++
		im.report.Taken.merge(r.taken)
		if r.hasKeys() || r.password != "" {
			im.report.Left.add("passwords of users whose host does not look at accounts", 1)
		}
	case updating:
		im.report.Updated++
		im.report.Left.merge(r.taken)
	case skipping:
		im.report.Skipped++
		im.report.Left.merge(r.taken)
	case failed:
		im.report.Left.merge(r.taken)
	}
}

// decide finds out who has an account.
func (im *Importer) decide(ctx context.Context, r *record) error {
	if !r.host.Accounts {
		r.state = dataOnly
		return nil
	}
	_, err := im.o.Store.Account(ctx, r.user.Domain(), r.user.Local())
	_, would := im.would[r.user]
	switch {
	case errors.Is(err, store.ErrNotFound) && !would:
		r.state = adding
	case err != nil && !would:
		return at(r.where, err)
	case im.o.Existing == Update:
		r.state = updating
	default:
		r.state = skipping
	}
	return nil
}

// A passwordError says why a password cannot be one.
type passwordError struct{ error }

// prepare hashes a user's password and stores all but the account.
func (im *Importer) prepare(ctx context.Context, r *record) error {
	if (r.state == adding || r.state == updating) && !r.hasKeys() {
		iterations := r.host.Iterations
		if im.o.DryRun {
			iterations = 1 // whether it can be one is to be known
		}
		c, err := auth.MakeCredentialsWith(r.password, iterations)
		if err != nil {
			return &passwordError{errors.New(strings.TrimPrefix(err.Error(), "auth: "))}
		}
		r.account.Credentials = store.Credentials{SHA1: store.Keys(c.SHA1), SHA256: store.Keys(c.SHA256)}
	}
	if im.o.DryRun || r.state != adding && r.state != dataOnly {
		return nil
	}
	for _, v := range r.values {
		if err := im.store(ctx, r, v); err != nil {
			return at(r.where, err)
		}
	}
	if err := im.post(ctx, r); err != nil {
		return at(r.where, err)
	}
	return nil
}

// store writes a value where there is none. A user without an account, who signs in by a token, may have something.
func (im *Importer) store(ctx context.Context, r *record, v value) error {
	k := store.Key{Host: r.user.Domain(), Username: r.user.Local(), Space: v.space, Name: v.Name}
	return im.o.Store.UpdateValue(ctx, k, 0, func(old []byte) ([]byte, error) {
		switch {
		case v.merge != nil:
			return v.merge(v.Name, old, v.Value)
		case old != nil:
			return old, nil
		}
		return v.Value, nil
	})
}

// appended is how many messages the store takes at a time.
const appended = 16

// post puts messages into the user's mailbox, but those that an import that broke off has put there.
func (im *Importer) post(ctx context.Context, r *record) error {
	if len(r.messages) == 0 {
		return nil
	}
	there, err := im.posted(ctx, r)
	if err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(r.messages), func(e store.Entry) bool {
		sum := sha256.Sum256(e.Stanza)
		if there[sum] == 0 {
			return false
		}
		there[sum]--
		return true
	})
	for chunk := range slices.Chunk(fresh, appended) {
		done := make(chan error, 1)
		im.o.Store.Append(chunk, func(_ []store.ID, err error) { done <- err })
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// posted counts those of the user's messages, by their hashes, that are in the mailbox. Of others there it remembers nothing.
func (im *Importer) posted(ctx context.Context, r *record) (map[[sha256.Size]byte]int, error) {
	there := make(map[[sha256.Size]byte]int, len(r.messages))
	for _, e := range r.messages {
		there[sha256.Sum256(e.Stanza)] = 0
	}
	for after := store.ID(0); ; {
		page, err := im.o.Store.Waiting(ctx, r.user.Domain(), r.user.Local(), after, 0)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			sum := sha256.Sum256(m.Stanza)
			if n, asked := there[sum]; asked {
				there[sum] = n + 1
			}
			after = m.ID
		}
		if !page.More {
			return there, nil
		}
	}
}

// accounts adds and changes the accounts of the batch.
func (im *Importer) accounts(ctx context.Context, batch []*record) error {
	if im.o.DryRun {
		return nil
	}
	for _, s := range []state{adding, updating} {
		var all []store.ImportedAccount
		for _, r := range batch {
			if r.state == s {
				all = append(all, r.account)
			}
		}
		if len(all) == 0 {
			continue
		}
		if err := im.o.Store.ImportAccounts(ctx, all, s == updating); err != nil {
			return at(batch[0].where+" and after", err)
		}
	}
	return nil
}

// each runs something for every user, some at a time, and gives the first error.
func each(ctx context.Context, batch []*record, do func(context.Context, *record) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan *record)
	var wg sync.WaitGroup
	for range min(workers, len(batch)) {
		wg.Go(func() {
			for r := range work {
				if ctx.Err() == nil {
					if err := do(ctx, r); err != nil {
						cancel(err)
					}
				}
			}
		})
	}
	for _, r := range batch {
		work <- r
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
