package commands

import (
	"context"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/payload"
)

// A command is one that administrators may use.
type command struct {
	node, name        string
	accounts, rosters bool // what the host must have
	secret            bool // a form has a password
	stages            []stage
	do                func(c *commands, ctx context.Context, r request, one *run) (outcome, error)
}

// A stage asks for a form.
type stage struct {
	form func(ctx context.Context, c *commands, one *run) (*payload.Form, error)
	// take reads what was filled in; nil: there is nothing to fill in.
	take func(c *commands, r request, one *run) error
}

// An outcome is what is told in the end; each may be absent.
type outcome struct {
	form  *payload.Form
	info  string
	fault string // what has failed
}

// short is the command in the log.
func (c *command) short() string {
	_, name, _ := strings.Cut(c.node, "#")
	return name
}

// asks makes a stage of a form that is always the same.
func asks(kind, instructions string, take func(*commands, request, *run) error, fields ...payload.Field) []stage {
	return []stage{{take: take, form: func(context.Context, *commands, *run) (*payload.Form, error) {
		return &payload.Form{Kind: kind, Instructions: []string{instructions}, Fields: fields}, nil
	}}}
}

// table has the commands in the order in which they are listed.
var table = []command{
	{node: ns.Admin + "#announce", name: "Send announcement to online users", do: (*commands).announce,
		stages: asks(ns.Admin, "Everybody who is online gets this as a message.", takeText,
			payload.Field{Var: "announcement", Type: "text-multi", Label: "Announcement", Required: true})},
	{node: ns.Admin + "#get-online-users-num", name: "Get number of online users", do: (*commands).countOnline},
	{node: ns.Admin + "#get-online-users-list", name: "Get list of online users", do: (*commands).listOnline,
		stages: asks(ns.Admin, "In the order of their names.", takeMost,
			payload.Field{Var: "max_items", Type: "list-single", Label: "Maximum number of users to show", Values: []string{"100"},
				Options: []payload.Option{{Label: "25", Value: "25"}, {Label: "50", Value: "50"}, {Label: "100", Value: "100"}, {Label: "200", Value: "200"}}})},
	{node: ns.Admin + "#end-user-session", name: "End user session", do: (*commands).endSessions,
		stages: asks(ns.Admin, "An address without a resource ends all of the user's sessions. The user may sign in again.", takeSessions, accountJIDs)},
	{node: ns.Admin + "#get-user-lastlogin", name: "Get user last login time", do: (*commands).lastLogin,
		stages: asks(ns.Admin, "Since when a user is online, or until when the user was.", takeUsers("accountjids", 1), payload.Field{Var: "accountjids", Type: "jid-single", Label: "The user's address", Required: true})},

	{node: ns.Admin + "#get-registered-users-num", name: "Get number of registered users", accounts: true, do: (*commands).countAccounts},
	{node: ns.Admin + "#add-user", name: "Add user", accounts: true, secret: true, do: (*commands).addUser,
		stages: asks(ns.Admin, "The user gets an account without a role.", takeNewUser, accountJID, newPassword, payload.Field{Var: "password-verify", Type: "text-private", Label: "The password again", Required: true})},
	{node: ns.Admin + "#change-user-password", name: "Change user password", accounts: true, secret: true, do: (*commands).changePassword,
		stages: asks(ns.Admin, "Sessions that there are stay.", takePassword, accountJID, newPassword)},
	{node: ns.Admin + "#disable-user", name: "Disable user", accounts: true, do: (*commands).disable,
		stages: asks(ns.Admin, "The users' sessions end, and they cannot sign in. Nothing is lost.", takeUsers("accountjids", maxUsers), accountJIDs)},
	{node: ns.Admin + "#reenable-user", name: "Re-enable user", accounts: true, do: (*commands).enable,
		stages: asks(ns.Admin, "The users may sign in again.", takeUsers("accountjids", maxUsers), accountJIDs)},
	{node: ns.Admin + "#delete-user", name: "Delete user", accounts: true, do: (*commands).deleteUsers,
		stages: asks(ns.Admin, "The accounts are removed with all that is stored of them, for good.", takeUsers("accountjids", maxUsers), accountJIDs)},

	{node: ns.OwnCommands + "#refresh-rosters", name: "Fetch users' contact lists anew", rosters: true, do: (*commands).refresh,
		stages: asks(ns.OwnCommands, "The application is asked for these users' contacts, and their clients are told what has changed.",
			takeUsers("accountjids", maxUsers), accountJIDs)},
	{node: ns.OwnCommands + "#confirm-roster", name: "Confirm a contact list that is held", rosters: true, do: (*commands).confirm,
		stages: append(asks(ns.OwnCommands, "A contact list that would lose most of its contacts is held until somebody confirms it.", takeUsers("accountjid", 1), accountJID),
			stage{form: held})},
}

// maxUsers is how many users a command is about at most.
const maxUsers = 50

var (
	accountJID  = payload.Field{Var: "accountjid", Type: "jid-single", Label: "The user's address", Required: true}
	accountJIDs = payload.Field{Var: "accountjids", Type: "jid-multi", Label: "The users' addresses", Required: true}
	newPassword = payload.Field{Var: "password", Type: "text-private", Label: "The password", Required: true}
)
