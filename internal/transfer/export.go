package transfer

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strconv"

	"rollcall/internal/feature/blocking"
	"rollcall/internal/feature/pep"
	"rollcall/internal/feature/private"
	"rollcall/internal/feature/vcard"
	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// ExportXML writes the accounts of hosts as XEP-0227 has them: keys for SCRAM, messages that wait, private XML, vCards, nodes of
// personal eventing, and whom users have blocked. There are no passwords, which nobody has, and no rosters, which the
// application has. It tells how many accounts it wrote, and how many of them are disabled, which other servers do not know.
func ExportXML(ctx context.Context, out io.Writer, s *store.Store, hosts []string) (n, disabled int, err error) {
	w := &exporter{out: bufio.NewWriter(out), store: s}
	w.text("<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='" + ns.PIE + "'>\n")
	for _, host := range hosts {
		w.open("host", "jid", host)
		for a, err := range s.Accounts(ctx, host) {
			if err != nil {
				return n, disabled, err
			}
			if err := w.account(ctx, a); err != nil {
				return n, disabled, err
			}
			n++
			if a.Disabled {
				disabled++
			}
		}
		w.text("</host>\n")
	}
	w.text("</server-data>\n")
	return n, disabled, w.out.Flush()
}

// An exporter writes. The first error of its writer stays, and Flush tells it.
type exporter struct {
	out   *bufio.Writer
	store *store.Store
	buf   []byte
}

func (w *exporter) text(s string) { _, _ = w.out.WriteString(s) }

func (w *exporter) open(name, attribute, value string) {
	w.buf = append(append(w.buf[:0], '<'), name...)
	w.buf = append(append(append(w.buf, ' '), attribute...), "='"...)
	w.buf = append(xmlstream.AppendEscaped(w.buf, value), "'>\n"...)
	_, _ = w.out.Write(w.buf)
}

func (w *exporter) element(el *xmlstream.Element) {
	w.buf = append(el.AppendXML(w.buf[:0], ns.PIE), '\n')
	_, _ = w.out.Write(w.buf)
}

func (w *exporter) account(ctx context.Context, a store.Account) error {
	w.open("user", "name", a.Username)
	w.keys("SCRAM-SHA-1", a.Credentials.SHA1)
	w.keys("SCRAM-SHA-256", a.Credentials.SHA256)
	if a.Disabled {
		w.element(xmlstream.New(nsDisabled, "disabled"))
	}
	for _, part := range []func(context.Context, store.Account) error{w.private, w.vcard, w.blocked, w.nodes, w.messages} {
		if err := part(ctx, a); err != nil {
			return err
		}
	}
	w.text("</user>\n")
	return nil
}

func (w *exporter) keys(mechanism string, k store.Keys) {
	if len(k.StoredKey) == 0 {
		return
	}
	el := xmlstream.New(ns.PIESCRAM, "scram-credentials", "mechanism", mechanism)
	for _, c := range [][2]string{{"iter-count", strconv.Itoa(k.Iterations)}, {"salt", base64.StdEncoding.EncodeToString(k.Salt)},
		{"server-key", base64.StdEncoding.EncodeToString(k.ServerKey)}, {"stored-key", base64.StdEncoding.EncodeToString(k.StoredKey)}} {
		el.Append(xmlstream.New(ns.PIESCRAM, c[0]).AppendText(c[1]))
	}
	w.element(el)
}

// value reads what a feature has stored; nil when there is nothing.
func (w *exporter) value(ctx context.Context, a store.Account, space, name string) ([]byte, error) {
	v, err := w.store.Value(ctx, store.Key{Host: a.Host, Username: a.Username, Space: space, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

func (w *exporter) private(ctx context.Context, a store.Account) error {
	return w.stored(ctx, a, private.Space, private.Export)
}

func (w *exporter) vcard(ctx context.Context, a store.Account) error {
	return w.stored(ctx, a, vcard.Space, vcard.Export)
}

func (w *exporter) stored(ctx context.Context, a store.Account, space string, read func([]byte) (*xmlstream.Element, error)) error {
	v, err := w.value(ctx, a, space, "")
	if v == nil || err != nil {
		return err
	}
	el, err := read(v)
	if err != nil {
		return at(a.Username+"@"+a.Host+": what is stored as "+space, err)
	}
	w.element(el)
	return nil
}

// blocked writes a list as clients get it (XEP-0191 section 3.2): the document knows privacy lists only, which are not here.
func (w *exporter) blocked(ctx context.Context, a store.Account) error {
	v, err := w.value(ctx, a, blocking.Space, blocking.ListName)
	if v == nil || err != nil {
		return err
	}
	el := xmlstream.New(ns.Blocking, "blocklist")
	for _, j := range blocking.Export(v) {
		el.Append(xmlstream.New(ns.Blocking, "item", "jid", j.String()))
	}
	w.element(el)
	return nil
}

// nodes writes the configurations first, and then the items.
func (w *exporter) nodes(ctx context.Context, a store.Account) error {
	for _, part := range []struct {
		space string
		of    func(pep.ExportedNode) *xmlstream.Element
	}{
		{ns.PubsubOwner, func(n pep.ExportedNode) *xmlstream.Element { return n.Configure }},
		{ns.Pubsub, func(n pep.ExportedNode) *xmlstream.Element { return n.Items }},
	} {
		some := false
		for n, err := range pep.Export(ctx, w.store, a.Host, a.Username) {
			if err != nil {
				return at(a.Username+"@"+a.Host, err)
			}
			if !some {
				w.open("pubsub", "xmlns", part.space)
				some = true
			}
			w.element(part.of(n))
		}
		if some {
			w.text("</pubsub>\n")
		}
	}
	return nil
}

func (w *exporter) messages(ctx context.Context, a store.Account) error {
	for after, some := store.ID(0), false; ; {
		page, err := w.store.Waiting(ctx, a.Host, a.Username, after, 0)
		if err != nil {
			return err
		}
		if len(page.Messages) > 0 && !some {
			w.text("<offline-messages>\n")
			some = true
		}
		for _, m := range page.Messages {
			el, err := host.Waiting(m)
			if err != nil {
				return at(a.Username+"@"+a.Host+": a message that waits", err)
			}
			w.element(el)
			after = m.ID
		}
		if !page.More {
			if some {
				w.text("</offline-messages>\n")
			}
			return nil
		}
	}
}
