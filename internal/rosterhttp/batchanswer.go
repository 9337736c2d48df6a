package rosterhttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// batchAnswer is an answer to a batch, cut into what it has for each of its users, by their index.
type batchAnswer struct {
	docs  [][]byte // pieces of the answer; nil where it has nothing
	etags []string // "" for none
}

// splitAnswer cuts an answer into the documents of the users that index has. Members that nobody asked for
// are passed over. The whole of it must be JSON, and each user and each ETag be there once. Whether a
// document is strict JSON beyond its syntax is found out, for its user alone, when it is read: duplicate
// names in it, bad UTF-8 and lone surrogates do not make it unclear where the next one begins.
func splitAnswer(body []byte, index map[string]int) (batchAnswer, error) {
	a := batchAnswer{make([][]byte, len(index)), make([]string, len(index))}
	s := splitter{body: body}
	s.json.Reset(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	tags := false
	err := s.object("the answer", func(name string) error {
		if name == etagsMember {
			if tags {
				return errors.New(`it has two members "etags"`)
			}
			tags = true
			return s.etags(a.etags, index)
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		if i, asked := index[name]; asked {
			if a.docs[i] != nil {
				return fmt.Errorf("it has two members %q", short(name))
			}
			a.docs[i] = value
		}
		return nil
	})
	if err != nil {
		return batchAnswer{}, s.explain(err)
	}
	if _, err := s.json.ReadToken(); err != io.EOF {
		return batchAnswer{}, errors.New("it goes on after its end")
	}
	return a, nil
}

// splitter is one pass over an answer.
type splitter struct {
	json jsontext.Decoder
	body []byte
}

// value reads a value of any kind; it is a piece of the body.
func (s *splitter) value() ([]byte, error) {
	v, err := s.json.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(s.json.InputOffset())
	return s.body[end-len(v) : end : end], nil
}

// text reads a string that has to be Unicode.
func (s *splitter) text() (string, error) {
	v, err := s.json.ReadValue()
	if err != nil {
		return "", err
	}
	text, err := jsontext.AppendUnquote(nil, v)
	return string(text), err
}

// object calls f for each member of the object that comes next; f reads the value.
func (s *splitter) object(what string, f func(name string) error) error {
	if kind := s.json.PeekKind(); kind != '{' {
		if _, err := s.json.ReadValue(); err != nil { // it may be bad JSON as well
			return err
		}
		return fmt.Errorf("%s is %s, not an object whose members are called as the users are", what, kindNames[kind])
	}
	if _, err := s.json.ReadToken(); err != nil {
		return err
	}
	for s.json.PeekKind() != '}' {
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
	}
	_, err := s.json.ReadToken()
	return err
}

var kindNames = map[jsontext.Kind]string{
	'n': "null", 't': "true", 'f': "false", '"': "a string", '0': "a number", '[': "an array",
}

// etags reads the member "etags". A value that is no string, or cannot be sent back, is as good as none.
func (s *splitter) etags(tags []string, index map[string]int) error {
	if s.json.PeekKind() == 'n' {
		_, err := s.json.ReadToken()
		return err
	}
	seen := make([]bool, len(tags))
	return s.object(`its member "etags"`, func(name string) error {
		i, asked := index[name]
		switch {
		case !asked || s.json.PeekKind() != '"':
			_, err := s.json.ReadValue()
			return err
		case seen[i]:
			return fmt.Errorf("it has two ETags for %q", short(name))
		}
		tag, err := s.text()
		tags[i], seen[i] = etag(tag), true
		return err
	})
}

// explain says in plain words what is wrong with an answer that is no JSON.
func (s *splitter) explain(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case len(bytes.TrimLeft(s.body, " \t\r\n")) == 0:
		return errors.New("it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it is cut off after %d bytes", len(s.body))
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not strict JSON: %s, at byte %d", short(syntax.Err.Error()), syntax.ByteOffset)
	}
	return err
}
