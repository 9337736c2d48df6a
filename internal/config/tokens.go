package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// A token, or another secret, has three keys, of which one may be set: NAME holds it, NAME_file names a file with it, NAME_env an environment
// variable. Their values are kept as text until all keys are read; resolveTokens makes them one.

const tokenWant = `the token in quotes, or a list of tokens`

func tokenKeys(name, kind, doc string) []key { return secretKeys(name, kind, doc, true) }

// secretKeys are the three keys of a secret; lists says whether it may be a list of several.
func secretKeys(name, kind, doc string, lists bool) []key {
	keep := func(name, kind, doc string, set func(t target, v any) ([]string, error)) key {
		return key{name, "", kind, doc, func(t target, v any) error {
			values, err := set(t, v)
			if err == nil && t.text != nil {
				t.text[name] = values
			}
			return err
		}}
	}
	one := func(_ target, v any) ([]string, error) {
		s, ok := v.(string)
		if !ok {
			return nil, wrongType(v, "text in quotes")
		}
		return nonEmpty(s), nil
	}
	return []key{
		keep(name, kind, doc, func(t target, v any) ([]string, error) {
			if _, ok := v.(string); ok || !lists {
				return one(t, v)
			}
			values, err := stringList(v, tokenWant)
			return nonEmpty(values...), err
		}),
		keep(name+"_file", "path", "The same, read from a file", func(t target, v any) ([]string, error) {
			values, err := one(t, v)
			for i := range values {
				values[i] = resolvePath(t.dir, values[i])
			}
			return values, err
		}),
		keep(name+"_env", "string", "The same, from the environment variable of this name", one),
	}
}

// nonEmpty returns the values without surrounding space and without those that are empty: an empty token would let
// everybody in.
func nonEmpty(values ...string) []string {
	var out []string
	for _, s := range values {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// resolveTokens returns the tokens that the three keys of name lead to, nil when none is set. check says what is wrong
// with one. The key that is to blame comes with the error.
func resolveTokens(text map[string][]string, name string, check func(string) error) (tokens []Secret, blame string, err error) {
	var set []string
	for _, k := range []string{name, name + "_file", name + "_env"} {
		if len(text[k]) > 0 {
			set = append(set, k)
		}
	}
	if len(set) == 0 {
		return nil, "", nil
	}
	if len(set) > 1 {
		return nil, set[1], fmt.Errorf("is set, and %s too; keep one of them", set[0])
	}
	blame = set[0]
	values := text[blame]
	switch blame {
	case name + "_file":
		values, err = tokensOfFile(values[0])
	case name + "_env":
		values = nonEmpty(strings.Split(os.Getenv(values[0]), "\n")...)
		if len(values) == 0 {
			err = fmt.Errorf("names the environment variable %s, which is not set or is empty", text[blame][0])
		}
	}
	if err != nil {
		return nil, blame, err
	}
	for _, v := range values {
		if err := check(v); err != nil {
			return nil, blame, err
		}
		tokens = append(tokens, Secret(v))
	}
	return tokens, blame, nil
}

// maxTokenFile is far more than a few tokens need; it keeps a mistaken path from filling the memory.
const maxTokenFile = 64 << 10

func tokensOfFile(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxTokenFile {
		return nil, fmt.Errorf("names %s, which is not a file of at most %d bytes", path, maxTokenFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	values := nonEmpty(strings.Split(string(b), "\n")...)
	if len(values) == 0 {
		return nil, errors.New("names " + path + ", which has nothing in it")
	}
	return values, nil
}
