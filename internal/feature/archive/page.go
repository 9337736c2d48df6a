package archive

import (
	"context"
	"slices"
	"time"

	"rollcall/internal/fault"
	"rollcall/internal/host"
	"rollcall/internal/lines"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// query takes a query in: what is wrong with it is answered at once, and the rest when its turn comes.
func (a *Archives) query(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	q, err := parseQuery(iq.Payload())
	if err != nil {
		return nil, err
	}
	if iq.Session == nil || iq.Session.JID() != iq.From { // cannot be: it is asked of the own account
		return nil, stanza.NewError(stanza.Forbidden, "")
	}
	r := &request{query: q, iq: iq, answer: iq.Defer(), since: time.Now()}
	if !a.lines.Do(iq.Session, requestCost+iq.Payload().XMLSize(ns.Client), func(fly lines.Fly) { a.answer(r, fly) }) {
		return nil, stanza.NewError(stanza.ResourceConstraint, "too many queries wait already; try again later")
	}
	return nil, host.ErrDeferred
}

// Pages are sent as clients take them. Each session has a line of queries, of which one is answered at a time, and none while
// much of the pages before is still on its way: so a client that does not read has a few pages waiting, within its outbox, and
// not read from the store, and its other queries cost their words. What is on its way is what was not written or, with stream
// management, not acknowledged.

const (
	lineQueries = 50        // that wait in a session's line
	lineBytes   = 256 << 10 // of them
	requestCost = 512       // of each, beside its words
	lineTime    = 25 * time.Second
	atOnce      = 16 // pages that are read from the store at a time
	queryTime   = 20 * time.Second
)

// request is a query on its way to being answered.
type request struct {
	*query
	iq     *host.IQ
	answer *host.Answer
	since  time.Time
}

// answer answers a query. A fault in it is answered, and logged.
func (a *Archives) answer(r *request, fly lines.Fly) {
	defer func() {
		if p := recover(); p != nil {
			fault.Log(a.opts.Log, "answering a query", p)
			r.answer.Send(nil, stanza.NewError(stanza.InternalServerError, ""))
		}
	}()
	if time.Since(r.since) > lineTime { // the client is about to be told that there was no answer in time
		r.answer.Send(nil, stanza.NewError(stanza.ResourceConstraint, "what was asked for before has not been taken in time"))
		return
	}
	ctx, cancel := context.WithTimeout(r.iq.Session.Context(), queryTime)
	defer cancel()
	page, fin, err := a.read(ctx, r)
	if err != nil {
		r.answer.Send(nil, a.failed(r.iq.From, err))
		return
	}
	if a.send(r, page, fly) {
		r.answer.Send(fin, nil)
	}
}

// read reads a page and makes its <fin/>.
func (a *Archives) read(ctx context.Context, r *request) (page []store.Message, fin *xmlstream.Element, err error) {
	user := r.iq.From.Local()
	q, must, err := r.stored(a.opts.UIDs)
	if err == nil && len(must) > 0 {
		var n int
		if n, err = a.opts.Archive.CountMessages(ctx, a.opts.Host, user, store.Query{IDs: must}); err == nil && n < len(must) {
			err = errNoID
		}
	}
	if err != nil {
		return nil, nil, err
	}
	fin = xmlstream.New(ns.MAM, "fin")
	set := payload.PageAnswer{Index: -1, Count: -1}
	if r.count { // "if the requesting entity needs to know the number of items": <max>0</max> (XEP-0059 section 2.7)
		if set.Count, err = a.opts.Archive.CountMessages(ctx, a.opts.Host, user, q); err != nil {
			return nil, nil, err
		}
		if set.Count == 0 {
			fin.SetAttr("complete", "true")
		}
		return nil, fin.Append(set.Element()), nil
	}
	q.Bytes = a.opts.OutboxBytes / 4
	got, err := a.opts.Archive.Messages(ctx, a.opts.Host, user, q)
	if err != nil {
		return nil, nil, err
	}
	if !got.More {
		fin.SetAttr("complete", "true")
	}
	// Counting costs as much as there is to count, so the number is told where it is known anyway.
	whole := r.after == "" && r.before == ""
	if whole && !got.More {
		set.Index, set.Count = 0, len(got.Messages)
	} else if whole && !r.backwards {
		set.Index = 0
	}
	if n := len(got.Messages); n > 0 {
		set.First, set.Last = a.opts.UIDs.Of(got.Messages[0].ID), a.opts.UIDs.Of(got.Messages[n-1].ID)
	}
	return got.Messages, fin.Append(set.Element()), nil
}

// send sends the messages of a page; false when the session has ended. They are followed, so that the host does not take them
// for messages to the user that a session has lost (XEP-0198): who comes back asks again.
func (a *Archives) send(r *request, page []store.Message, fly lines.Fly) bool {
	if len(page) == 0 {
		return true
	}
	if r.flip {
		slices.Reverse(page)
	}
	wires, bytes := make([]stanza.Wire, len(page)), 0
	for i, m := range page {
		wires[i] = a.result(r, m)
		bytes += wires[i].Len()
	}
	landed := fly(bytes)
	last := stanza.NewCopies(func(bool) { landed() })
	defer last.Lost() // ours
	others := stanza.NewCopies(func(bool) {})
	for i, w := range wires {
		copies := others
		if i == len(wires)-1 {
			copies = last
		}
		w = w.Copy(copies)
		if !r.iq.Session.Send(w) {
			w.Lost()
			return false
		}
	}
	return true
}

// result is a message of a page (section 4.2). It is from whom the query was sent to, as the answer is.
func (a *Archives) result(r *request, m store.Message) stanza.Wire {
	b := make([]byte, 0, len(m.Stanza)+600)
	attr := func(name, value string) {
		b = append(append(append(b, ' '), name...), "='"...)
		b = append(xmlstream.AppendEscaped(b, value), '\'')
	}
	b = append(b, "<message"...)
	attr("to", r.iq.From.String())
	if !r.iq.To.IsZero() {
		attr("from", r.iq.To.String())
	}
	b = append(b, "><result"...)
	attr("xmlns", ns.MAM)
	if r.named {
		attr("queryid", r.id)
	}
	attr("id", a.opts.UIDs.Of(m.ID))
	b = append(b, "><forwarded"...)
	attr("xmlns", ns.Forward)
	b = append(b, '>')
	b = payload.Delay("", m.At, "").AppendXML(b, ns.Forward)
	b = stanza.Stored(m.Stanza, stanza.Message).AppendFramed(b)
	b = append(b, "</forwarded></result></message>"...)
	return stanza.Stored(b, stanza.Message)
}
