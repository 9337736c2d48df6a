package pep

import (
	"fmt"
	"strings"
	"testing"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

func query(t *testing.T, inside string) *xmlstream.Element {
	t.Helper()
	el, err := xmlstream.ParseElement([]byte("<query xmlns='"+ns.DiscoInfo+"'>"+inside+"</query>"), xmlstream.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return el
}

// However much a client says, so much is kept of it; and of all clients.
func TestCapabilitiesAreBounded(t *testing.T) {
	var many strings.Builder
	for i := range 3 * maxWants {
		fmt.Fprintf(&many, "<feature var='urn:x:%d+notify'/>", i)
	}
	many.WriteString("<feature var='urn:" + strings.Repeat("x", maxNodeName+1) + "+notify'/>")
	if n := len(wantsOf(query(t, many.String()))); n > maxWants {
		t.Errorf("%d nodes are kept, want %d at most", n, maxWants)
	}
	var c clients
	first := capsKey{"sha-1", "first"}
	c.remember(first, map[string]struct{}{})
	for i := range 2 * maxHashes {
		c.remember(capsKey{"sha-1", fmt.Sprint(i)}, map[string]struct{}{})
		if i < maxHashes/2 && c.lookup(first) == nil {
			t.Fatal("what is used is forgotten")
		}
	}
	if c.order.Len() > maxHashes || len(c.hashes) != c.order.Len() {
		t.Errorf("%d hashes are kept, %d in order", len(c.hashes), c.order.Len())
	}
}
