package pep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Space is where nodes are stored, each under a name of its own.
const Space = "pep"

// namesKey has the names of an account's nodes. No node's name is kept under it: those have an n before them.
const namesKey = "list"

// Nodes are those of one account, as another server has written them (XEP-0227 v1.1 section 4.9).
type Nodes struct {
	order []string
	nodes map[string]*node
	sure  map[string]bool // configured
}

// get finds a node, or makes it; nil when it cannot be one or there are too many. What is not configured is for its owner alone: it may have been
// anything. ("Any node listed in this element MUST have a corresponding configuration".)
func (n *Nodes) get(name string) *node {
	if one := n.nodes[name]; one != nil {
		return one
	}
	if name == "" || len(name) > maxNodeName || len(n.nodes) == maxNodes {
		return nil
	}
	if n.nodes == nil {
		n.nodes, n.sure = map[string]*node{}, map[string]bool{}
	}
	one := &node{Config: defaults()}
	one.Config.Access, one.Config.MaxItems = accessWhitelist, maxItems
	n.nodes[name] = one
	n.order = append(n.order, name)
	return one
}

// Configure takes a <configure/>. What a node cannot be is left as it is by default, but that nobody sees it whose owner may not have
// wanted that. It tells whether it is taken.
func (n *Nodes) Configure(configure *xmlstream.Element) bool {
	one := n.get(configure.Attr("node"))
	if one == nil {
		return false
	}
	one.Config = defaults()
	n.sure[configure.Attr("node")] = true
	x := configure.Child(ns.DataForms, "x")
	if x == nil {
		return true
	}
	for _, said := range payload.ParseForm(x).Fields {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == said.Var })
		if i < 0 || len(said.Values) == 0 {
			continue
		}
		if err := fields[i].set(&one.Config, said.Values); err != nil && said.Var == "pubsub#access_model" {
			one.Config.Access = accessWhitelist
		}
	}
	return true
}

// Add takes an item of a node. It tells whether it does.
func (n *Nodes) Add(name, publisher string, given *xmlstream.Element) bool {
	id, content := given.Attr("id"), given.First()
	one := n.get(name)
	if one == nil || id == "" || len(id) > maxItemID || content == nil {
		return false
	}
	it := item{ID: id, Publisher: publisher, At: time.Now().UTC(), Payload: xml(content)}
	if len(it.Payload) > maxNode/2 {
		return false
	}
	if _, err := it.element(false); err != nil {
		return false
	}
	one.Items = slices.DeleteFunc(one.Items, func(old item) bool { return old.ID == id })
	one.Items = append(one.Items, it)
	return true
}

// Values are what is stored of the nodes. It tells how many items there is no room for, the oldest of a node.
func (n *Nodes) Values() (values []store.NamedValue, left int, err error) {
	for _, name := range n.order {
		one := n.nodes[name]
		before := len(one.Items)
		if !n.sure[name] && before <= 1 {
			one.Config.MaxItems = 1
		}
		b, err := one.encode()
		if err != nil {
			return nil, 0, err
		}
		left += before - len(one.Items)
		values = append(values, store.NamedValue{Name: "n" + name, Value: b})
	}
	if len(values) == 0 {
		return nil, 0, nil
	}
	names, err := json.Marshal(n.order)
	return append(values, store.NamedValue{Name: namesKey, Value: names}), left, err
}

// Merge gives what is stored where there is something already: what is there stays, and has the names of all nodes.
func Merge(name string, old, fresh []byte) ([]byte, error) {
	if old == nil || name != namesKey {
		if old != nil {
			return old, nil
		}
		return fresh, nil
	}
	var names, more []string
	if err := errors.Join(json.Unmarshal(old, &names), json.Unmarshal(fresh, &more)); err != nil {
		return nil, err
	}
	for _, m := range more {
		if !slices.Contains(names, m) && len(names) < maxNodes {
			names = append(names, m)
		}
	}
	return json.Marshal(names)
}

// An ExportedNode is one as it is written for other servers.
type ExportedNode struct {
	Configure *xmlstream.Element // in the namespace of owners
	Items     *xmlstream.Element
}

// Export lists an account's nodes.
func Export(ctx context.Context, s store.Values, host, local string) iter.Seq2[ExportedNode, error] {
	return func(yield func(ExportedNode, error) bool) {
		for v, err := range s.Values(ctx, host, local, Space, "n") {
			if err != nil {
				yield(ExportedNode{}, err)
				return
			}
			one, err := exported(v)
			if !yield(one, err) || err != nil {
				return
			}
		}
	}
}

func exported(v store.NamedValue) (one ExportedNode, err error) {
	name, n := v.Name[1:], node{}
	if err := json.Unmarshal(v.Value, &n); err != nil {
		return one, fmt.Errorf("node %q cannot be read: %w", name, err)
	}
	form := n.Config.form()
	form.SetAttr("type", payload.FormSubmit)
	one.Configure = xmlstream.New(ns.PubsubOwner, "configure", "node", name).Append(form)
	one.Items = xmlstream.New(ns.Pubsub, "items", "node", name)
	for i := range n.Items {
		el, err := n.Items[i].element(false)
		if err != nil {
			return one, err
		}
		one.Items.Append(el)
	}
	return one, nil
}
