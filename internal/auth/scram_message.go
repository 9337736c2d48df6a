package auth

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// The flag in a client's first message (RFC 5802 section 7, gs2-cbind-flag).
const (
	bindingUnsupported = 'n' // the client cannot bind
	bindingNotOffered  = 'y' // it can, and thinks that the server cannot
	bindingUsed        = 'p'
)

// clientFirst is client-first-message (RFC 5802 section 7).
type clientFirst struct {
	header   string // gs2-header, as sent
	flag     byte
	binding  string // type of channel binding, with bindingUsed
	authzid  string // "" when there is none
	bare     string // client-first-message-bare, as sent
	username string
	nonce    string
}

// clientFinal is client-final-message.
type clientFinal struct {
	bound        []byte // gs2-header and binding data
	nonce        string
	proof        []byte
	withoutProof string // client-final-message-without-proof, as sent
}

// parseClientFirst reads gs2-cbind-flag "," [ authzid ] "," [ reserved-mext "," ] username "," nonce
// [ "," extensions ]. Its errors are *Failures.
func parseClientFirst(in []byte) (m clientFirst, err error) {
	s, err := scramText(in)
	if err != nil {
		return m, err
	}
	flag, rest, ok1 := strings.Cut(s, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	name, rest, ok3 := strings.Cut(bare, ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	if !ok1 || !ok2 || !ok3 {
		return m, malformed("the first message of SCRAM is flag,[authzid],username,nonce")
	}
	m.bare, m.header = bare, strings.TrimSuffix(s, bare)
	if m.flag, m.binding, err = parseFlag(flag); err != nil {
		return m, err
	}
	if authzid != "" {
		if m.authzid, err = parseName('a', authzid); err != nil {
			return m, err
		}
	}
	if strings.HasPrefix(name, "m=") {
		return m, errMandatory
	}
	if m.username, err = parseName('n', name); err != nil {
		return m, err
	}
	if m.nonce, err = parseNonce(nonce); err != nil || !more {
		return m, err
	}
	return m, checkExtensions(extensions)
}

// parseClientFinal reads channel-binding "," nonce [ "," extensions ] "," proof. Its errors are *Failures.
func parseClientFinal(in []byte) (m clientFinal, err error) {
	s, err := scramText(in)
	if err != nil {
		return m, err
	}
	last := strings.LastIndexByte(s, ',')
	bound, rest, ok1 := strings.Cut(s[:max(last, 0)], ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	if !ok1 {
		return m, malformed("the final message of SCRAM is channel-binding,nonce,proof")
	}
	m.withoutProof = s[:last]
	if m.bound, err = parseBase64('c', bound); err != nil {
		return m, err
	}
	if m.nonce, err = parseNonce(nonce); err != nil {
		return m, err
	}
	if more {
		if err := checkExtensions(extensions); err != nil {
			return m, err
		}
	}
	m.proof, err = parseBase64('p', s[last+1:])
	return m, err
}

// scramText checks what holds for all of a message: UTF-8 without NUL ("value-char").
func scramText(in []byte) (string, error) {
	s := string(in)
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return "", malformed("a message of SCRAM is UTF-8 without NUL")
	}
	return s, nil
}

// value is what stands behind "k=".
func value(key byte, attr string) (string, error) {
	if len(attr) < 3 || attr[0] != key || attr[1] != '=' {
		return "", malformed("the attribute " + string(rune(key)) + " is missing, empty, or not in its place")
	}
	return attr[2:], nil
}

func parseFlag(s string) (flag byte, binding string, err error) {
	switch {
	case s == "n" || s == "y":
		return s[0], "", nil
	case len(s) > 2 && strings.HasPrefix(s, "p=") && !strings.ContainsFunc(s[2:], notInBindingName):
		return bindingUsed, s[2:], nil
	}
	return 0, "", malformed("the channel-binding flag is one of n, y and p=type")
}

// notInBindingName is for what "cb-name" does not have: 1*(ALPHA / DIGIT / "." / "-").
func notInBindingName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-'
}

// parseName reads a saslname, where "," and "=" are written "=2C" and "=3D". "If the server receives a
// username that contains '=' not followed by either '2C' or '3D', then the server MUST fail the
// authentication" (section 5.1).
func parseName(key byte, attr string) (string, error) {
	s, err := value(key, attr)
	if err != nil {
		return "", err
	}
	var name strings.Builder
	for {
		before, after, found := strings.Cut(s, "=")
		name.WriteString(before)
		switch {
		case !found:
			return name.String(), nil
		case strings.HasPrefix(after, "2C"):
			name.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			name.WriteByte('=')
		default:
			return "", malformed("in a name the equals sign is written =3D and the comma =2C")
		}
		s = after[2:]
	}
}

// parseNonce reads 1*printable: ASCII without space and comma.
func parseNonce(attr string) (string, error) {
	s, err := value('r', attr)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", malformed("the nonce is not printable ASCII")
	}
	return s, nil
}

func parseBase64(key byte, attr string) ([]byte, error) {
	s, err := value(key, attr)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder skips
		return nil, malformed("the attribute " + string(rune(key)) + " is not base64")
	}
	return b, nil
}

// errMandatory answers "m", which is there to make servers fail that do not know what it asks for (section
// 5.1).
var errMandatory = malformed("mandatory extensions of SCRAM are not known here")

// checkExtensions looks through attributes that we do not use: apart from "m" they are ignored.
func checkExtensions(list string) error {
	for attr := range strings.SplitSeq(list, ",") {
		if strings.HasPrefix(attr, "m=") {
			return errMandatory
		}
		if len(attr) < 3 || attr[0]|0x20 < 'a' || attr[0]|0x20 > 'z' || attr[1] != '=' {
			return malformed("an attribute of SCRAM is a letter, an equals sign and a value")
		}
	}
	return nil
}
