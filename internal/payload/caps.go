package payload

import (
	"cmp"
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Verification is the string that stands for an answer of our own to disco#info (XEP-0115 section 5.1), made with the hash
// sha-1, which everybody knows. The answer has nothing twice.
func Verification(info *xmlstream.Element) string {
	var identities, features []string
	var forms []*Form
	for el := range info.Elements() {
		switch {
		case el.Is(ns.DiscoInfo, "identity"):
			identities = append(identities, el.Attr("category")+"/"+el.Attr("type")+"/"+el.Lang()+"/"+el.Attr("name"))
		case el.Is(ns.DiscoInfo, "feature"):
			features = append(features, el.Attr("var"))
		case el.Is(ns.DataForms, "x"):
			forms = append(forms, ParseForm(el))
		}
	}
	var b strings.Builder
	write := func(sorted ...string) {
		for _, s := range sorted {
			b.WriteString(s + "<")
		}
	}
	write(slices.Sorted(slices.Values(identities))...)
	write(slices.Sorted(slices.Values(features))...)
	slices.SortFunc(forms, func(a, b *Form) int { return cmp.Compare(a.Kind, b.Kind) })
	for _, f := range forms {
		write(f.Kind)
		slices.SortFunc(f.Fields, func(a, b Field) int { return cmp.Compare(a.Var, b.Var) })
		for _, field := range f.Fields {
			write(field.Var)
			write(slices.Sorted(slices.Values(field.Values))...)
		}
	}
	sum := sha1.Sum([]byte(b.String()))
	return base64.StdEncoding.EncodeToString(sum[:])
}
