// Command floor is what a chat server cannot be cheaper than: the sockets, and net/http with encoding/json for the rosters, without XML,
// checks, queues or limits. Sign-ins are canned answers, messages are forwarded by byte search, a refresh is a GET, or a POST for
// all users of a notification, a json.Unmarshal and a canned push; a PATCH has no GET. It understands the bench's own client and nothing else, and is no XMPP server.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// contact is a member of the roster document.
type contact struct {
	Name   string          `json:"name"`
	Groups map[string]bool `json:"groups"`
}

// user is a connection and its owner.
type user struct {
	name string

	mu       sync.Mutex // held while writing, and for what follows
	conn     net.Conn
	contacts []string // addresses, one copy of each for all users
	presence []byte   // what was sent last, from its attributes on; nil before the first
}

type server struct {
	host, roster, batch string
	tls                 *tls.Config
	client              *http.Client

	mu    sync.RWMutex
	users map[string]*user  // those online, by bare address
	names map[string]string // the one copy of each contact's address
}

func main() {
	log.SetFlags(0)
	c2s := flag.String("c2s", "127.0.0.1:5222", "address for clients")
	web := flag.String("http", "127.0.0.1:5280", "address for notifications")
	host := flag.String("host", "localhost", "the virtual host")
	roster := flag.String("roster", "", "the roster service, with %s for the user")
	batch := flag.String("batch", "", "the roster service for many users at once, instead of -roster where clients do not wait for theirs")
	cert := flag.String("cert", "", "PEM file; offers STARTTLS")
	key := flag.String("key", "", "PEM file")
	flag.Parse()
	s := &server{host: *host, roster: *roster, batch: *batch, users: make(map[string]*user), names: make(map[string]string),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	l, err := net.Listen("tcp", *c2s)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(s.accept(l)) }()
	http.HandleFunc("POST /roster_admin/refresh", s.refresh)
	http.HandleFunc("PATCH /roster_admin/rosters", s.patch)
	go func() { log.Fatal(http.ListenAndServe(*web, nil)) }()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}

func (s *server) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go s.serve(c)
	}
}

const (
	header   = "<?xml version='1.0'?><stream:stream id='1' from='floor' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	sasl     = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
	bind     = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
)

// serve reads one connection, a whole stanza at a time by the client's known endings.
func (s *server) serve(c net.Conn) {
	u := &user{conn: c}
	defer func() {
		s.mu.Lock()
		delete(s.users, s.bare(u))
		s.mu.Unlock()
		_ = u.conn.Close() // the peer is gone
	}()
	buf := make([]byte, 4<<10)
	for n := 0; ; {
		m, err := u.conn.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
		rest := buf[:n]
		for len(rest) > 0 {
			end := stanzaEnd(rest)
			if end == 0 {
				break
			}
			if err := s.handle(u, rest[:end]); err != nil {
				return
			}
			rest = rest[end:]
		}
		n = copy(buf, rest)
	}
}

// stanzaEnd returns the length of the first item in b, or 0 when it is not complete: the client's items end in one of
// few ways.
func stanzaEnd(b []byte) int {
	end := "/>"
	switch {
	case bytes.HasPrefix(b, []byte("<?xml")):
		end = "streams'>"
	case bytes.HasPrefix(b, []byte("<message")):
		end = "</message>"
	case bytes.HasPrefix(b, []byte("<auth")):
		end = "</auth>"
	case bytes.HasPrefix(b, []byte("</stream:stream>")):
		end = ">"
	case bytes.HasPrefix(b, []byte("<presence>")):
		end = "</presence>"
	case bytes.HasPrefix(b, []byte("<iq type='set'")), bytes.HasPrefix(b, []byte("<iq type='get'")):
		end = "</iq>"
	}
	i := bytes.Index(b, []byte(end))
	if i < 0 {
		return 0
	}
	return i + len(end)
}

func (s *server) handle(u *user, item []byte) error {
	switch {
	case bytes.HasPrefix(item, []byte("<message")):
		return s.message(u, item)
	case bytes.HasPrefix(item, []byte("<presence")):
		return s.presence(u, item)
	case bytes.HasPrefix(item, []byte("<?xml")):
		return s.open(u)
	case bytes.HasPrefix(item, []byte("<starttls")):
		return s.secure(u)
	case bytes.HasPrefix(item, []byte("<auth")):
		return s.authenticate(u, item)
	case bytes.HasPrefix(item, []byte("<iq type='set' id='bind'")):
		return u.write([]byte("<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" + s.bare(u) + "/bench</jid></bind></iq>"))
	case bytes.HasPrefix(item, []byte("<iq type='get' id='roster'")):
		return s.sendRoster(u)
	case bytes.HasPrefix(item, []byte("<iq type='result'")):
		return nil
	}
	return fmt.Errorf("unexpected %q", item)
}

func (u *user) write(b []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err := u.conn.Write(b)
	return err
}

func (s *server) bare(u *user) string { return u.name + "@" + s.host }

func (s *server) find(jid string) *user {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[jid]
}

func (s *server) open(u *user) error {
	features := bind
	if u.name == "" {
		features = sasl
		if _, secured := u.conn.(*tls.Conn); s.tls != nil && !secured {
			features = starttls + sasl
		}
	}
	return u.write([]byte(header + "<stream:features>" + features + "</stream:features>"))
}

func (s *server) secure(u *user) error {
	if err := u.write([]byte("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")); err != nil {
		return err
	}
	u.conn = tls.Server(u.conn, s.tls)
	return nil
}

func (s *server) authenticate(u *user, item []byte) error {
	token := item[bytes.IndexByte(item, '>')+1:]
	plain, err := base64.StdEncoding.DecodeString(string(token[:bytes.IndexByte(token, '<')]))
	if err != nil {
		return err
	}
	parts := strings.Split(string(plain), "\x00")
	if len(parts) != 3 {
		return fmt.Errorf("unexpected %q", plain)
	}
	u.name = parts[1]
	s.mu.Lock()
	s.users[s.bare(u)] = u
	s.mu.Unlock()
	return u.write([]byte("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"))
}

func (s *server) fetch(name string) (map[string]contact, error) {
	resp, err := s.client.Get(strings.Replace(s.roster, "%s", name, 1))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var contacts map[string]contact
	return contacts, json.Unmarshal(body, &contacts)
}

func appendItem(dst []byte, jid string, c contact) []byte {
	dst = append(dst, "<item jid='"+jid+"' name='"+c.Name+"' subscription='both'>"...)
	for g := range c.Groups {
		dst = append(dst, "<group>"+g+"</group>"...)
	}
	return append(dst, "</item>"...)
}

func (s *server) sendRoster(u *user) error {
	contacts, err := s.fetch(u.name)
	if err != nil {
		return err
	}
	out := []byte("<iq type='result' id='roster'><query xmlns='jabber:iq:roster'>")
	for jid, c := range contacts {
		out = appendItem(out, jid, c)
	}
	out = append(out, "</query></iq>"...)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.contacts = s.addresses(contacts)
	_, err = u.conn.Write(out)
	return err
}

// addresses returns the contacts' addresses as they are kept.
func (s *server) addresses(contacts map[string]contact) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]string, 0, len(contacts))
	for jid := range contacts {
		if s.names[jid] == "" {
			s.names[jid] = jid
		}
		kept = append(kept, s.names[jid])
	}
	return kept
}

// message writes a message on with its sender's address in front of the other attributes.
func (s *server) message(u *user, item []byte) error {
	to := s.find(attr(item, " to='"))
	if to == nil {
		return nil
	}
	out := make([]byte, 0, len(item)+64)
	out = append(out, "<message from='"+s.bare(u)+"/bench'"...)
	out = append(out, item[len("<message"):]...)
	return to.write(out)
}

func attr(item []byte, name string) string {
	i := bytes.Index(item, []byte(name))
	if i < 0 {
		return ""
	}
	value := item[i+len(name):]
	return string(value[:max(bytes.IndexByte(value, '\''), 0)])
}

// presence goes to every contact who is online; the first one is answered with theirs.
func (s *server) presence(u *user, item []byte) error {
	line := append([]byte("<presence from='"+s.bare(u)+"/bench'"), item[len("<presence"):]...)
	u.mu.Lock()
	first := u.presence == nil
	u.presence = line
	contacts := u.contacts // replaced, never changed
	u.mu.Unlock()
	var theirs []byte
	for _, jid := range contacts {
		c := s.find(jid)
		if c == nil {
			continue
		}
		c.mu.Lock()
		if c.presence != nil {
			theirs = append(theirs, c.presence...)
			// An error is the contact's: its own reader ends with it.
			_, _ = c.conn.Write(line)
		}
		c.mu.Unlock()
	}
	if first && len(theirs) > 0 {
		return u.write(theirs)
	}
	return nil
}

// refresh fetches the rosters of those named who are online, and pushes what differs.
func (s *server) refresh(w http.ResponseWriter, r *http.Request) {
	var names []string
	if err := json.NewDecoder(r.Body).Decode(&names); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.batch != "" {
		answer(w, len(names), s.refreshTogether(names))
		return
	}
	var failed atomic.Int64
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() {
			if err := s.refreshOne(name); err != nil {
				failed.Add(1)
			}
		})
	}
	group.Wait()
	answer(w, len(names), int(failed.Load()))
}

func answer(w http.ResponseWriter, names, errors int) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status":"ok","message":"roster update complete","updated":%d,"errors":%d}`, names-errors, errors)
}

func (s *server) refreshOne(name string) error {
	u := s.find(name + "@" + s.host)
	if u == nil {
		return nil
	}
	contacts, err := s.fetch(name)
	if err != nil {
		return err
	}
	return s.replace(u, contacts)
}

// refreshTogether fetches the rosters of those who are online with one request, and gives the number of those that failed.
func (s *server) refreshTogether(names []string) (failed int) {
	online := make(map[string]*user, len(names))
	asked := struct {
		Users []string `json:"users"`
	}{}
	for _, name := range names {
		if u := s.find(name + "@" + s.host); u != nil {
			online[name] = u
			asked.Users = append(asked.Users, name)
		}
	}
	if len(online) == 0 {
		return 0
	}
	rosters, err := s.fetchTogether(asked)
	if err != nil {
		return len(online)
	}
	for name, u := range online {
		if contacts := rosters[name]; contacts == nil || s.replace(u, contacts) != nil {
			failed++
		}
	}
	return failed
}

func (s *server) fetchTogether(asked any) (rosters map[string]map[string]contact, err error) {
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Post(s.batch, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	return rosters, json.Unmarshal(body, &rosters)
}

// replace pushes what differs.
func (s *server) replace(u *user, contacts map[string]contact) error {
	kept := s.addresses(contacts)
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []byte
	for _, jid := range u.contacts {
		if _, stays := contacts[jid]; !stays {
			out = appendRemoval(out, jid)
		}
		delete(contacts, jid)
	}
	for jid, c := range contacts { // those that are left are new
		out = append(appendItem(append(out, pushHead...), jid, c), pushTail...)
	}
	u.contacts = kept
	_, err := u.conn.Write(out)
	return err
}

func appendRemoval(dst []byte, jid string) []byte {
	return append(append(append(dst, pushHead...), "<item jid='"+jid+"' subscription='remove'/>"...), pushTail...)
}

// patch pushes what it is sent: who is null is taken out, and the others are new.
func (s *server) patch(w http.ResponseWriter, r *http.Request) {
	var patches map[string]map[string]*contact
	if err := json.NewDecoder(r.Body).Decode(&patches); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	failed := 0
	for name, changes := range patches {
		if u := s.find(name + "@" + s.host); u != nil && s.change(u, changes) != nil {
			failed++
		}
	}
	answer(w, len(patches), failed)
}

func (s *server) change(u *user, changes map[string]*contact) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []byte
	kept := slices.Clone(u.contacts)
	for jid, c := range changes {
		if c == nil {
			kept = slices.DeleteFunc(kept, func(other string) bool { return other == jid })
			out = appendRemoval(out, jid)
		} else {
			kept = append(kept, jid)
			out = append(appendItem(append(out, pushHead...), jid, *c), pushTail...)
		}
	}
	u.contacts = kept
	_, err := u.conn.Write(out)
	return err
}

const (
	pushHead = "<iq type='set' id='push'><query xmlns='jabber:iq:roster'>"
	pushTail = "</query></iq>"
)
