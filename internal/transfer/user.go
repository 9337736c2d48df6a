package transfer

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"rollcall/internal/feature/blocking"
	"rollcall/internal/feature/pep"
	"rollcall/internal/feature/private"
	"rollcall/internal/feature/vcard"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// nsDisabled is ours: a disabled account, in exports.
const nsDisabled = "urn:x-rollcall:account:0"

// host reads a <host/> (section 4.1).
func (d *document) host(ctx context.Context, start xml.StartElement) error {
	if start.Name != (xml.Name{Space: ns.PIE, Local: "host"}) {
		return d.leave(start)
	}
	domain := attribute(start, "jid")
	canonical, err := jid.Domainpart(domain)
	if err != nil {
		return d.errorf("the host %.80q has no address: %w", domain, err)
	}
	return d.children(ctx, func(d *document, ctx context.Context, start xml.StartElement) error {
		switch {
		case start.Name != (xml.Name{Space: ns.PIE, Local: "user"}):
			return d.leave(start)
		case d.im.hosts[canonical] == nil:
			d.im.report.Left.add("users of the host "+canonical+", which this server does not have", 1)
			return d.skip()
		}
		return d.user(ctx, canonical, start)
	})
}

// leave passes over something that is not known.
func (d *document) leave(start xml.StartElement) error {
	d.im.report.Left.add(unknownKind(start.Name), 1)
	return d.skip()
}

func unknownKind(n xml.Name) string {
	return fmt.Sprintf("elements <%.40s xmlns=%.60q/>", n.Local, n.Space)
}

// A userReader reads a <user/> (section 4.2).
type userReader struct {
	*record
	im      *Importer
	problem error // the first that keeps the user from being imported; the rest is read all the same
	nodes   pep.Nodes
	blocked []jid.JID
}

func (d *document) user(ctx context.Context, domain string, start xml.StartElement) error {
	u := &userReader{record: &record{where: d.where(), taken: Counts{}}, im: d.im}
	u.user, u.record.host, u.problem = d.im.user(attribute(start, "name"), domain)
	u.password = attribute(start, "password")
	for _, a := range start.Attr {
		if a.Name.Space != "" && a.Name.Space != "xmlns" {
			d.im.report.Left.add(fmt.Sprintf("attributes %.40q of users", a.Name.Local), 1)
		}
	}
	if err := d.children(ctx, func(d *document, ctx context.Context, start xml.StartElement) error { return d.part(ctx, u, start) }); err != nil {
		return err
	}
	if u.problem == nil {
		u.problem = u.finish()
	}
	if u.problem != nil {
		d.im.fail(u.where, u.problem)
		return nil
	}
	return d.im.add(ctx, u.record)
}

// left counts what is not taken.
func (u *userReader) left(kind string, n int) { u.im.report.Left.add(kind, n) }

// part reads a child of a <user/>.
func (d *document) part(ctx context.Context, u *userReader, start xml.StartElement) error {
	switch start.Name {
	case xml.Name{Space: ns.PIE, Local: "offline-messages"}:
		return d.children(ctx, d.whole1(u, kindMessages, u.message))
	case xml.Name{Space: ns.Pubsub, Local: "pubsub"}:
		return d.children(ctx, func(d *document, ctx context.Context, start xml.StartElement) error {
			node := attribute(start, "node")
			return d.children(ctx, d.whole1(u, kindItems, func(el *xmlstream.Element) { u.item(node, el) }))
		})
	case xml.Name{Space: ns.PubsubOwner, Local: "pubsub"}:
		return d.children(ctx, d.whole1(u, kindNodes, u.node))
	case xml.Name{Space: ns.PIEMAM, Local: "archive"}:
		return d.count(ctx, u, "messages of archives")
	case xml.Name{Space: ns.Roster, Local: "query"}:
		return d.count(ctx, u, "contacts: rosters are the application's")
	case xml.Name{Space: ns.Client, Local: "presence"}, xml.Name{Space: ns.PIE, Local: "presence"}: // the latter in Prosody's
		u.left("requests for subscription: rosters are the application's", 1)
		return d.skip()
	}
	return d.whole1(u, unknownKind(start.Name), u.child)(d, ctx, start)
}

// count reads the element that was begun, and counts its children as left.
func (d *document) count(ctx context.Context, u *userReader, kind string) error {
	return d.children(ctx, func(d *document, _ context.Context, _ xml.StartElement) error {
		u.left(kind, 1)
		return d.skip()
	})
}

// whole1 has one element read as a whole.
func (d *document) whole1(u *userReader, kind string, take func(*xmlstream.Element)) func(*document, context.Context, xml.StartElement) error {
	return func(d *document, _ context.Context, start xml.StartElement) error {
		el, err := d.element(start)
		switch {
		case err != nil:
			return err
		case el == nil || u.size > userBytes:
			u.left(kind+" (too large)", 1)
		default:
			take(el)
		}
		return nil
	}
}

// child takes one that is not streamed.
func (u *userReader) child(el *xmlstream.Element) {
	switch {
	case el.Is(ns.PIESCRAM, "scram-credentials"):
		u.keys(el)
	case el.Is(ns.Private, "query"):
		values, taken, left := private.Import(el)
		u.keep(private.Space, kindPrivate, taken, values, nil)
		u.left(kindPrivate, left)
	case el.Is(ns.VCard, "vCard"):
		values := vcard.Import(el)
		u.keep(vcard.Space, kindVCards, len(values), values, nil)
		u.left(kindVCards+" (too large)", 1-len(values))
	case el.Is(ns.Blocking, "blocklist"):
		for item := range el.Elements() {
			u.block(item.Attr("jid"))
		}
	case el.Is(ns.Privacy, "query"):
		u.lists(el)
	case el.Is(nsDisabled, "disabled"):
		u.account.Disabled = true
	default:
		u.left(unknownKind(xml.Name{Space: el.Space, Local: el.Local}), 1)
	}
}

// keys reads a <scram-credentials/> (section 4.3).
func (u *userReader) keys(el *xmlstream.Element) {
	text := func(name string) string {
		if c := el.Child(ns.PIESCRAM, name); c != nil {
			return strings.TrimSpace(c.Text())
		}
		return ""
	}
	mechanism := el.Attr("mechanism")
	var to *store.Keys
	switch mechanism {
	case "SCRAM-SHA-1":
		to = &u.account.Credentials.SHA1
	case "SCRAM-SHA-256":
		to = &u.account.Credentials.SHA256
	default:
		u.left(fmt.Sprintf("keys for %.40q", mechanism), 1)
		return
	}
	k, err := decodeKeys(mechanism, text("iter-count"), text("salt"), text("stored-key"), text("server-key"))
	if err == nil && to.StoredKey != nil {
		err = fmt.Errorf("there are two <scram-credentials/> for %s", mechanism)
	}
	if err != nil && u.problem == nil {
		u.problem = err
	}
	*to = k
}

// message takes one that waited (section 4.5).
func (u *userReader) message(el *xmlstream.Element) {
	e, ok := store.Entry{}, false
	if u.problem == nil {
		e, ok = host.Waited(u.user, el)
	}
	if !ok {
		u.left("messages that waited, and are of a kind that does not wait here", 1)
		return
	}
	u.messages = append(u.messages, e)
	u.size += len(e.Stanza)
	u.taken.add(kindMessages, 1)
}

// node takes the configuration of one (section 4.9.1).
func (u *userReader) node(el *xmlstream.Element) {
	switch {
	case !el.Is(ns.PubsubOwner, "configure"):
		n := 0
		for range el.Elements() {
			n++
		}
		u.left(fmt.Sprintf("%.40s of nodes", el.Local), n)
	case u.nodes.Configure(el):
		u.taken.add(kindNodes, 1)
	default:
		u.left(kindNodes, 1)
	}
}

// item takes one of a node (section 4.9.2).
func (u *userReader) item(node string, el *xmlstream.Element) {
	if !u.nodes.Add(node, u.user.String(), el) {
		u.left(kindItems, 1)
		return
	}
	u.size += el.XMLSize("")
	u.taken.add(kindItems, 1)
}

// lists takes whom a default privacy list keeps out altogether (section 4.7): as such lists block, and as ejabberd keeps whom users have
// blocked (XEP-0191 section 5).
func (u *userReader) lists(el *xmlstream.Element) {
	name := ""
	if d := el.Child(ns.Privacy, "default"); d != nil {
		name = d.Attr("name")
	}
	for list := range el.Elements() {
		if !list.Is(ns.Privacy, "list") {
			continue
		}
		for item := range list.Elements() {
			if name != "" && list.Attr("name") == name && item.Attr("type") == "jid" && item.Attr("action") == "deny" && item.First() == nil {
				u.block(item.Attr("value"))
				continue
			}
			u.left("rules of privacy lists", 1)
		}
	}
}

func (u *userReader) block(address string) {
	j, err := jid.Parse(address)
	if err != nil || j.IsZero() {
		u.left(kindBlocked, 1)
		return
	}
	u.blocked = append(u.blocked, j)
}

// finish makes of what was read what is stored.
func (u *userReader) finish() error {
	values, left := blocking.Import(u.blocked)
	u.keep(blocking.Space, kindBlocked, len(u.blocked)-left, values, nil)
	u.left(kindBlocked, left)
	values, left, err := u.nodes.Values()
	if err != nil {
		return errors.New("a node of personal eventing cannot be kept: " + err.Error())
	}
	u.keep(pep.Space, kindItems, -left, values, pep.Merge)
	u.left(kindItems, left)
	return nil
}
