package server_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
	"rollcall/internal/xmpptest"
)

// TestMessagesArrive has somebody send messages while the recipient's devices come and go, with stream management and without,
// lose their connections and come back to their sessions or not, the disk fails, and the server dies. In the end each message
// that the server has acknowledged and not refused has arrived; what came without a delay came in order, and no device got
// one twice, unless the server had died.
func TestMessagesArrive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 10, 80).Draw(rt, "steps")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = playMail(t, steps) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// mail is such a story.
type mail struct {
	t     *testing.T
	world *xmpptest.World
	disk  *xmpptest.Disk
	log   []string

	sender  *xmpptest.Client
	last    int          // the number of the last message
	unacked []int        // those of the sender that are not acknowledged
	acked   uint32       // its count
	due     map[int]bool // acknowledged
	refused map[int]bool
	lives   int // of the server
	devices [3]*mailDevice
}

type mailDevice struct {
	name     string
	client   *xmpptest.Client
	managed  bool
	id       string // to resume with
	handled  uint32
	counting bool
	got      map[int]int // message to the server's life
	live     int         // the last that came without a delay
	open     []int       // got and not acknowledged: they may come again in another session
	unheard  []int       // acknowledged, and the server may not have come to that yet
}

func playMail(t *testing.T, steps []int) string {
	m := &mail{t: t, disk: xmpptest.NewDisk(nil), due: map[int]bool{}, refused: map[int]bool{}}
	service := xmpptest.NewService()
	service.Set("john", "{}")
	service.Set("marie", "{}")
	var err error
	m.world, err = xmpptest.Start(t, service, xmpptest.Options{Disk: m.disk, Config: []string{"limits.resume = '1m'"}, HostConfig: []string{"offline.max_messages = 30"}})
	if err != nil {
		return err.Error()
	}
	defer m.world.Close()
	for i := range m.devices {
		m.devices[i] = &mailDevice{name: "r" + strconv.Itoa(i), got: map[int]int{}}
	}
	for _, s := range steps {
		if p := m.step(s); p != "" {
			return m.tell(p)
		}
	}
	return m.tell(m.end())
}

func (m *mail) tell(problem string) string {
	if m.sender != nil {
		m.sender.Close()
	}
	for _, d := range m.devices {
		if d.client != nil {
			d.client.Close()
		}
	}
	if problem == "" {
		return ""
	}
	return problem + "\n" + strings.Join(m.log, "\n")
}

func (m *mail) step(s int) string {
	d := m.devices[s>>8%len(m.devices)]
	switch s % 16 {
	case 0, 1, 2, 3, 4:
		m.send(s)
	case 5, 6:
		m.connect(d, s>>4)
	case 7, 8:
		m.cut(d, s&32 != 0)
	case 9:
		m.resume(d)
	case 10, 11:
		if d.client != nil && d.managed {
			m.drain()
			m.note(d, "acknowledges %d", d.handled)
			m.acknowledge(d)
		}
	case 12:
		m.present(d, s>>4%3-1)
	case 13:
		m.note(nil, "time passes")
		time.Sleep(time.Duration(s>>4%90) * time.Second)
		m.heard()
	case 14:
		m.fail(s >> 4)
	case 15:
		return m.die(s >> 4)
	}
	if s&16 != 0 {
		synctest.Wait()
		m.heard()
	}
	if s&64 != 0 {
		time.Sleep(10 * time.Millisecond)
		m.heard()
		return m.drain()
	}
	return ""
}

func (m *mail) acknowledge(d *mailDevice) {
	if err := d.client.Send(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", d.handled)); err == nil {
		d.unheard, d.open = append(d.unheard, d.open...), nil
	}
}

// heard is called when the server has handled all that devices have sent: everything has come to rest.
func (m *mail) heard() {
	for _, d := range m.devices {
		d.unheard = nil
	}
}

func (m *mail) note(d *mailDevice, format string, args ...any) {
	who := ""
	if d != nil {
		who = d.name + " "
	}
	m.log = append(m.log, time.Now().Format("15:04:05.000 ")+who+fmt.Sprintf(format, args...))
}

// send has the sender, who comes if need be, send a message or a chat state, to the account or a device.
func (m *mail) send(s int) {
	if m.sender == nil {
		c, err := m.world.Connect(m.t.Context(), "john", "x")
		if err != nil {
			m.t.Fatal(err)
		}
		m.sender, m.acked, m.unacked = c, 0, nil
		_ = c.Send("<enable xmlns='urn:xmpp:sm:3'/>")
	}
	m.last++
	content := "<body>" + strconv.Itoa(m.last) + "</body>"
	if s>>4%5 == 0 {
		content = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
	}
	to := "marie@localhost"
	if s>>5%4 == 0 {
		to += "/" + m.devices[s>>8%len(m.devices)].name
	}
	m.note(nil, "%d to %s: %s", m.last, to, content)
	m.unacked = append(m.unacked, m.last)
	_ = m.sender.Send(fmt.Sprintf("<message to='%s' type='chat' id='%d'>%s</message><r xmlns='urn:xmpp:sm:3'/>", to, m.last, content))
}

func (m *mail) connect(d *mailDevice, s int) {
	if d.client != nil {
		m.cut(d, true)
	}
	c, err := m.world.Connect(m.t.Context(), "marie", d.name)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, n := range d.open {
		d.got[n] = -1
	}
	d.client, d.managed, d.id, d.handled, d.counting, d.live, d.open = c, s%3 > 0, "", 0, false, 0, nil
	m.note(d, "connects, managed: %v", d.managed)
	if d.managed {
		_ = c.Send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	}
	m.present(d, s>>2%3-1)
}

func (m *mail) present(d *mailDevice, priority int) {
	if d.client != nil {
		m.note(d, "has the priority %d", priority)
		_ = d.client.Send(fmt.Sprintf("<presence><priority>%d</priority></presence>", priority))
	}
}

// cut ends a device's connection; what has come on one that is managed may be lost with it.
func (m *mail) cut(d *mailDevice, orderly bool) {
	if d.client == nil {
		return
	}
	if !d.managed || orderly {
		synctest.Wait()
		m.drain()
	}
	m.note(d, "is gone, orderly: %v", orderly)
	if orderly && d.managed {
		m.acknowledge(d)
		_ = d.client.Send("</stream:stream>")
		synctest.Wait()
		d.unheard = nil
	}
	d.client.Close()
	// An acknowledgement that is still to be read goes with the connection.
	d.client, d.open, d.unheard = nil, append(d.open, d.unheard...), nil
}

func (m *mail) resume(d *mailDevice) {
	if d.client != nil || d.id == "" {
		return
	}
	c, err := m.world.SignIn(m.t.Context(), "marie")
	if err != nil {
		m.t.Fatal(err)
	}
	_ = c.Send(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", d.id, d.handled))
	el, err := c.Receive(m.t.Context())
	if err != nil || !el.Is(ns.SM, "resumed") {
		m.note(d, "cannot resume")
		c.Close()
		d.id = ""
		return
	}
	m.note(d, "resumes")
	d.client, d.open = c, nil
}

func (m *mail) fail(s int) {
	f := []xmpptest.Failure{xmpptest.Works, xmpptest.Works, xmpptest.ReadOnly, xmpptest.Broken}[s%4]
	m.note(nil, "the disk: %d", f)
	m.disk.Fail(f)
}

// die has the server die, or stop in good order.
func (m *mail) die(s int) string {
	if p := m.drain(); p != "" {
		return p
	}
	m.disk.Fail(xmpptest.Works)
	m.note(nil, "the server restarts, orderly: %v", s%2 == 0)
	restart := m.world.Restart
	if s%2 == 1 {
		restart = m.world.Crash
		m.hangUp()
	}
	err := restart()
	m.hangUp()
	m.lives++
	if err != nil {
		return err.Error()
	}
	return ""
}

func (m *mail) hangUp() {
	if m.sender != nil {
		synctest.Wait()
		m.drain()
		m.sender.Close()
		m.sender = nil
	}
	for _, d := range m.devices {
		if d.client != nil {
			m.drain()
			d.client.Close()
			d.client, d.id = nil, ""
		}
	}
}

// drain has everybody read what has come.
func (m *mail) drain() string {
	if m.sender != nil {
		for {
			el, _ := m.sender.Poll()
			if el == nil {
				break
			}
			m.hear(el)
		}
	}
	for _, d := range m.devices {
		for d.client != nil {
			el, _ := d.client.Poll()
			if el == nil {
				break
			}
			if p := m.receive(d, el); p != "" {
				return p
			}
		}
	}
	return ""
}

func (m *mail) hear(el *xmlstream.Element) {
	if el.Is(ns.SM, "a") {
		h, _ := strconv.ParseUint(el.Attr("h"), 10, 32)
		for ; m.acked < uint32(h); m.acked++ {
			m.note(nil, "acknowledged: %d", m.unacked[0])
			m.due[m.unacked[0]] = true
			m.unacked = m.unacked[1:]
		}
	}
	if el.Local == "message" && el.Attr("type") == "error" {
		n, _ := strconv.Atoi(el.Attr("id"))
		m.note(nil, "refused: %d", n)
		m.refused[n] = true
	}
}

func (m *mail) receive(d *mailDevice, el *xmlstream.Element) string {
	if el.Is(ns.SM, "enabled") {
		d.counting, d.id = true, el.Attr("id")
		return ""
	}
	if el.Space != ns.Client {
		return ""
	}
	if d.counting {
		d.handled++
	}
	if el.Local != "message" {
		return ""
	}
	n, _ := strconv.Atoi(el.Attr("id"))
	late := el.Child(ns.Delay, "delay") != nil
	m.note(d, "gets %d, late: %v", n, late)
	if life, twice := d.got[n]; twice && life == m.lives {
		return fmt.Sprintf("%s got %d twice", d.name, n)
	}
	d.got[n] = m.lives
	if d.managed {
		d.open = append(d.open, n)
	}
	if !late {
		if n < d.live {
			return fmt.Sprintf("%s got %d after %d", d.name, n, d.live)
		}
		d.live = n
	}
	return ""
}

// end has everything arrive that will.
func (m *mail) end() string {
	m.disk.Fail(xmpptest.Works)
	time.Sleep(time.Minute)
	if p := m.drain(); p != "" {
		return p
	}
	for _, d := range m.devices {
		m.cut(d, false)
	}
	time.Sleep(3 * time.Minute)
	d := m.devices[0]
	m.connect(d, 4) // managed, with priority 0
	for range 20 {
		time.Sleep(time.Second)
		if p := m.drain(); p != "" {
			return p
		}
		m.acknowledge(d)
	}
	for n := range m.last + 1 {
		arrived := false
		for _, d := range m.devices {
			_, ok := d.got[n]
			arrived = arrived || ok
		}
		if m.due[n] && !m.refused[n] && !arrived && m.isMessage(n) {
			return fmt.Sprintf("%d has not arrived", n)
		}
	}
	return ""
}

func (m *mail) isMessage(n int) bool {
	for _, line := range m.log {
		if strings.Contains(line, fmt.Sprintf(" %d to marie", n)) {
			return strings.Contains(line, "<body>")
		}
	}
	return false
}
