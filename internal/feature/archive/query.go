package archive

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Bounds of a query.
const (
	pageDefault = 50  // messages where the client does not say how many
	pageMost    = 200 // messages, whatever it says
	maxIDs      = 500 // in the field ids
	maxQueryID  = 1_024
)

// form answers with the fields that a query may have (section 4.1.5).
func form(context.Context, *host.IQ) (*xmlstream.Element, error) {
	f := payload.Form{Type: payload.FormToFill, Kind: ns.MAM, Fields: []payload.Field{
		{Var: "with", Type: "jid-single"},
		{Var: "start", Type: "text-single"},
		{Var: "end", Type: "text-single"},
		{Var: "before-id", Type: "text-single"},
		{Var: "after-id", Type: "text-single"},
		{Var: "ids", Type: "list-multi", Extra: xmlstream.New(ns.Validate, "validate", "datatype", "xs:string").Append(xmlstream.New(ns.Validate, "open"))},
		{Var: "include-groupchat", Type: "boolean"},
	}}
	return xmlstream.New(ns.MAM, "query").Append(f.Element()), nil
}

// query is what somebody asks of their archive.
type query struct {
	id    string // the client's, to tell results from those of another query
	named bool   // it has one
	flip  bool   // the page's messages are sent from the last to the first

	with           string
	resource       string
	start, end     time.Time
	afterID, after string // of the form, and of the page
	beforeID       string
	before         string
	ids            []string
	size           int // messages in a page
	count          bool
	backwards      bool
}

// parseQuery reads a <query/>. The error is a *stanza.Error.
func parseQuery(el *xmlstream.Element) (*query, error) {
	q := &query{id: el.Attr("queryid"), flip: el.Child(ns.MAM, "flip-page") != nil}
	q.named = slices.ContainsFunc(el.Attrs, func(a xmlstream.Attr) bool { return a.Space == "" && a.Local == "queryid" })
	switch {
	case len(q.id) > maxQueryID:
		return nil, stanza.NewError(stanza.BadRequest, "the queryid is too long")
	case el.Attr("node") != "": // of archives of pubsub nodes
		return nil, stanza.NewError(stanza.FeatureNotImplemented, "this archive has no nodes")
	}
	page, ok := payload.ParsePage(el)
	if !ok {
		return nil, stanza.NewError(stanza.BadRequest, "the page makes no sense")
	}
	if page.Indexed {
		return nil, stanza.NewError(stanza.FeatureNotImplemented, "pages are found by ids")
	}
	q.after, q.before, q.backwards, q.size = page.After, page.Before, page.Backwards, pageDefault
	if page.Sized {
		q.size, q.count = min(page.Max, pageMost), page.Max == 0
	}
	return q, q.parseForm(el)
}

func (q *query) parseForm(el *xmlstream.Element) error {
	f := payload.FormOf(el, "")
	if f == nil {
		return nil
	}
	if f.Type != payload.FormSubmit || f.Kind != ns.MAM {
		return stanza.NewError(stanza.BadRequest, "the form is one of type submit, and its FORM_TYPE "+ns.MAM)
	}
	seen := make(map[string]bool, len(f.Fields))
	for _, field := range f.Fields {
		switch {
		case seen[field.Var]:
			return stanza.NewError(stanza.BadRequest, "a field is there twice")
		case len(field.Values) == 0:
		case len(field.Values) > 1 && field.Var != "ids":
			return stanza.NewError(stanza.BadRequest, "a field has several values")
		}
		seen[field.Var] = true
		if err := q.parseField(field); err != nil {
			return err
		}
	}
	return nil
}

// parseField: "If a client includes a form field that the server does not recognise, the server MUST respond with a
// 'feature-not-implemented' error." One without a value says nothing.
func (q *query) parseField(f payload.Field) error {
	value, given := strings.TrimSpace(f.Value()), len(f.Values) > 0
	var err error
	switch f.Var {
	case "with":
		if given {
			err = q.parseWith(value)
		}
	case "start":
		q.start, err = parseTime(value, given)
	case "end":
		q.end, err = parseTime(value, given)
	case "after-id":
		q.afterID, err = parseUID(value, given)
	case "before-id":
		q.beforeID, err = parseUID(value, given)
	case "ids":
		if len(f.Values) > maxIDs {
			return stanza.NewError(stanza.PolicyViolation, fmt.Sprintf("%d ids may be asked for together", maxIDs))
		}
		for _, id := range f.Values {
			q.ids = append(q.ids, strings.TrimSpace(id))
		}
	case "include-groupchat": // there is none in users' archives
		if _, ok := f.Bool(); given && !ok {
			err = stanza.NewError(stanza.BadRequest, "include-groupchat is true or false")
		}
	default:
		err = stanza.NewError(stanza.FeatureNotImplemented, "there is no such field")
	}
	return err
}

func (q *query) parseWith(value string) error {
	j, err := jid.Parse(value)
	if err != nil {
		return stanza.NewError(stanza.JIDMalformed, "with is no address")
	}
	q.with, q.resource = j.Bare().Clone().String(), strings.Clone(j.Resource())
	return nil
}

func parseTime(value string, given bool) (at time.Time, err error) {
	if !given {
		return at, nil
	}
	if at, err = payload.ParseTime(value); err != nil {
		return at, stanza.NewError(stanza.BadRequest, err.Error())
	}
	return at, nil
}

func parseUID(value string, given bool) (string, error) {
	if given && value == "" {
		return "", stanza.NewError(stanza.BadRequest, "an id is empty")
	}
	return value, nil
}

// errNoID: "If any UID requested by the client in any of the 'before-id', 'after-id' or 'ids' form fields is not present in the
// archive, the server MUST return an item-not-found error" (section 4.1.3), and so it is for those of pages (section 4.3.2).
var errNoID = stanza.NewError(stanza.ItemNotFound, "a message that the query names is not in the archive")

// stored is the query as the store has it, and the messages that must be in the archive for it to make sense.
func (q *query) stored(uids *host.UIDs) (of store.Query, must []store.ID, err error) {
	of = store.Query{With: q.with, Resource: q.resource, Start: q.start, End: q.end, Limit: q.size, Last: q.backwards}
	named := func(uid string) (id store.ID) {
		if uid == "" {
			return 0
		}
		id, ok := uids.Parse(uid)
		if !ok {
			err = errNoID
		}
		must = append(must, id)
		return id
	}
	of.After = max(named(q.afterID), named(q.after))
	of.Before = named(q.beforeID)
	if id := named(q.before); id > 0 && (of.Before == 0 || id < of.Before) {
		of.Before = id
	}
	for _, uid := range q.ids {
		id, ok := uids.Parse(uid)
		if !ok {
			return of, nil, errNoID
		}
		of.IDs = append(of.IDs, id)
	}
	slices.Sort(of.IDs)
	of.IDs = slices.Compact(of.IDs)
	must = append(must, of.IDs...)
	slices.Sort(must)
	return of, slices.Compact(must), err
}
