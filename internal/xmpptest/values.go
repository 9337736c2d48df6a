package xmpptest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"rollcall/internal/store"
)

// A Disk keeps values too, in a map, and fails with them as it does with rosters.

// attachValues gives the disk's values to a new process.
func (d *Disk) attachValues() store.Values {
	d.mu.Lock()
	defer d.mu.Unlock()
	return process{d, d.power}
}

// Read gives a value as it is on the disk, store.ErrNotFound when there is none.
func (d *Disk) Read(k store.Key) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if value, ok := d.values[k]; ok {
		return bytes.Clone(value), nil
	}
	return nil, store.ErrNotFound
}

// Value implements store.Values.
func (p process) Value(_ context.Context, k store.Key) ([]byte, error) {
	if _, err := p.use(false); err != nil {
		return nil, err
	}
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	value, ok := p.disk.values[k]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(value), nil
}

// SetValue implements store.Values.
func (p process) SetValue(ctx context.Context, k store.Key, value []byte, limit int) error {
	return p.UpdateValue(ctx, k, limit, func([]byte) ([]byte, error) { return append([]byte{}, value...), nil })
}

// RemoveValue implements store.Values.
func (p process) RemoveValue(ctx context.Context, k store.Key) error {
	return p.UpdateValue(ctx, k, 0, func(old []byte) ([]byte, error) {
		if old == nil {
			return nil, store.ErrNotFound
		}
		return nil, nil
	})
}

// UpdateValue implements store.Values.
func (p process) UpdateValue(_ context.Context, k store.Key, limit int, change func(old []byte) ([]byte, error)) error {
	failure, err := p.use(true)
	if err != nil {
		return err
	}
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	old, there := p.disk.values[k]
	fresh, err := change(bytes.Clone(old))
	if err != nil {
		return err
	}
	if failure == Faulty {
		panic(fmt.Sprintf("%+v: %s", k, fresh))
	}
	n := 0
	for other := range p.disk.values {
		if other.Host == k.Host && other.Username == k.Username && other.Space == k.Space {
			n++
		}
	}
	switch {
	case fresh == nil:
		delete(p.disk.values, k)
	case !there && limit > 0 && n >= limit:
		return store.ErrLimit
	default:
		p.disk.values[k] = fresh
	}
	if failure == Lies {
		return errDisk
	}
	return nil
}

// Values implements store.Values.
func (p process) Values(_ context.Context, host, username, space, prefix string) iter.Seq2[store.NamedValue, error] {
	return func(yield func(store.NamedValue, error) bool) {
		if _, err := p.use(false); err != nil {
			yield(store.NamedValue{}, err)
			return
		}
		p.disk.mu.Lock()
		all := maps.Clone(p.disk.values)
		p.disk.mu.Unlock()
		keys := slices.SortedFunc(maps.Keys(all), func(a, b store.Key) int { return cmp.Compare(a.Name, b.Name) })
		for _, k := range keys {
			if k.Host != host || k.Username != username || k.Space != space || !strings.HasPrefix(k.Name, prefix) {
				continue
			}
			if !yield(store.NamedValue{Name: k.Name, Value: bytes.Clone(all[k])}, nil) {
				return
			}
		}
	}
}
