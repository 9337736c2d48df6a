// Package rosterapi is the contract "Roster over HTTP" (docs/roster-http.md) for applications written in Go: the
// documents as types, a [Client] that tells rollcall what has changed, and a [Handler] that answers rollcall's questions.
//
// An application that keeps contacts needs two things. It answers "who are john's contacts?":
//
//	contacts := &rosterapi.Handler{Roster: func(ctx context.Context, user string) (rosterapi.Roster, error) {
//		return db.ContactsOf(ctx, user)
//	}}
//	mux.Handle("/contacts/{user}", contacts) // roster.url = "http://…/contacts/%s"
//
// And it says when the answer has changed, after the change is saved:
//
//	server := &rosterapi.Client{URL: "http://127.0.0.1:5280"}
//	report, err := server.Notify(ctx, "john", "marie")
//
// The package rosterapi/conformance, and the command `rollcall check`, tell whether an application does its part right.
//
// The module is called rollcall, without the name of a site, so that another module takes it from a clone:
//
//	go mod edit -require rollcall@v0.0.0 -replace rollcall=../rollcall
//
// # Users and contacts
//
// A user is named by the part before the @ of the address, as in "john", wherever a user of one host is meant: that is
// what rollcall puts into the URL. The client also takes whole addresses, "john@chat.example.com", where a server has
// several hosts. A contact is always a whole address, without a resource: "marie@example.com", or a domain alone.
package rosterapi
