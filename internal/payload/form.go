package payload

import (
	"slices"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// The types of data forms (XEP-0004 section 3.1).
const (
	FormToFill  = "form"
	FormSubmit  = "submit"
	FormCancel  = "cancel"
	FormResults = "result"
)

// Form is a data form (XEP-0004). What it says of reported items is not in it.
type Form struct {
	Type         string // one of the constants
	Kind         string // the value of FORM_TYPE (XEP-0068); "" when there is none
	Title        string
	Instructions []string
	Fields       []Field // without FORM_TYPE
}

// Field is a field of a form.
type Field struct {
	Var      string
	Type     string // "boolean", "fixed", "hidden", "jid-multi", "jid-single", "list-multi", "list-single", "text-multi", "text-private", "text-single"; "" in a form that is submitted
	Label    string
	Values   []string
	Options  []Option
	Required bool
	// Extra is what other documents put into a field, such as XEP-0122; nil for nothing. It is not read.
	Extra *xmlstream.Element
}

// Option is one of those of a list.
type Option struct{ Label, Value string }

// Value gives the first value, "" when there is none.
func (f Field) Value() string {
	if len(f.Values) == 0 {
		return ""
	}
	return f.Values[0]
}

// Bool reads a boolean (section 3.3); ok is false when it is none.
func (f Field) Bool() (value, ok bool) {
	switch f.Value() {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// Field gives the first field of a name; false when there is none.
func (f *Form) Field(name string) (Field, bool) {
	i := slices.IndexFunc(f.Fields, func(field Field) bool { return field.Var == name })
	if i < 0 {
		return Field{}, false
	}
	return f.Fields[i], true
}

// FormOf reads the data form in an element: of a kind, and the first one when there are several. nil when there is none. kind
// "" is any.
func FormOf(parent *xmlstream.Element, kind string) *Form {
	for c := range parent.Elements() {
		if !c.Is(ns.DataForms, "x") {
			continue
		}
		if f := ParseForm(c); kind == "" || f.Kind == kind {
			return f
		}
	}
	return nil
}

// ParseForm reads a data form.
func ParseForm(x *xmlstream.Element) *Form {
	f := &Form{Type: x.Attr("type")}
	for c := range x.Elements() {
		switch {
		case c.Is(ns.DataForms, "title"):
			f.Title = c.Text()
		case c.Is(ns.DataForms, "instructions"):
			f.Instructions = append(f.Instructions, c.Text())
		case c.Is(ns.DataForms, "field"):
			field := parseField(c)
			if field.Var == formType {
				f.Kind = field.Value()
				continue
			}
			f.Fields = append(f.Fields, field)
		}
	}
	return f
}

const formType = "FORM_TYPE"

func parseField(el *xmlstream.Element) Field {
	f := Field{Var: el.Attr("var"), Type: el.Attr("type"), Label: el.Attr("label")}
	for c := range el.Elements() {
		switch {
		case c.Is(ns.DataForms, "value"):
			f.Values = append(f.Values, c.Text())
		case c.Is(ns.DataForms, "required"):
			f.Required = true
		case c.Is(ns.DataForms, "option"):
			o := Option{Label: c.Attr("label")}
			if v := c.Child(ns.DataForms, "value"); v != nil {
				o.Value = v.Text()
			}
			f.Options = append(f.Options, o)
		}
	}
	return f
}

// Element makes the <x/>.
func (f *Form) Element() *xmlstream.Element {
	x := xmlstream.New(ns.DataForms, "x", "type", f.Type)
	text := func(parent *xmlstream.Element, name, value string) {
		parent.Append(xmlstream.New(ns.DataForms, name).AppendText(value))
	}
	if f.Title != "" {
		text(x, "title", f.Title)
	}
	for _, line := range f.Instructions {
		text(x, "instructions", line)
	}
	fields := f.Fields
	if f.Kind != "" {
		fields = slices.Insert(slices.Clone(fields), 0, Field{Var: formType, Type: "hidden", Values: []string{f.Kind}})
	}
	for _, field := range fields {
		el := xmlstream.New(ns.DataForms, "field", "var", field.Var, "type", field.Type, "label", field.Label)
		if field.Required {
			el.Append(xmlstream.New(ns.DataForms, "required"))
		}
		for _, v := range field.Values {
			text(el, "value", v)
		}
		for _, o := range field.Options {
			option := xmlstream.New(ns.DataForms, "option", "label", o.Label)
			text(option, "value", o.Value)
			el.Append(option)
		}
		x.Append(el.Append(field.Extra))
	}
	return x
}
