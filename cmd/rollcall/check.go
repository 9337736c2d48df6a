package main

import (
	"errors"
	"os"
	"time"

	"rollcall/internal/check"
	"rollcall/rosterapi/conformance"
)

type checkCmd struct {
	URL      string        `arg:"" name:"url" help:"The application's URL as in roster.url, such as http://localhost:9099/contacts/%s."`
	User     string        `short:"u" required:"" placeholder:"NAME" help:"Somebody who has contacts there."`
	Host     string        `default:"localhost" help:"Domain of the users."`
	Token    string        `placeholder:"TOKEN" env:"ROLLCALL_ROSTER_TOKEN" help:"As roster.token. Better in the environment: ${env}."`
	BatchURL string        `name:"batch-url" placeholder:"URL" help:"As roster.batch_url, to be checked as well."`
	Unknown  string        `placeholder:"NAME" help:"Somebody whom the application does not know."`
	Answer   time.Duration `name:"answer-timeout" default:"5s" help:"As roster.timeout: how long an answer may take."`
	Notify   string        `placeholder:"ADDRESS" help:"Then take a notification here, such as 127.0.0.1:5280, and show what clients would get."`
	Timeout  time.Duration `help:"How long to wait for a change with --notify (default: until Ctrl-C)."`
	JSON     bool          `name:"json" help:"Print it as JSON."`
}

func (c *checkCmd) Run(env *environment) error {
	if c.Answer <= 0 || c.Timeout < 0 {
		return usage("--answer-timeout and --timeout are durations such as 5s")
	}
	err := check.Run(env.ctx, check.Options{
		Config: conformance.Config{
			URL: c.URL, User: c.User, Host: c.Host, Token: c.Token,
			BatchURL: c.BatchURL, Unknown: c.Unknown, Timeout: c.Answer,
		},
		Notify: c.Notify, Wait: c.Timeout, JSON: c.JSON,
		Color: !c.JSON && colored(isTerminal(os.Stdout), os.Getenv), Out: env.stdout,
	})
	var mistake check.UsageError
	if errors.As(err, &mistake) {
		return usageError{mistake}
	}
	return err
}

// colored says whether standard output wants colors: it is a terminal that has some, and nobody objects (no-color.org).
func colored(terminal bool, getenv func(string) string) bool {
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}
