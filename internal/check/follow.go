package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// A follower waits for a notification, as the server would get it, fetches again, and compares.
//
// Its one goroutine of its own serves HTTP; what is to be done about a notification is done by the goroutine that called
// follow, one after the other, while the application waits for the answer, as with the server.
type follower struct {
	o      Options
	user   string // canonical
	host   string
	client *rosterhttp.Client
	known  *rosterdoc.Roster
	print  *printer

	notices chan notice
	done    chan struct{} // closed when notices are not taken any more
}

// A notice is a request at the listener.
type notice struct {
	line  string   // of the request, for people
	names []string // users that it names
	fault string   // what is wrong with it; "" when nothing is
	reply chan<- answer
}

// errNoChange is the end of a wait in which nothing came through.
var errNoChange = errors.New("no change of the contacts came through in time")

// shutdownTime is how long the last answer may take to get away.
const shutdownTime = 2 * time.Second

// follow returns nil after a change, or when ctx ends.
func follow(ctx context.Context, o Options, client *rosterhttp.Client, listener net.Listener, p *printer) error {
	first, err := client.Fetch(ctx, rosterhttp.Request{User: o.User})
	if err != nil {
		return fmt.Errorf("the roster to compare with: %w", err)
	}
	f := &follower{o: o, user: canonical(o.User), host: hostOf(o), client: client, known: first.Roster, print: p,
		notices: make(chan notice), done: make(chan struct{})}
	server := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	f.welcome("http://" + reachable(listener.Addr()))
	err = f.wait(ctx)
	close(f.done)
	// Detached from ctx, which may have ended: the last answer still has to go out.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(last) != nil {
		_ = server.Close() // somebody does not read: not our concern any more
	}
	<-served
	return errors.Join(err, p.err)
}

func canonical(user string) string {
	if j, err := addressOf(user, "localhost"); err == nil {
		return j.Local()
	}
	return user
}

// reachable is the address that an application on this machine would use.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return a.String()
}

func (f *follower) welcome(base string) {
	if f.o.JSON {
		f.emit(map[string]any{"event": "waiting", "url": base + refreshPath})
		return
	}
	f.print.printf(`
Now change a contact of %s in your application, and have it notify of that:

  curl -d '["%[1]s"]' %s%s

Waiting for it; Ctrl-C ends this.
`, printable(f.user), base, refreshPath)
}

// wait takes notices until one brings a change.
func (f *follower) wait(ctx context.Context) error {
	var late <-chan time.Time
	if f.o.Wait > 0 {
		t := time.NewTimer(f.o.Wait)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-late:
			return errNoChange
		case n := <-f.notices:
			a, changed := f.take(ctx, n)
			n.reply <- a
			if changed {
				return nil
			}
		}
	}
}

// take acts on a notice as the server would.
func (f *follower) take(ctx context.Context, n notice) (answer, bool) {
	if n.fault != "" {
		f.tell(event{Event: "refused", Request: n.line, Hint: n.fault})
		return answer{code: http.StatusBadRequest, Status: "error", Message: n.fault}, false
	}
	ours := false
	for _, name := range n.names {
		j, err := addressOf(name, f.host)
		ours = ours || err == nil && j.Local() == f.user && j.Domain() == f.host
	}
	if !ours {
		f.tell(event{Event: "other", Request: n.line, Hint: fmt.Sprintf("it does not name %s, so nothing is fetched", f.user)})
		return complete(len(n.names)), false
	}
	result, err := f.client.Fetch(ctx, rosterhttp.Request{User: f.user, Notified: true})
	if err != nil {
		hint := "clients would keep what they have, and rollcall would ask again"
		var failed *rosterhttp.Error
		if errors.As(err, &failed) && failed.Kind == rosterhttp.Timeout {
			hint = "rollcall fetches while your application waits for the answer to its notification: an application that does one thing at a time, " +
				"or holds a lock or a transaction meanwhile, waits for itself. Notify after the change is committed, from a task of its own"
		}
		f.tell(event{Event: "failed", Request: n.line, Error: err.Error(), Hint: hint})
		return answer{code: http.StatusOK, Status: "error", Message: fmt.Sprintf("%q: %v", f.user, err), Errors: len(n.names)}, false
	}
	changes := rosterdoc.Diff(f.known, result.Roster)
	f.known = result.Roster
	if len(changes) == 0 {
		f.tell(event{Event: "unchanged", Request: n.line, Hint: fmt.Sprintf(
			"fetched again, and the contacts of %s are what they were: is the change saved before the notification goes out? Does a cache stand before the service?", f.user)})
		return complete(len(n.names)), false
	}
	f.tell(event{Event: "changed", Request: n.line, Pushes: pushes(changes)})
	return complete(len(n.names)), true
}
