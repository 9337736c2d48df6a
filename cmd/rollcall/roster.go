package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

type rosterCmd struct {
	Refresh rosterRefreshCmd `cmd:"" help:"Tell the server that rosters have changed, as the application does."`
}

type rosterRefreshCmd struct {
	apiFlags
	Host  string   `help:"Host of names without one."`
	Users []string `arg:"" name:"user" help:"Names, or addresses user@host."`
}

func (c *rosterRefreshCmd) Run(env *environment) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	body, err := json.Marshal(c.Users)
	if err != nil {
		return err
	}
	path := "/roster_admin/refresh"
	if c.Host != "" {
		path += "?host=" + url.QueryEscape(c.Host)
	}
	var answer struct {
		Status, Message string
		Updated, Errors int
	}
	if err := api.do(env.ctx, http.MethodPost, path, body, &answer); err != nil {
		return err
	}
	switch {
	case answer.Message == "":
		return fmt.Errorf("%s does not answer as rollcall does; is there another program at this address?", api.base)
	case answer.Status != "ok":
		return fmt.Errorf("no roster is up to date: %s", answer.Message)
	case answer.Errors > 0:
		return fmt.Errorf("%s up to date, %d failed; the server's log says why", rosters(answer.Updated), answer.Errors)
	}
	_, err = fmt.Fprintf(env.stdout, "%s up to date\n", rosters(answer.Updated))
	return err
}

func rosters(n int) string {
	if n == 1 {
		return "1 roster"
	}
	return fmt.Sprintf("%d rosters", n)
}
