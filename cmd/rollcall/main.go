// Command rollcall is an XMPP server whose users' rosters come from an application over HTTP. Here are its flags only:
// the server is in internal/server, and a server that runs is asked over its HTTP API.
//
// Exit codes: 0 fine, 1 failed, 2 bad usage or configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"rollcall/internal/config"
	"rollcall/internal/web/demo"
)

type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Demo    demoCmd    `cmd:"" help:"Try it: a server with a sample application, and a page to watch both."`
	Check   checkCmd   `cmd:"" help:"Check whether an application answers as it should."`
	User    userCmd    `cmd:"" help:"Accounts of hosts with auth.method = accounts."`
	Roster  rosterCmd  `cmd:"" help:"Rosters of a running server."`
	Status  statusCmd  `cmd:"" help:"Show how a running server does."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// An environment is what a command has of the process.
type environment struct {
	ctx            context.Context // done on SIGINT and SIGTERM
	stdin          *os.File
	stdout, stderr io.Writer
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	env := &environment{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	parser, err := kong.New(&commands{}, kong.Name("rollcall"),
		kong.Description("An XMPP server whose rosters come from your application."),
		kong.Vars{"demo_http": demo.DefaultHTTP, "demo_c2s": demo.DefaultC2S},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Bind(env))
	if err != nil {
		fmt.Fprintln(os.Stderr, "rollcall:", err) // a mistake in the tags above
		return 1
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "rollcall: %v; see rollcall --help\n", err)
		return 2
	}
	if err := command.Run(); err != nil {
		report(os.Stderr, err)
		return exitCode(err)
	}
	return 0
}

// A usageError is a mistake in what was asked for, not a failure to do it.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func exitCode(err error) int {
	var badUsage usageError
	var one *config.Error
	var many config.Errors
	if errors.As(err, &badUsage) || errors.As(err, &one) || errors.As(err, &many) {
		return 2
	}
	return 1
}

// report prints an error, which may have several lines: each says by itself where it comes from.
func report(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "rollcall: %s\n", printable(strings.TrimSuffix(line, "\n")))
	}
}

// printable replaces what a terminal could take for a command: some messages quote what others sent.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

type versionCmd struct{}

func (versionCmd) Run(env *environment) error {
	_, err := fmt.Fprintf(env.stdout, "rollcall %s, %s, %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is that of the module, which the go command takes from the tag or the commit it builds; "devel" when it knows
// neither.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}
