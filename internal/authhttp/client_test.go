package authhttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service speaks both dialects. john's password is "p&w% ü".
type service struct {
	asked   atomic.Int32
	seen    atomic.Pointer[http.Request]
	respond func(w http.ResponseWriter, r *http.Request) // in place of what is right
}

const secret = "p&w% ü"

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	s.seen.Store(r)
	q := r.URL.Query()
	switch {
	case s.respond != nil:
		s.respond(w, r)
	case r.URL.Path == "/auth/check_password":
		fmt.Fprintf(w, "%t\n", q.Get("user") == "john" && q.Get("server") == "localhost" && q.Get("pass") == secret)
	case r.URL.Path == "/auth/get_password" && q.Get("user") == "john":
		fmt.Fprintf(w, "==MULTI_SCRAM==,4096,===SHA1===%s|%s|%s,==SHA224==x|y|z,==SHA256==%s|%s|%s",
			b64(16, 1), b64(20, 2), b64(20, 3), b64(16, 4), b64(32, 5), b64(32, 6))
	case strings.HasPrefix(r.URL.Path, "/basic/"):
		if name, pass, ok := r.BasicAuth(); ok && name == "john" && pass == secret {
			w.WriteHeader(http.StatusNoContent)
		} else {
			w.WriteHeader(http.StatusUnauthorized)
		}
	default:
		http.NotFound(w, r)
	}
}

func b64(n int, b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, n)) }

// bubble runs a test with a service on a network in memory and a fake clock.
func bubble(t *testing.T, change func(*Config), test func(t *testing.T, s *service, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := make(pipes)
		s := &service{}
		srv := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		done := make(chan error)
		go func() { done <- srv.Serve(l) }()
		cfg := Config{Host: "localhost", URL: "http://app/auth/", Style: MongooseIM, Timeout: 5 * time.Second, Concurrency: 4, UserAgent: "test",
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				select {
				case l <- theirs:
					return ours, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}}
		if change != nil {
			change(&cfg)
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, c)
		c.Close()
		close(l)
		srv.Close()
		<-done
	})
}

// pipes are a listener in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

func basicStyle(c *Config) { c.Style, c.URL = Basic, "http://app/basic/{host}/{user}?u={user}" }

func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*Config){"mongooseim": nil, "basic": basicStyle} {
		t.Run(name, func(t *testing.T) {
			bubble(t, change, func(t *testing.T, _ *service, c *Client) {
				for _, one := range []struct {
					user, password string
					want           bool
				}{{"john", secret, true}, {"john", "wrong", false}, {"jane", secret, false}, {"a/../b?c=d&pass=x#e", secret, false}} {
					if got, err := c.Check(t.Context(), one.user, one.password); got != one.want || err != nil {
						t.Errorf("%s: %v %v", one.user, got, err)
					}
				}
			})
		})
	}
}

// Attack case 47: a name is one parameter, or one segment, whatever it has in it.
func TestNamesAreEncoded(t *testing.T) {
	const name = "a/b?c=d&e#%2F\r\n."
	bubble(t, nil, func(t *testing.T, s *service, c *Client) {
		if _, err := c.Check(t.Context(), name, "p&server=x"); err != nil {
			t.Fatal(err)
		}
		if q := s.seen.Load().URL.Query(); q.Get("user") != name || q.Get("server") != "localhost" || q.Get("pass") != "p&server=x" || len(q) != 3 {
			t.Errorf("asked %q", q)
		}
	})
	bubble(t, basicStyle, func(t *testing.T, s *service, c *Client) {
		if _, err := c.Check(t.Context(), name, "p"); err != nil {
			t.Fatal(err)
		}
		if r := s.seen.Load(); r.URL.Path != "/basic/localhost/"+name || r.URL.Query().Get("u") != name {
			t.Errorf("asked %q", r.URL)
		}
		asked := s.asked.Load()
		for _, dots := range []string{".", ".."} {
			if right, err := c.Check(t.Context(), dots, "p"); right || err != nil || s.asked.Load() != asked {
				t.Errorf("%q: %v %v", dots, right, err)
			}
		}
	})
}

func TestOwnCredentials(t *testing.T) {
	bubble(t, func(c *Config) { c.Credentials = "me:canary" }, func(t *testing.T, s *service, c *Client) {
		if _, err := c.Check(t.Context(), "john", secret); err != nil {
			t.Fatal(err)
		}
		if name, pass, _ := s.seen.Load().BasicAuth(); name != "me" || pass != "canary" {
			t.Errorf("sent %q %q", name, pass)
		}
	})
}

// Whatever is no answer is none: it neither lets in nor says that the password is wrong, and its error has no secret in it.
func TestNoAnswer(t *testing.T) {
	say := func(status int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	answers := map[string]func(http.ResponseWriter, *http.Request){
		"500": say(500, "true"), "503": say(503, ""), "429": say(429, "false"), "404": say(404, "false"), "201": say(201, "true"),
		"a page": say(200, "<html>Log in</html>"), "empty": say(200, ""), "TRUE": say(200, "TRUE"), "401": say(401, "false"),
		"too much": say(200, strings.Repeat("true ", maxBody)),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere/true", http.StatusFound)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "4")
			fmt.Fprint(w, "tr")
		},
	}
	for name, respond := range answers {
		for style, change := range map[string]func(*Config){"mongooseim": func(c *Config) { c.Credentials = "me:canary-own" }, "basic": basicStyle} {
			if style == "basic" && strings.Contains("201 a page empty TRUE 401", name) {
				continue // yes or no there
			}
			bubble(t, change, func(t *testing.T, s *service, c *Client) {
				s.respond = respond
				begun := time.Now()
				right, err := c.Check(t.Context(), "john", "canary-password")
				if right || err == nil || time.Since(begun) > 5*time.Second {
					t.Errorf("%s, %s: %v %v after %v", style, name, right, err, time.Since(begun))
				} else if strings.Contains(err.Error(), "canary") {
					t.Errorf("%s, %s: a secret is in %q", style, name, err)
				}
			})
		}
	}
}

// Every request is told of, once, with what came of it; no others are.
func TestObserve(t *testing.T) {
	var told []string
	observe := func(c *Config) {
		c.Observe = func(took time.Duration, err error) { told = append(told, fmt.Sprint(took, " ", err != nil)) }
		c.Cache = time.Minute
	}
	bubble(t, observe, func(t *testing.T, s *service, c *Client) {
		check := func(what string, want ...string) {
			t.Helper()
			if fmt.Sprint(told) != fmt.Sprint(want) {
				t.Errorf("%s: told %v, want %v", what, told, want)
			}
			told = nil
		}
		_, _ = c.Check(t.Context(), "john", "wrong")
		_, _ = c.Check(t.Context(), "john", secret)
		check("an answer is one, whatever it says", "0s false", "0s false")
		_, _ = c.Check(t.Context(), "john", secret)
		check("what is remembered")
		_, _ = c.Credentials(t.Context(), "john")
		_, _ = c.Credentials(t.Context(), "nobody")
		check("keys, and none", "0s false", "0s false")
		s.respond = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = c.Check(gone, "jane", secret)
		check("who has gone")
		_, _ = c.Check(t.Context(), "jane", secret)
		check("silence", "5s true")
		synctest.Wait() // nobody serves any more
		s.respond = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }
		_, _ = c.Check(t.Context(), "jane", secret)
		_, _ = c.Credentials(t.Context(), "jane")
		check("a page", "0s true", "0s true")
		s.respond = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
		for range 8 {
			_, _ = c.Check(t.Context(), "jane", secret)
		}
		if len(told) != 5 || c.Breaker() != "open" {
			t.Errorf("%v, the breaker is %s", told, c.Breaker())
		}
	})
}

// Five failures, and the service is left alone until a probe finds it well.
func TestBreaker(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *service, c *Client) {
		s.respond = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
		for range 20 {
			if _, err := c.Check(t.Context(), "john", secret); err == nil {
				t.Error("no error")
			}
		}
		if n := s.asked.Load(); n != 5 {
			t.Errorf("asked %d times", n)
		}
		s.respond = nil
		time.Sleep(7 * time.Second)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Check(gone, "john", secret); err == nil {
			t.Error("no error for who has gone")
		}
		if right, err := c.Check(t.Context(), "john", secret); !right || err != nil {
			t.Errorf("%v %v", right, err)
		}
	})
}

// Right passwords are remembered for a while, wrong ones and failures are not.
func TestCache(t *testing.T) {
	bubble(t, func(c *Config) { c.Cache = 30 * time.Second }, func(t *testing.T, s *service, c *Client) {
		check := func(user, password string, right bool, asked int32) {
			t.Helper()
			if got, err := c.Check(t.Context(), user, password); got != right || err != nil || s.asked.Load() != asked {
				t.Errorf("%v %v, asked %d times, want %v and %d", got, err, s.asked.Load(), right, asked)
			}
		}
		check("john", secret, true, 1)
		check("john", secret, true, 1)
		check("john", "wrong", false, 2)
		check("john", "wrong", false, 3)
		check("joh", "n"+secret, false, 4)
		time.Sleep(30 * time.Second)
		check("john", secret, true, 5)
		for i := range 2 * maxCached {
			c.cache.add(c.cache.key(fmt.Sprint(i), "x"))
		}
		if n := len(c.cache.until); n > maxCached {
			t.Errorf("%d are remembered", n)
		}
	})
	bubble(t, nil, func(t *testing.T, s *service, c *Client) {
		for range 2 {
			if right, err := c.Check(t.Context(), "john", secret); !right || err != nil {
				t.Error(err)
			}
		}
		if s.asked.Load() != 2 {
			t.Error("remembered against the configuration")
		}
	})
}

func TestCredentials(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *service, c *Client) {
		keys, err := c.Credentials(t.Context(), "john")
		if err != nil || keys.SHA1.Iterations != 4096 || len(keys.SHA1.StoredKey) != 20 || keys.SHA256.ServerKey[0] != 6 || keys.SHA256.Salt[0] != 4 {
			t.Errorf("%+v %v", keys, err)
		}
		if c.Iterations() != 4096 {
			t.Error("who does not exist looks otherwise")
		}
		if _, err := c.Credentials(t.Context(), "jane"); !errors.Is(err, auth.ErrUnknownUser) {
			t.Errorf("jane: %v", err)
		}
		for _, body := range []string{"", "canary", "==SCRAM==,a,b", "==MULTI_SCRAM==,4096,", "==MULTI_SCRAM==,x,===SHA1===YQ==|YQ==|YQ==",
			"==MULTI_SCRAM==,4096,===SHA1===canary!|YQ==|YQ==", "==MULTI_SCRAM==,4096,==SHA512==YQ==|YQ==|YQ=="} {
			s.respond = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
			if _, err := c.Credentials(t.Context(), "john"); err == nil || errors.Is(err, auth.ErrUnknownUser) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%q: %v", body, err)
			}
		}
		s.respond = func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "==SCRAM==,%s,%s,%s,10000", b64(20, 1), b64(20, 2), b64(16, 3))
		}
		if keys, err := c.Credentials(t.Context(), "john"); err != nil || keys.SHA1.StoredKey[0] != 1 || keys.SHA1.ServerKey[0] != 2 ||
			keys.SHA1.Salt[0] != 3 || keys.SHA1.Iterations != 10000 {
			t.Errorf("%+v %v", keys, err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for url, style := range map[string]Style{
		"": MongooseIM, "app/auth": MongooseIM, "ftp://app/": MongooseIM, "http://me:canary@app/": MongooseIM, "http://app/?x=1": MongooseIM,
		"http://app/{user}": MongooseIM, "http://{host}/auth": Basic, "http://app/{usr}": Basic, "http://app/#x": Basic, "http://app/": "other",
	} {
		if _, err := New(Config{Host: "localhost", URL: url, Style: style}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for credentials, style := range map[string]Style{"canary": MongooseIM, "a:canary\r\nX: y": MongooseIM, "a:canary": Basic} {
		if _, err := New(Config{Host: "localhost", URL: "http://app/", Style: style, Credentials: credentials}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", credentials, err)
		}
	}
}

// The environment's proxy is not for passwords (attack case 49).
func TestNoProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	c, err := New(Config{Host: "localhost", URL: "http://app.invalid/auth", Style: MongooseIM, Timeout: time.Second, Concurrency: 1,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Check(t.Context(), "john", "canary"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}
