package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/jid"
)

// This file holds the kinds of values. Each makes a key from its name, default, field and limits.

func text(name string, def any, field func(target) *string, doc string) key {
	return key{name, def, "string", doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, `text in quotes`)
		}
		*field(t) = s
		return nil
	}}
}

// checked makes a key for text of a certain form: check returns what to keep, or what is wrong.
func checked(name, def string, field func(target) *string, check func(string) (string, error), doc string) key {
	return key{name, def, "string", doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, `text in quotes`)
		}
		s, err := check(s)
		if err != nil {
			return err
		}
		*field(t) = s
		return nil
	}}
}

func boolean(name string, def bool, field func(target) *bool, doc string) key {
	return key{name, def, "true or false", doc, func(t target, v any) error {
		b, ok := v.(bool)
		if !ok {
			return wrongType(v, "true or false, without quotes")
		}
		*field(t) = b
		return nil
	}}
}

func count(name string, def int, field func(target) *int, least, most int, doc string) key {
	return key{name, def, "number", doc, func(t target, v any) error {
		n, ok := v.(int64)
		if !ok {
			return wrongType(v, "a whole number, without quotes")
		}
		if n < int64(least) || n > int64(most) {
			return fmt.Errorf("is %d; allowed is %d to %d", n, least, most)
		}
		*field(t) = int(n)
		return nil
	}}
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

func size[T int | int64](name string, def any, field func(target) *T, least, most int64, doc string) key {
	return key{name, def, "size", doc, func(t target, v any) error {
		n, err := parseSize(v)
		if err != nil {
			return err
		}
		if n < least || n > most {
			return fmt.Errorf("is %d bytes; allowed is %d to %d", n, least, most)
		}
		*field(t) = T(n)
		return nil
	}}
}

// sizeOrZero is a size that may also be 0, which stands for something else.
func sizeOrZero[T int | int64](name string, def any, field func(target) *T, least, most int64, doc string) key {
	k := size(name, def, field, least, most, doc)
	set := k.set
	k.set = func(t target, v any) error {
		if n, err := parseSize(v); err == nil && n == 0 {
			*field(t) = 0
			return nil
		}
		return set(t, v)
	}
	return k
}

// parseSize reads a number of bytes: 262144 or "256 KiB".
func parseSize(v any) (int64, error) {
	if n, ok := v.(int64); ok {
		return n, nil
	}
	s, ok := v.(string)
	if !ok {
		return 0, wrongType(v, `a number of bytes, or a size in quotes such as "256 KiB"`)
	}
	digits := strings.TrimRight(s, "BikKMG")
	unit, known := sizeUnits[s[len(digits):]]
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32)
	if err != nil || !known {
		return 0, fmt.Errorf(`is %q, which is no size; write a number and B, kB, MB, GB, KiB, MiB or GiB, such as "256 KiB"`, s)
	}
	return n * unit, nil
}

func duration(name, def string, field func(target) *time.Duration, least, most time.Duration, doc string) key {
	return key{name, def, "duration", doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, `a duration in quotes, such as "10s" or "5m"`)
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf(`is %q, which is no duration; write numbers with the units ms, s, m and h, such as "10s" or "1h30m"`, s)
		}
		if d < least || d > most {
			return fmt.Errorf("is %s; allowed is %s to %s", d, least, most)
		}
		*field(t) = d
		return nil
	}}
}

// choice makes a key with a few possible values; refused are values with a reason of their own.
func choice(name, def string, field func(target) *string, refused map[string]string, values []string, doc string) key {
	return key{name, def, strings.Join(values, ", "), doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "one of "+quoted(values))
		}
		if slices.Contains(values, s) {
			*field(t) = s
			return nil
		}
		if why := refused[s]; why != "" {
			return fmt.Errorf("%q %s; allowed is one of %s", s, why, quoted(values))
		}
		return fmt.Errorf("is %q; allowed is one of %s%s", s, quoted(values), didYouMean(s, values))
	}}
}

func level(name, def, doc string) key {
	values := []string{"debug", "info", "warn", "error"}
	var s string
	k := choice(name, def, func(target) *string { return &s }, nil, values, doc)
	set := k.set
	k.set = func(t target, v any) error {
		if err := set(t, v); err != nil {
			return err
		}
		return t.Log.Level.UnmarshalText([]byte(s))
	}
	return k
}

// address makes a key for a listen address. "" turns the listener off.
func address(name, def string, field func(target) *string, doc string) key {
	const want = `an address in quotes such as "127.0.0.1:5222", ":5222" for every interface, or "" for none`
	return key{name, def, "address", doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, want)
		}
		if s != "" {
			_, port, err := net.SplitHostPort(s)
			if err != nil {
				return fmt.Errorf("is %q, which is no host:port; write %s", s, want)
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return fmt.Errorf("is %q, whose port is not a number from 0 to 65535; write %s", s, want)
			}
		}
		*field(t) = s
		return nil
	}}
}

// path makes a key for a file or folder. A relative one starts from the folder of the configuration file.
func path(name, def string, field func(target) *string, doc string) key {
	return key{name, def, "path", doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a path in quotes")
		}
		if strings.ContainsRune(s, 0) {
			return errors.New("has a NUL character")
		}
		*field(t) = resolvePath(t.dir, s)
		return nil
	}}
}

func resolvePath(dir, s string) string {
	if s == "" || dir == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(dir, s)
}

func domain(name string, field func(target) *string, doc string) key {
	return key{name, nil, "domain", doc, func(t target, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, `a domain in quotes, such as "chat.example.com"`)
		}
		canonical, err := jid.Domainpart(s)
		if err != nil {
			return fmt.Errorf(`is no domain: %w; write one such as "chat.example.com"`, err)
		}
		*field(t) = canonical
		return nil
	}}
}

// list makes a key for a list of strings that is empty by default.
func list(name string, field func(target) *[]string, check func(string) error, doc string) key {
	return listOf(name, []string{}, field, check, doc)
}

func listOf(name string, def []string, field func(target) *[]string, check func(string) error, doc string) key {
	return key{name, def, "list", doc, func(t target, v any) error {
		values, err := stringList(v, `a list such as ["one", "two"]`)
		if err != nil {
			return err
		}
		for _, s := range values {
			if err := check(s); err != nil {
				return err
			}
		}
		*field(t) = values
		return nil
	}}
}

// networks makes a key for a list of addresses and networks.
func networks(name string, def []string, field func(target) *[]netip.Prefix, doc string) key {
	if def == nil {
		def = []string{}
	}
	return key{name, def, "list", doc, func(t target, v any) error {
		values, err := stringList(v, `a list of addresses or networks such as ["127.0.0.1", "10.0.0.0/8"]`)
		if err != nil {
			return err
		}
		var all []netip.Prefix
		for _, s := range values {
			p, err := parseNetwork(s)
			if err != nil {
				return fmt.Errorf(`has %q, which is no address or network; write one such as "127.0.0.1", "10.0.0.0/8" or "2001:db8::/32"`, s)
			}
			all = append(all, p)
		}
		*field(t) = all
		return nil
	}}
}

func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
}

// stringList returns nil for an empty list, so that an empty list equals the default.
func stringList(v any, want string) ([]string, error) {
	values, ok := v.([]any)
	if !ok {
		return nil, wrongType(v, want)
	}
	var out []string
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("has %s in its list; write %s", describe(v), want)
		}
		out = append(out, s)
	}
	return out, nil
}

// checkOrigin accepts what a browser sends as Origin (RFC 6454 section 6.2): scheme, host, port and nothing else.
func checkOrigin(s string) error {
	if s == "*" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != strings.ToLower(s) {
		return fmt.Errorf(`has %q, which is no origin; write scheme and host, such as "https://app.example.com", without a path, or "*"`, s)
	}
	return nil
}

// checkImageOrigin accepts one origin, and not all of them.
func checkImageOrigin(s string) error {
	if s == "*" {
		return errors.New(`has "*": pictures come from where you say, such as "https://cdn.example.com"`)
	}
	return checkOrigin(s)
}

// checkName accepts any name that a certificate can have.
func checkName(s string) error {
	if s == "" {
		return errors.New("has an empty name in its list")
	}
	return nil
}

func wrongType(v any, want string) error {
	return fmt.Errorf("is %s; write %s", describe(v), want)
}

// describe names the type of a decoded value, never the value: it may be a secret.
func describe(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}

func quoted(values []string) string {
	q := make([]string, len(values))
	for i, s := range values {
		q[i] = strconv.Quote(s)
	}
	return strings.Join(q, ", ")
}
