package xmlstream

// Limits bound one top-level element: a stanza, or the opening tag of the stream. What exceeds one is refused with
// policy-violation while it arrives. A zero field means the default.
type Limits struct {
	// Bytes is the longest element, as sent, from the '<' of its start tag to the '>' of its end tag. The names of
	// namespaces may come to as many bytes once more, counted wherever the serializer will write them, so that an
	// element is at most some 12 times Bytes long when it is written (a quote or apostrophe takes six bytes instead
	// of one), and hardly ever much longer than it was.
	Bytes int
	// Depth is how deep elements may nest; the top-level element alone has depth 1. Above maxDepth it is taken for
	// maxDepth.
	Depth int
	// Attrs is how many attributes one element may have, namespace declarations included. Above maxAttrs it is
	// taken for maxAttrs, since finding duplicates takes time that grows with its square.
	Attrs int
	// Children is how many nodes, elements and pieces of text, a top-level element may contain at all levels
	// together. The attributes in it are bounded too: twice Children, and Attrs more.
	Children int
}

// Defaults of Limits. A stanza of 256 KiB is what Prosody takes from clients. The shortest child is four bytes long, and
// takes 25 times that as an Element and its Node. So as many of them as 256 KiB could hold are refused: with these
// numbers, all that is allocated for an element, what is only needed while it is read included, is at most some 16
// times Bytes, and for usual ones about 5 times.
const (
	DefaultBytes    = 256 << 10
	DefaultDepth    = 64
	DefaultAttrs    = 64
	DefaultChildren = 8192
)

const (
	maxAttrs = 256
	// maxBytes keeps offsets within 32 bits.
	maxBytes = 1 << 30
	// maxDepth keeps the recursion over the elements, as in the serializer, shallow.
	maxDepth = 1000
	// maxNamespaces bounds the prefixes in scope in one place, those of the stream root included: every prefixed
	// name is looked for among them.
	maxNamespaces = 128
	// maxReference bounds an entity or character reference; leading zeros could make one as long as anybody likes.
	maxReference = 32
	// maxDeclaration bounds the XML declaration.
	maxDeclaration = 256
)

func (l Limits) withDefaults() Limits {
	pick := func(v, def, most int) int {
		if v <= 0 {
			return def
		}
		return min(v, most)
	}
	return Limits{
		Bytes:    pick(l.Bytes, DefaultBytes, maxBytes),
		Depth:    pick(l.Depth, DefaultDepth, maxDepth),
		Attrs:    pick(l.Attrs, DefaultAttrs, maxAttrs),
		Children: pick(l.Children, DefaultChildren, maxBytes),
	}
}
