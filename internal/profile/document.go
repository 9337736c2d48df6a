package profile

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// A Profile is what is known of a user. It is not changed.
type Profile struct {
	fields map[string]string // by the names of members; none is empty
	photo  Image
	hash   string // of the picture, once sealed
}

// seal works out what is asked for often.
func (p *Profile) seal() *Profile {
	if p.hash == "" && len(p.photo.Data) > 0 {
		sum := sha1.Sum(p.photo.Data)
		p.hash = hex.EncodeToString(sum[:])
	}
	return p
}

// An Image is a picture, as its bytes say.
type Image struct {
	Type string // "image/png"
	Data []byte // none: there is no picture
}

// The members of a document that become elements of a vCard, in the order in which these stand there.
var members = []struct {
	name string
	most int // bytes
	path []string
}{
	{"name", 1023, []string{"FN"}},
	{"nickname", 1023, []string{"NICKNAME"}},
	{"url", 1023, []string{"URL"}},
	{"email", 1023, []string{"EMAIL", "USERID"}},
	{"phone", 255, []string{"TEL", "NUMBER"}},
	{"organization", 1023, []string{"ORG", "ORGNAME"}},
	{"title", 1023, []string{"TITLE"}},
	{"note", 4096, []string{"DESC"}},
}

// maxText is the most that a document has beside a picture in it.
const maxText = 64 << 10

// decode reads a document (docs/profile-http.md, section 1): strict JSON with an object on the outside. avatar is what it
// says of a picture, "" when there is none. What of it is of the wrong type or too long is left out, and its name is among
// dropped.
func decode(body []byte) (p *Profile, avatar string, dropped []string, err error) {
	p = &Profile{fields: map[string]string{}}
	if len(bytes.TrimSpace(body)) == 0 {
		return p, "", nil, nil
	}
	var doc map[string]jsontext.Value
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, "", nil, errors.New("the answer is no JSON object as it should be: " + shortened(err))
	}
	if doc == nil {
		return nil, "", nil, errors.New("the answer is null, not an object")
	}
	text := func(name string, most int) string {
		value, ok := doc[name]
		if !ok || value.Kind() == 'n' {
			return ""
		}
		var s string
		if err := json.Unmarshal(value, &s); err != nil || len(s) > most || !utf8.ValidString(s) {
			dropped = append(dropped, name)
			return ""
		}
		return strings.TrimSpace(s)
	}
	known := len(doc) == 0
	for _, m := range members {
		if _, ok := doc[m.name]; ok {
			known = true
		}
		if s := text(m.name, m.most); s != "" {
			p.fields[m.name] = s
		}
	}
	if _, ok := doc["avatar"]; !ok && !known {
		return nil, "", nil, errors.New("the answer has members, and none that a profile has: is it an error?")
	}
	return p, text("avatar", len(body)), dropped, nil
}

// shortened is an error of a document without what the document said.
func shortened(err error) string {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Sprintf("it breaks the grammar at byte %d", syntactic.ByteOffset)
	}
	return "it is of another type"
}

// errImage is about bytes that are no picture of a kind that is taken.
var errImage = errors.New("the avatar is no PNG, JPEG, GIF or WebP, by its first bytes")

// image looks at the bytes and not at what anybody says of them. Other types, SVG above all, can do more than be seen.
func image(data []byte) (Image, error) {
	switch t := http.DetectContentType(data); t {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return Image{Type: t, Data: data}, nil
	}
	return Image{}, errImage
}

// inline reads a data URL (RFC 2397) in base64.
func inline(s string, most int) (Image, error) {
	head, data, ok := strings.Cut(s, ",")
	if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
		return Image{}, errors.New("the avatar is a data URL without ;base64")
	}
	if base64.StdEncoding.DecodedLen(len(data)) > most+2 {
		return Image{}, fmt.Errorf("the avatar has more than %d bytes (profile.avatar_bytes)", most)
	}
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return Image{}, errors.New("the avatar's base64 is broken")
	}
	return image(b)
}

// VCard writes the profile as a vCard (XEP-0054); nil when there is nothing in it.
func (p *Profile) VCard() *xmlstream.Element {
	card := xmlstream.New(ns.VCard, "vCard")
	element := func(name string) *xmlstream.Element { return xmlstream.New(ns.VCard, name) }
	for _, m := range members {
		value := p.fields[m.name]
		if value == "" {
			continue
		}
		inner := element(m.path[len(m.path)-1]).AppendText(value)
		for i := len(m.path) - 2; i >= 0; i-- {
			inner = element(m.path[i]).Append(inner)
		}
		card.Append(inner)
	}
	if len(p.photo.Data) > 0 {
		card.Append(element("PHOTO").Append(
			element("TYPE").AppendText(p.photo.Type),
			element("BINVAL").AppendText(base64.StdEncoding.EncodeToString(p.photo.Data))))
	}
	if len(card.Nodes) == 0 {
		return nil
	}
	return card
}

// Picture gives the picture; it has no data when there is none.
func (p *Profile) Picture() Image { return p.photo }

// PhotoHash is what presence says of the picture: "the SHA1 hash of the avatar image data itself", in hexadecimal
// (XEP-0153 section 3.1); "" when there is none.
func (p *Profile) PhotoHash() string { return p.hash }

func (p *Profile) equal(other *Profile) bool {
	if other == nil || len(p.fields) != len(other.fields) || !bytes.Equal(p.photo.Data, other.photo.Data) {
		return false
	}
	for name, value := range p.fields {
		if other.fields[name] != value {
			return false
		}
	}
	return true
}

func (p *Profile) size() int {
	n := len(p.photo.Data)
	for name, value := range p.fields {
		n += len(name) + len(value)
	}
	return n
}
