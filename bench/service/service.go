package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Service answers GET /contacts/USER, and POST /batch (section 4 of docs/roster-http.md). It speaks just enough HTTP/1.1 for that: net/http would cost the generator several times
// as much, on the machine where the server is measured.
type Service struct {
	graph    *Graph
	delay    time.Duration
	listener net.Listener

	mood    atomic.Int32
	changed atomic.Pointer[chan struct{}] // closed when the mood is another

	requests atomic.Int64
	under    atomic.Int64   // requests being answered now
	most     atomic.Int64   // the most there were at a time
	each     []atomic.Int32 // requests for each user since Forget

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// Serve starts a service on addr, which waits delay before each answer.
func Serve(addr string, g *Graph, delay time.Duration) (*Service, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("roster service: %w", err)
	}
	s := &Service{graph: g, delay: delay, listener: l, conns: make(map[net.Conn]struct{}), each: make([]atomic.Int32, g.Users)}
	s.SetMood(Well)
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

// A Mood is how the service answers.
type Mood int32

// The moods of a service.
const (
	Well    Mood = iota
	Silent       // requests are not answered, until it is in another mood
	Failing      // 503
)

// SetMood has the service answer so from now on.
func (s *Service) SetMood(m Mood) {
	s.mood.Store(int32(m))
	next := make(chan struct{})
	if before := s.changed.Swap(&next); before != nil {
		close(*before)
	}
}

// await waits while the service is silent, and tells how it is then.
func (s *Service) await() Mood {
	for {
		changed := *s.changed.Load()
		if m := Mood(s.mood.Load()); m != Silent {
			return m
		}
		<-changed
	}
}

// URL is the template that a server is configured with.
func (s *Service) URL() string { return "http://" + s.listener.Addr().String() + "/contacts/%s" }

// BatchURL is where many rosters are asked for at once.
func (s *Service) BatchURL() string { return "http://" + s.listener.Addr().String() + "/batch" }

// Requests returns how many fetches were answered so far, and the most that waited at one time.
func (s *Service) Requests() (total, most int64) { return s.requests.Load(), s.most.Load() }

// Forget counts from nothing again.
func (s *Service) Forget() {
	s.requests.Store(0)
	s.most.Store(0)
	for i := range s.each {
		s.each[i].Store(0)
	}
}

// MostForOne returns how often the user was asked for who was asked for most often since Forget, and who that is.
func (s *Service) MostForOne() (times int, user string) {
	for i := range s.each {
		if n := int(s.each[i].Load()); n > times {
			times, user = n, User(i)
		}
	}
	return times, user
}

// Close stops the service and waits for its goroutines.
func (s *Service) Close() error {
	s.SetMood(Well)
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Service) accept() {
	defer s.wg.Done()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.keep(c) {
			_ = c.Close() // accepted while the service was being closed
			return
		}
		go s.serve(c)
	}
}

// keep notes an open connection, unless the service is closed.
func (s *Service) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return true
}

// drop closes a connection and forgets it.
func (s *Service) drop(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = c.Close() // the peer is gone or asked for it: nobody is left to hear of an error
}

// enter and leave count the requests that are being answered.
func (s *Service) enter() {
	now := s.under.Add(1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
}

func (s *Service) leave() {
	s.under.Add(-1)
	s.requests.Add(1)
}

func (s *Service) serve(c net.Conn) {
	defer s.wg.Done()
	defer s.drop(c)
	in := bufio.NewReaderSize(c, 2<<10)
	var out []byte
	for {
		req, err := readRequest(in)
		if err != nil {
			return
		}
		s.enter()
		if s.delay > 0 {
			time.Sleep(s.delay)
		}
		if s.await() == Failing {
			req.last = true
			out = append(out[:0], "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"...)
		} else {
			out = s.answer(out[:0], req)
		}
		s.leave() // before the answer goes: whoever has read it finds it counted
		_, err = c.Write(out)
		if err != nil || req.last {
			return
		}
	}
}

// answer appends a whole response. A user who is unknown is not found; in a batch he is null.
func (s *Service) answer(dst []byte, req request) []byte {
	connection := "keep-alive"
	if req.last {
		connection = "close"
	}
	i, ok := s.user(req.user)
	if req.batch == nil && !ok {
		return append(dst, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: "+connection+"\r\n\r\n"...)
	}
	dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: "+connection+"\r\nContent-Length: "...)
	// The length is known only after the body: room for it, padded with the white space that a field value may begin with.
	const room = "         0" // as long as the longest length
	at := len(dst)
	dst = append(dst, room+"\r\n\r\n"...)
	start := len(dst)
	if req.batch != nil {
		dst = s.appendBatch(dst, req.batch)
	} else {
		dst = s.appendRoster(dst, i)
	}
	length := strconv.Itoa(len(dst) - start)
	copy(dst[at+len(room)-len(length):], length)
	return dst
}

func (s *Service) user(name []byte) (i int, ok bool) {
	i, ok = Index(append(name, '@'))
	return i, ok && i < s.graph.Users
}

func (s *Service) appendRoster(dst []byte, i int) []byte {
	s.each[i].Add(1)
	return s.graph.AppendRoster(dst, i)
}

func (s *Service) appendBatch(dst []byte, names []string) []byte {
	dst = append(dst, '{')
	for k, name := range names {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendQuote(dst, name), ':') // localparts that are asked for here are ASCII letters and digits
		if i, ok := s.user([]byte(name)); ok {
			dst = s.appendRoster(dst, i)
		} else {
			dst = append(dst, "null"...)
		}
	}
	return append(dst, '}')
}

// request is what is asked for: one user, or a batch.
type request struct {
	user  []byte   // the last segment of the path
	batch []string // nil: one user
	last  bool     // the connection ends after the answer
}

// maxBody bounds what a request may bring along.
const maxBody = 1 << 20

func readRequest(in *bufio.Reader) (req request, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return req, err
	}
	method, rest, _ := bytes.Cut(line, []byte(" "))
	path, version, ok := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	post := string(method) == "POST" && string(path) == "/batch"
	if !ok || !post && string(method) != "GET" {
		return req, fmt.Errorf("roster service: unexpected request %q", line)
	}
	req.user = bytes.Clone(path[bytes.LastIndexByte(path, '/')+1:])
	req.last = string(version) == "HTTP/1.0"
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return req, err
		}
		name, value, _ := bytes.Cut(bytes.ToLower(bytes.TrimSpace(line)), []byte(":"))
		switch string(name) {
		case "":
			if post {
				req.batch, err = readBatch(in, length)
			}
			return req, err
		case "connection":
			req.last = req.last || bytes.Contains(value, []byte("close"))
		case "content-length":
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 || length > maxBody {
				return req, fmt.Errorf("roster service: a body of %q bytes", value)
			}
		}
	}
}

// readBatch reads the users that a batch is about. Their ETags, if any, were not given by this service.
func readBatch(in *bufio.Reader, length int) ([]string, error) {
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	var asked struct {
		Users []string `json:"users"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, fmt.Errorf("roster service: %w", err)
	}
	if len(asked.Users) == 0 {
		return nil, errors.New("roster service: a batch without users")
	}
	return asked.Users, nil
}
