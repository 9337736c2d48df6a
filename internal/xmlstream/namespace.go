package xmlstream

// Namespace names that Namespaces in XML 1.0 section 3 reserves.
const (
	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
)

// A namespace name is kept as a number while an element is read. Two names in scope have the same number only if they
// are equal. The names that the stream root declared follow the constants, those that the element declares follow
// these.
const (
	textNode int32 = iota - 1 // in place of a namespace: the node is text
	noNamespace
	xmlNamespace
	firstURI
)

// rootBinding is a declaration on the stream root, in scope for all stanzas (RFC 6120 section 4.8).
type rootBinding struct {
	prefix, uri string
	number      int32
}

// declare decodes the declarations of the element that is being opened, those from first on, checks them (Namespaces
// in XML 1.0 section 3) and gives the default namespace that holds in it.
func (p *parser) declare(first int, defaultNS int32) (int32, error) {
	for i := first; i < len(p.w.bindings); i++ {
		d := &p.w.bindings[i]
		if d.dirty {
			if err := p.clean(&d.value); err != nil {
				return 0, err
			}
		}
		prefix, uri := p.at(d.prefix), p.at(d.value)
		for j := first; j < i; j++ {
			if string(p.at(p.w.bindings[j].prefix)) == string(prefix) {
				return 0, malformed("a namespace prefix declared twice on one element")
			}
		}
		switch {
		case string(prefix) == "xmlns":
			return 0, malformed("a declaration of the prefix xmlns")
		case string(uri) == nsXMLNS:
			return 0, malformed("a declaration of the namespace of xmlns")
		case (string(prefix) == "xml") != (string(uri) == nsXML):
			return 0, malformed("a wrong declaration of the prefix xml or of its namespace")
		case len(prefix) > 0 && len(uri) == 0:
			return 0, malformed("a namespace prefix declared as empty")
		}
		d.uri = p.number(i, uri)
		if len(prefix) == 0 {
			defaultNS = d.uri
		}
	}
	if len(p.w.bindings)+len(p.rootNS) > maxNamespaces {
		return 0, excessive("too many namespace prefixes in scope")
	}
	return defaultNS, nil
}

// number gives the number of a namespace name that the declaration with index i has: that of an equal one in scope,
// or a new one.
func (p *parser) number(i int, uri []byte) int32 {
	switch {
	case len(uri) == 0:
		return noNamespace
	case string(uri) == nsXML:
		return xmlNamespace
	}
	for j := range p.rootNS {
		if p.rootNS[j].uri == string(uri) {
			return p.rootNS[j].number
		}
	}
	for j := i - 1; j >= 0; j-- {
		if d := &p.w.bindings[j]; d.value.len() == len(uri) && string(p.at(d.value)) == string(uri) {
			return d.uri
		}
	}
	p.w.uris = append(p.w.uris, p.w.bindings[i].value)
	return firstURI + int32(len(p.rootNS)+len(p.w.uris)-1)
}

// lookUp gives the namespace of a prefix.
func (p *parser) lookUp(prefix span) (int32, error) {
	name := p.at(prefix)
	for i := len(p.w.bindings) - 1; i >= 0; i-- {
		if d := &p.w.bindings[i]; d.prefix.len() == len(name) && string(p.at(d.prefix)) == string(name) {
			return d.uri, nil
		}
	}
	for i := range p.rootNS {
		if p.rootNS[i].prefix == string(name) {
			return p.rootNS[i].number, nil
		}
	}
	if string(name) == "xml" {
		return xmlNamespace, nil
	}
	return 0, malformed("a namespace prefix that is not declared")
}

// uriText gives the namespace name of a number; s is the text of the element.
func (p *parser) uriText(uri int32, s string) string {
	switch i := int(uri - firstURI); {
	case uri == noNamespace:
		return ""
	case uri == xmlNamespace:
		return nsXML
	case i < len(p.rootNS):
		return p.rootNS[i].uri
	default:
		return p.w.uris[i-len(p.rootNS)].of(s)
	}
}
