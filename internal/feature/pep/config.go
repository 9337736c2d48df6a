package pep

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Who sees a node: pubsub#access_model.
const (
	accessOpen      = "open"
	accessPresence  = "presence"
	accessRoster    = "roster"
	accessWhitelist = "whitelist"
)

// When the last item is sent: pubsub#send_last_published_item.
const (
	lastNever      = "never"
	lastOnSub      = "on_sub"
	lastOnPresence = "on_sub_and_presence"
)

// A config is a node's (XEP-0060 section 8.2). What it does not have cannot be configured.
type config struct {
	Title    string   `json:"title,omitempty"`
	Type     string   `json:"type,omitempty"`
	Access   string   `json:"access"`
	Groups   []string `json:"groups,omitempty"` // with accessRoster
	MaxItems int      `json:"max_items"`
	Persist  bool     `json:"persist"`
	SendLast string   `json:"send_last"`
	Retracts bool     `json:"retracts"`         // contacts are told of items that go
	Silent   bool     `json:"silent,omitempty"` // and not told when the node goes
	Payloads bool     `json:"payloads"`         // and what items say
	Notify   bool     `json:"notify"`
}

// defaults are those of XEP-0163 section 7.
func defaults() config {
	return config{Access: accessPresence, MaxItems: 1, Persist: true, SendLast: lastOnPresence, Retracts: true, Payloads: true, Notify: true}
}

func (c *config) admits(contact rosterdoc.Item) bool {
	return c.Access != accessRoster || slices.ContainsFunc(contact.Groups, func(g string) bool { return slices.Contains(c.Groups, g) })
}

// A field is one of the form: how it is shown and how it is set.
type field struct {
	name, kind, label string
	options           []string
	get               func(c *config) []string
	set               func(c *config, values []string) error
}

func flag(name, label string, of func(c *config) *bool) field {
	return field{name: name, kind: "boolean", label: label,
		get: func(c *config) []string { return asFlag(*of(c)) },
		set: func(c *config, values []string) (err error) {
			*of(c), err = fromFlag(values)
			return err
		}}
}

func choice(name, label string, options []string, of func(c *config) *string) field {
	return field{name: name, kind: "list-single", label: label, options: options,
		get: func(c *config) []string { return []string{*of(c)} },
		set: func(c *config, values []string) error {
			if !slices.Contains(options, one(values)) {
				return fmt.Errorf("%q is none of %q", one(values), options)
			}
			*of(c) = one(values)
			return nil
		}}
}

func line(name, label string, of func(c *config) *string) field {
	return field{name: name, kind: "text-single", label: label,
		get: func(c *config) []string { return []string{*of(c)} },
		set: func(c *config, values []string) error {
			if len(one(values)) > maxNodeName {
				return fmt.Errorf("it has more than %d bytes", maxNodeName)
			}
			*of(c) = one(values)
			return nil
		}}
}

// fields are all that can be configured.
var fields = []field{
	line("pubsub#title", "Title", func(c *config) *string { return &c.Title }),
	line("pubsub#type", "Type of the payloads, a namespace", func(c *config) *string { return &c.Type }),
	choice("pubsub#access_model", "Who sees it", []string{accessOpen, accessPresence, accessRoster, accessWhitelist},
		func(c *config) *string { return &c.Access }),
	{name: "pubsub#roster_groups_allowed", kind: "list-multi", label: "Groups of contacts who see it",
		get: func(c *config) []string { return c.Groups },
		set: func(c *config, values []string) error {
			if len(values) > 64 {
				return fmt.Errorf("there are more than 64 groups")
			}
			c.Groups = values
			return nil
		}},
	{name: "pubsub#max_items", kind: "text-single", label: "Items that are kept",
		get: func(c *config) []string { return []string{strconv.Itoa(c.MaxItems)} },
		set: func(c *config, values []string) error {
			n, err := strconv.Atoi(one(values))
			switch {
			case one(values) == "max":
				n = maxItems
			case err != nil || n < 1:
				return fmt.Errorf("%q is no number of items, nor max", one(values))
			}
			c.MaxItems = min(n, maxItems)
			return nil
		}},
	flag("pubsub#persist_items", "Items are kept", func(c *config) *bool { return &c.Persist }),
	choice("pubsub#send_last_published_item", "When the last item is sent", []string{lastNever, lastOnSub, lastOnPresence},
		func(c *config) *string { return &c.SendLast }),
	flag("pubsub#notify_retract", "Say when items go", func(c *config) *bool { return &c.Retracts }),
	{name: "pubsub#notify_delete", kind: "boolean", label: "Say when the node goes",
		get: func(c *config) []string { return asFlag(!c.Silent) },
		set: func(c *config, values []string) error {
			yes, err := fromFlag(values)
			c.Silent = !yes
			return err
		}},
	flag("pubsub#deliver_payloads", "Say what items have", func(c *config) *bool { return &c.Payloads }),
	flag("pubsub#deliver_notifications", "Say when items come", func(c *config) *bool { return &c.Notify }),
	// What cannot be otherwise here, and clients ask for all the same.
	always("pubsub#notify_config", "boolean", "Say when the configuration changes", "0", "false"),
	always("pubsub#notify_sub", "boolean", "Say who subscribes", "0", "false"),
	always("pubsub#purge_offline", "boolean", "Items go when their owner does", "0", "false"),
	always("pubsub#presence_based_delivery", "boolean", "Only clients that are available are told", "1", "true"),
	always("pubsub#publish_model", "list-single", "Who publishes", "publishers"),
	always("pubsub#notification_type", "list-single", "Type of the messages that say it", stanza.TypeHeadline),
	always("pubsub#itemreply", "list-single", "Who is named as the one to answer", "publisher"),
	always("pubsub#node_type", "list-single", "Type of the node", "leaf"),
}

// always is a field that has one value, which may have several spellings.
func always(name, kind, label string, spellings ...string) field {
	f := field{name: name, kind: kind, label: label,
		get: func(*config) []string { return spellings[:1] },
		set: func(_ *config, values []string) error {
			if !slices.Contains(spellings, one(values)) {
				return fmt.Errorf("it is always %s", spellings[0])
			}
			return nil
		}}
	if kind == "list-single" {
		f.options = spellings
	}
	return f
}

func asFlag(yes bool) []string {
	if yes {
		return []string{"1"}
	}
	return []string{"0"}
}

func fromFlag(values []string) (yes bool, err error) {
	switch one(values) {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither 1 nor 0", one(values))
}

func one(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// The kinds of forms (XEP-0068).
const (
	formConfig  = ns.Pubsub + "#node_config"
	formOptions = ns.Pubsub + "#publish-options"
)

// form shows a configuration.
func (c *config) form() *xmlstream.Element {
	shown := payload.Form{Type: payload.FormToFill, Kind: formConfig}
	for _, f := range fields {
		one := payload.Field{Var: f.name, Type: f.kind, Label: f.label, Values: f.get(c)}
		for _, o := range f.options {
			one.Options = append(one.Options, payload.Option{Value: o})
		}
		shown.Fields = append(shown.Fields, one)
	}
	return shown.Element()
}

// fill sets what the form in an element says, which may have none. A field that is not known, or cannot be so, is the error failed where
// there is one: publish-options are a promise.
func (c *config) fill(parent *xmlstream.Element, kind string, failed error) error {
	x := parent.Child(ns.DataForms, "x")
	if x == nil {
		return nil
	}
	said := payload.ParseForm(x)
	switch {
	case said.Type == payload.FormCancel:
		return nil
	case said.Type != payload.FormSubmit:
		return stanza.NewError(stanza.BadRequest, "the form must be of the type submit")
	case said.Kind != "" && said.Kind != kind:
		return stanza.NewError(stanza.BadRequest, "the form is of another FORM_TYPE than "+kind)
	}
	for _, one := range said.Fields {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == one.Var })
		switch {
		case i >= 0:
			if err := fields[i].set(c, one.Values); err != nil {
				return cmp.Or(failed, error(stanza.NewError(stanza.NotAcceptable, one.Var+": "+err.Error())))
			}
		case failed != nil:
			return failed
		}
	}
	return nil
}
