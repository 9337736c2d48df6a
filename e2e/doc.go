// Package e2e runs the real rollcall binary with real clients: slixmpp, @xmpp/client, strophe.js, go-xmpp, go-sendxmpp, Smack and,
// for pages, Chromium; behind nginx and Caddy; and with the applications of examples/, one of them behind nginx. Nothing here imports the server's packages; what is tested is what a user has: the command line,
// the config file, the ports.
//
//	make e2e          installs the clients where it can and runs the tests
//	ROLLCALL_E2E=1 go test ./e2e/
//
// ROLLCALL_E2E_BINARY names a rollcall to be tested in place of one that is built.
//
// A client that is not on this machine skips its tests, or fails them when REQUIRE_ALL=1 or CI=true. Without
// ROLLCALL_E2E the package does nothing, so that `go test ./...` stays quick.
//
// rollcall_test.go starts the server, service_test.go is the application with the contacts, client_test.go drives the
// programs in clients/, each of which takes commands and reports events as lines of JSON. Every wait is for an event;
// nothing sleeps, but for the tests of durability_test.go, which do their harm at random moments. They speak XMPP by hand
// (wire_test.go, talker_test.go), and -kills 200 makes TestKilled kill so often. container_test.go has systemd run in a
// container, which sees of this machine what systemd/container.sh says.
package e2e
