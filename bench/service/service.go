package service

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Service answers GET /contacts/USER. It speaks just enough HTTP/1.1 for that: net/http would cost the generator several times
// as much, on the machine where the server is measured.
type Service struct {
	graph    *Graph
	delay    time.Duration
	listener net.Listener

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
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

// URL is the template that a server is configured with.
func (s *Service) URL() string { return "http://" + s.listener.Addr().String() + "/contacts/%s" }

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
		user, last, err := readRequest(in)
		if err != nil {
			return
		}
		s.enter()
		if s.delay > 0 {
			time.Sleep(s.delay)
		}
		out = s.answer(out[:0], user, last)
		s.leave() // before the answer goes: whoever has read it finds it counted
		_, err = c.Write(out)
		if err != nil || last {
			return
		}
	}
}

// answer appends a whole response for a user, who may be unknown.
func (s *Service) answer(dst, user []byte, last bool) []byte {
	connection := "keep-alive"
	if last {
		connection = "close"
	}
	i, ok := Index(append(user, '@'))
	if !ok || i >= s.graph.Users {
		return append(dst, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: "+connection+"\r\n\r\n"...)
	}
	s.each[i].Add(1)
	dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: "+connection+"\r\nContent-Length: "...)
	// The length is known only after the body: room for it, padded with the white space that a field value may begin with.
	const room = "         0" // as long as the longest length
	at := len(dst)
	dst = append(dst, room+"\r\n\r\n"...)
	start := len(dst)
	dst = s.graph.AppendRoster(dst, i)
	length := strconv.Itoa(len(dst) - start)
	copy(dst[at+len(room)-len(length):], length)
	return dst
}

// readRequest returns the last segment of the path, and whether the connection ends after the answer.
func readRequest(in *bufio.Reader) (user []byte, last bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, false, err
	}
	method, rest, _ := bytes.Cut(line, []byte(" "))
	path, version, ok := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	if !ok || string(method) != "GET" {
		return nil, false, fmt.Errorf("roster service: unexpected request %q", line)
	}
	user = bytes.Clone(path[bytes.LastIndexByte(path, '/')+1:])
	last = string(version) == "HTTP/1.0"
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, false, err
		}
		field := bytes.ToLower(bytes.TrimSpace(line))
		switch {
		case len(field) == 0:
			return user, last, nil
		case bytes.HasPrefix(field, []byte("connection:")) && bytes.Contains(field, []byte("close")):
			last = true
		}
	}
}
