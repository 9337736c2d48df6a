package payload

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"slices"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// hashes that XEP-0300 has names for.
var hashes = map[string]func() hash.Hash{"sha-1": sha1.New, "sha-256": sha256.New, "sha-512": sha512.New}

// Verification makes the string that stands for an answer to disco#info (XEP-0115 section 5.1); "" when the answer is ill-formed
// (section 5.4) or the hash is not known.
func Verification(q *xmlstream.Element, name string) string {
	make := hashes[name]
	if make == nil {
		return ""
	}
	var identities, features []string
	forms := map[string]string{}
	for el := range q.Elements() {
		switch {
		case el.Is(ns.DiscoInfo, "identity"):
			identities = append(identities, el.Attr("category")+"/"+el.Attr("type")+"/"+el.Lang()+"/"+el.Attr("name")+"<")
		case el.Is(ns.DiscoInfo, "feature"):
			features = append(features, el.Attr("var")+"<")
		case el.Is(ns.DataForms, "x"):
			kind, text, ok := formText(el)
			if _, twice := forms[kind]; twice || !ok {
				return ""
			}
			if kind != "" {
				forms[kind] = text
			}
		}
	}
	slices.Sort(identities)
	slices.Sort(features)
	if twice(identities) || twice(features) {
		return ""
	}
	h := make()
	h.Write([]byte(strings.Join(identities, "") + strings.Join(features, "")))
	var kinds []string
	for kind := range forms {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		h.Write([]byte(kind + "<" + forms[kind]))
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func twice(sorted []string) bool {
	return len(slices.Compact(slices.Clone(sorted))) != len(sorted)
}

// formText writes a form as it stands in the hashed string. A form without a hidden FORM_TYPE has the kind "" and does not
// count; ok is false for one that is ill-formed.
func formText(x *xmlstream.Element) (kind, text string, ok bool) {
	type fieldText struct{ name, text string }
	var all []fieldText
	for f := range x.Elements() {
		if !f.Is(ns.DataForms, "field") {
			continue
		}
		var values []string
		for v := range f.Elements() {
			if v.Is(ns.DataForms, "value") {
				values = append(values, v.Text())
			}
		}
		if f.Attr("var") == "FORM_TYPE" {
			for _, v := range values[min(1, len(values)):] {
				if v != values[0] {
					return "", "", false
				}
			}
			if f.Attr("type") == "hidden" {
				kind = append(values, "")[0]
			}
			continue
		}
		slices.Sort(values)
		line := f.Attr("var") + "<"
		for _, v := range values {
			line += v + "<"
		}
		all = append(all, fieldText{f.Attr("var"), line})
	}
	slices.SortStableFunc(all, func(a, b fieldText) int { return strings.Compare(a.name, b.name) })
	for _, f := range all {
		text += f.text
	}
	return kind, text, true
}
