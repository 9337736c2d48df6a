// Package xmpptest tests rollcall by dialogues: a whole server in this process, on a network in memory and with a fake
// clock, a fake roster service, and clients that say and hear what a script has, line by line.
//
//	service has john {"marie@localhost": {"name": "Marie"}}
//	john/phone connects
//	john/phone sends
//		<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>
//	john/phone receives
//		<iq type='result' id='1' to='john@localhost/phone'>
//			<query xmlns='jabber:iq:roster'><item jid='marie@localhost' name='Marie' subscription='both'/></query>
//		</iq>
//	john/phone receives nothing
//
// A value that nobody knows beforehand is * where it does not matter, and otherwise has a name: where a client receives
// ver='$first', any version will do, and where it stands again it is that one.
//
// What one step set off has happened before the next step: after each, the dialogue waits until every goroutine of the
// server waits as well (synctest.Wait). Time passes on a fake clock, and "receives nothing" asks the server for a ping
// and takes its answer as the proof that nothing came before it.
package xmpptest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/xmlstream"
)

// Run plays a dialogue.
func Run(t *testing.T, path string) {
	steps, err := parseScript(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &dialogue{t: t, service: NewService(), clients: map[string]*Client{}, names: map[string]string{}}
		defer d.stop()
		for _, s := range steps {
			if err := d.play(s); err != nil {
				t.Fatalf("%s:%d: %s %s: %v\n\nThe server's log:\n%s", path, s.line, s.actor, s.words, err, d.serverLog())
			}
		}
	})
}

// patience is how long a dialogue waits for something that must come, on the fake clock.
const patience = 2 * time.Minute

type dialogue struct {
	t       *testing.T
	service *Service
	options Options
	world   *World // nil until the first step that needs it
	clients map[string]*Client
	names   map[string]string // values that have got a name
	barrier int
}

// stop ends everything, whatever state it is in.
func (d *dialogue) stop() {
	for _, c := range d.clients {
		c.Close()
	}
	if d.world != nil {
		d.world.Close()
	}
}

func (d *dialogue) serverLog() string {
	if d.world == nil {
		return ""
	}
	return d.world.Log()
}

func (d *dialogue) play(s step) error {
	switch s.actor {
	case "host":
		d.options.Hosts = append(d.options.Hosts, s.words)
		return nil
	case "config": // a line of the configuration of every host
		d.options.HostConfig = append(d.options.HostConfig, s.words)
		return nil
	case "global": // a line of the configuration outside hosts
		d.options.Config = append(d.options.Config, s.words)
		return nil
	case "accounts": // users who have one, with the password "secret"
		d.options.Accounts, d.options.DataDir = strings.Fields(s.words), d.t.TempDir()
		return nil
	case "service":
		return d.playService(s)
	case "operator":
		return d.operate(s.words)
	case "server":
		return d.playServer(s)
	}
	if err := d.start(); err != nil {
		return err
	}
	if s.actor == "time" {
		passed, err := time.ParseDuration(strings.TrimPrefix(s.words, "passes "))
		if err != nil {
			return err
		}
		time.Sleep(passed) // on the bubble's clock
		synctest.Wait()
		return nil
	}
	return d.playClient(s)
}

func (d *dialogue) playServer(s step) error {
	switch s.words {
	case "has a disk": // where it keeps rosters, and what users have stored
		d.options.Disk = NewDisk(nil)
		return nil
	case "can read and write":
		d.options.Disk.Fail(Works)
		return nil
	case "cannot read or write":
		d.options.Disk.Fail(Broken)
		return nil
	case "cannot write":
		d.options.Disk.Fail(ReadOnly)
		return nil
	case "writes and does not know it":
		d.options.Disk.Fail(Lies)
		return nil
	case "stops":
		d.world.Stop()
		return nil
	case "restarts", "crashes":
		restart := d.world.Restart
		if s.words == "crashes" {
			for _, c := range d.clients { // they hear nothing of it
				c.Close()
			}
			restart = d.world.Crash
		}
		err := restart()
		for _, c := range d.clients {
			c.Close()
		}
		clear(d.clients)
		return err
	}
	return fmt.Errorf("what does the server do? has a disk, cannot read or write, cannot write, " +
		"writes and does not know it, can read and write, stops, restarts, crashes")
}

// start starts server and service, once, when all that configures them has been read.
func (d *dialogue) start() (err error) {
	if d.world == nil {
		d.world, err = Start(d.t, d.service, d.options)
	}
	return err
}

func (d *dialogue) playService(s step) error {
	verb, rest, _ := strings.Cut(s.words, " ")
	who, what, _ := strings.Cut(rest, " ")
	switch verb {
	case "has":
		d.service.Set(who, what)
		return nil
	case "answers":
		if who == "everybody" {
			who = ""
		}
		if what == "fine" {
			what = Fine
		}
		d.service.Answer(who, what)
		return nil
	case "releases":
		d.service.Release()
		return nil
	case "notifies": // notifies ["john"] and gets 200 {...}
		return d.notify(rest)
	case "changes": // changes john 100 times to {...}, where each # is a number
		return d.change(who, what)
	case "was": // was asked 2 times about john, was asked 3 times in batches, was asked at most 4 times in batches
		var n int
		var user string
		if before, ok := strings.CutSuffix(rest, " in batches"); ok {
			before, most := strings.CutPrefix(before, "asked at most ")
			if _, err := fmt.Sscanf(strings.TrimPrefix(before, "asked "), "%d times", &n); err != nil {
				return err
			}
			if got := d.service.Batches(); got > n || got < n && !most {
				return fmt.Errorf("it was asked %d times", got)
			}
			return nil
		}
		if _, err := fmt.Sscanf(rest, "asked %d times about %s", &n, &user); err != nil {
			return err
		}
		if got := d.service.Fetches(user); got != n {
			return fmt.Errorf("it was asked %d times", got)
		}
		return nil
	}
	return fmt.Errorf("what does the service do? has, answers, releases, notifies, changes, was asked")
}

// notify posts a body to the refresh endpoint, with an optional ?query before it, and compares the answer.
func (d *dialogue) notify(words string) error {
	if err := d.start(); err != nil {
		return err
	}
	body, expected, ok := strings.Cut(words, " and gets ")
	if !ok {
		return fmt.Errorf("notifies BODY and gets STATUS JSON")
	}
	query := ""
	if strings.HasPrefix(body, "?") {
		query, body, _ = strings.Cut(body, " ")
	}
	host := ""
	if query != "" {
		host = "proxy.example"
	}
	code, got, err := d.world.Notify(host, query, body)
	if err != nil {
		return err
	}
	status, doc, _ := strings.Cut(expected, " ")
	if strconv.Itoa(code) != status || !sameJSON(doc, got) {
		return fmt.Errorf("it got %d %s", code, got)
	}
	return nil
}

// operate sends a request to the HTTP API: METHOD PATH and gets STATUS JSON, or METHOD PATH BODY and gets STATUS JSON.
func (d *dialogue) operate(words string) error {
	if err := d.start(); err != nil {
		return err
	}
	request, expected, ok := strings.Cut(words, " and gets ")
	method, rest, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(rest, " ")
	if !ok || path == "" {
		return fmt.Errorf("METHOD PATH and gets STATUS JSON")
	}
	code, got, err := d.world.Ask(method, "http://"+d.world.Host()+path, body)
	if err != nil {
		return err
	}
	status, doc, _ := strings.Cut(expected, " ")
	if strconv.Itoa(code) != status || !sameJSON(doc, got) {
		return fmt.Errorf("it got %d %s", code, got)
	}
	return nil
}

// change changes a user's roster many times and notifies each time.
func (d *dialogue) change(user, words string) error {
	var times int
	if _, err := fmt.Sscanf(words, "%d times to", &times); err != nil {
		return err
	}
	_, doc, _ := strings.Cut(words, " to ")
	for i := range times {
		d.service.Set(user, strings.ReplaceAll(doc, "#", strconv.Itoa(i+1)))
		if err := d.notify(fmt.Sprintf(`[%q] and gets 200 {"updated": 1, "errors": 0}`, user)); err != nil {
			return err
		}
	}
	return nil
}

// sameJSON compares an answer with what is expected of it; members that are not mentioned may be anything.
func sameJSON(want string, got []byte) bool {
	var w, g map[string]any
	if json.Unmarshal([]byte(want), &w) != nil || json.Unmarshal(got, &g) != nil {
		return false
	}
	for k, v := range w {
		if fmt.Sprint(v) != fmt.Sprint(g[k]) {
			return false
		}
	}
	return true
}

func (d *dialogue) playClient(s step) error {
	if !strings.Contains(s.actor, "/") {
		return fmt.Errorf("who is %q? host, config, service, operator, time, server, or USER/RESOURCE", s.actor)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if s.words == "connects" {
		return d.connect(ctx, s.actor)
	}
	if s.words == "cannot connect" {
		if err := d.connect(ctx, s.actor); err == nil {
			return fmt.Errorf("it can")
		}
		return nil
	}
	c := d.clients[s.actor]
	if c == nil {
		return fmt.Errorf("%s is not connected", s.actor)
	}
	switch s.words {
	case "sends":
		xml := s.xml
		for name, value := range d.names {
			xml = strings.ReplaceAll(xml, "'"+name+"'", "'"+value+"'")
			xml = strings.ReplaceAll(xml, ">"+name+"<", ">"+value+"<")
		}
		err := c.Send(xml)
		synctest.Wait()
		return err
	case "receives":
		return d.receives(ctx, c, s, false)
	case "receives in any order":
		return d.receives(ctx, c, s, true)
	case "receives nothing":
		return d.receivesNothing(ctx, c)
	case "has received nothing": // and is asked nothing: see XEP-0352, where an answer would bring more along
		if el, err := c.Poll(); err != nil || el != nil {
			return fmt.Errorf("it has received %v (%v)", el, err)
		}
		return nil
	case "closes":
		err := c.Send("</stream:stream>")
		synctest.Wait()
		return err
	case "is cut off":
		c.Close()
		synctest.Wait()
		return nil
	case "is replaced": // by a new connection for the same resource
		d.clients[s.actor+" (old)"] = c
		return d.connect(ctx, s.actor)
	case "is disconnected":
		if el, err := c.Receive(ctx); err == nil {
			return fmt.Errorf("it received %s", el)
		} else if ctx.Err() != nil {
			return err
		}
		return nil
	}
	return fmt.Errorf("what does %s do? connects, cannot connect, sends, receives, receives in any order, receives nothing, "+
		"has received nothing, closes, is cut off, is replaced, is disconnected", s.actor)
}

// connect signs a client in, in the place of the one that has its name, if any.
func (d *dialogue) connect(ctx context.Context, actor string) error {
	user, resource, _ := strings.Cut(actor, "/")
	user, host, ok := strings.Cut(user, "@")
	if !ok {
		host = d.world.Host()
	}
	c, err := Connect(ctx, d.world.c2s, user, host, resource)
	if err == nil {
		d.clients[actor] = c
	}
	synctest.Wait()
	return err
}

func (d *dialogue) receives(ctx context.Context, c *Client, s step, anyOrder bool) error {
	expected, err := s.stanzas()
	if err != nil {
		return err
	}
	for len(expected) > 0 {
		got, err := c.Receive(ctx)
		if err != nil {
			return fmt.Errorf("%w, instead of %s", err, expected[0])
		}
		i := 0
		if anyOrder {
			for i < len(expected)-1 && match(expected[i], got, maps.Clone(d.names)) != "" {
				i++
			}
		}
		if diff := match(expected[i], got, d.names); diff != "" {
			return fmt.Errorf("%s\n\texpected: %s\n\treceived: %s", diff, expected[i], got)
		}
		expected = append(expected[:i], expected[i+1:]...)
	}
	return nil
}

func (d *dialogue) receivesNothing(ctx context.Context, c *Client) error {
	synctest.Wait() // what other goroutines are about to send is sent
	d.barrier++
	id := "barrier-" + strconv.Itoa(d.barrier)
	if err := c.Send("<iq type='get' id='" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
		return err
	}
	got, err := c.Receive(ctx)
	if err != nil {
		return err
	}
	want := xmlstream.New("jabber:client", "iq", "type", "result", "id", id, "to", c.JID)
	if Match(want, got) != "" {
		return fmt.Errorf("it received %s", got)
	}
	return nil
}
