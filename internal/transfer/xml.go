package transfer

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Bounds of XML. What is too large as a whole is skipped and counted; no part of it is held.
const (
	maxToken     = 4 << 20 // bytes of a tag, or of the text between two
	maxElement   = 2 << 20 // bytes of an element that is taken as a whole
	maxNodes     = 50_000  // elements and texts in it
	maxDepth     = 60
	maxIncludes  = 4 // documents in documents
	maxAttribute = 256
)

// ImportXML reads users from a file in the format of XEP-0227. Other files that it includes are those of its folder, or below it.
func (im *Importer) ImportXML(ctx context.Context, file string) error {
	root, err := os.OpenRoot(path.Dir(file))
	if err != nil {
		return err
	}
	defer root.Close()
	in, err := root.Open(path.Base(file))
	if err != nil {
		return err
	}
	defer in.Close()
	return im.serverData(ctx, newDocument(im, file, path.Base(file), root, in))
}

// ImportXMLFrom is ImportXML of a stream, which includes no files. name is for errors.
func (im *Importer) ImportXMLFrom(ctx context.Context, name string, in io.Reader) error {
	return im.serverData(ctx, newDocument(im, name, "", nil, in))
}

func (im *Importer) serverData(ctx context.Context, d *document) error {
	return d.whole(func(start xml.StartElement) error {
		if start.Name != (xml.Name{Space: ns.PIE, Local: "server-data"}) {
			return d.errorf("the file begins with <%.40s/>, not with <server-data xmlns='%s'/> (XEP-0227)", start.Name.Local, ns.PIE)
		}
		return d.children(ctx, (*document).host)
	})
}

// A document is one XML file that is read.
type document struct {
	im    *Importer
	shown string // as it is named to people
	name  string // within root
	root  *os.Root
	depth int // of documents
	in    *budget
	dec   *xml.Decoder
}

func newDocument(im *Importer, shown, name string, root *os.Root, in io.Reader) *document {
	b := &budget{in: in, left: maxToken}
	return &document{im: im, shown: shown, name: name, root: root, in: b, dec: xml.NewDecoder(b)}
}

// token reads one token; io.EOF at the end of the document.
func (d *document) token() (xml.Token, error) {
	d.in.left = maxToken
	t, err := d.dec.Token()
	if err != nil && !errors.Is(err, io.EOF) {
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			err = errors.New(syntax.Msg)
			if strings.Contains(syntax.Msg, "entity") { // it quotes what stands behind an & in a password
				err = errors.New("there is an & that is not written as &amp;")
			}
		}
		return nil, d.errorf("%w", err)
	}
	return t, err
}

// where is the place that has been read to.
func (d *document) where() string {
	line, _ := d.dec.InputPos()
	return d.shown + ":" + strconv.Itoa(line)
}

func (d *document) errorf(format string, args ...any) error {
	return at(d.where(), fmt.Errorf(format, args...))
}

// whole reads the document: each gets its root, and reads it to the end.
func (d *document) whole(each func(xml.StartElement) error) error {
	found := false
	for {
		t, err := d.token()
		if errors.Is(err, io.EOF) {
			if !found {
				return d.errorf("the file has no XML element")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if start, ok := t.(xml.StartElement); ok {
			if found {
				return d.errorf("there is more than one element")
			}
			found = true
			if err := each(start); err != nil {
				return err
			}
		}
	}
}

// children reads the element that was begun, to its end. each gets its child elements, and those of documents that are included in
// their places, and reads them to their ends.
func (d *document) children(ctx context.Context, each func(*document, context.Context, xml.StartElement) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := d.token()
		if errors.Is(err, io.EOF) {
			return d.errorf("the file ends too early")
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if t.Name.Space == ns.XInclude {
				err = d.include(ctx, t, each)
			} else {
				err = each(d, ctx, t)
			}
			if err != nil {
				return err
			}
		}
	}
}

// include reads a document in place of an <include/>: "elements having an 'href' attribute containing a relative URI, having no
// 'parse' attribute, and having no 'xpointer' attribute" (section 5).
func (d *document) include(ctx context.Context, start xml.StartElement, each func(*document, context.Context, xml.StartElement) error) error {
	href, err := url.Parse(attribute(start, "href"))
	switch {
	case start.Name.Local != "include" || err != nil || href.Path == "" || href.IsAbs() || href.Host != "" || path.IsAbs(href.Path) ||
		href.RawQuery != "" || href.Fragment != "" || attribute(start, "parse") != "" || attribute(start, "xpointer") != "":
		return d.errorf("of XInclude this is understood: <include href='FILE'/>, with the relative name of another file")
	case d.root == nil:
		return d.errorf("standard input includes no files; give the file by its name")
	case d.depth == maxIncludes:
		return d.errorf("files include each other more than %d deep", maxIncludes)
	}
	if err := d.skip(); err != nil {
		return err
	}
	name := path.Join(path.Dir(d.name), href.Path)
	in, err := d.root.Open(name)
	if err != nil {
		return d.errorf("the file that it includes cannot be read: %w", err)
	}
	defer in.Close()
	sub := newDocument(d.im, path.Join(path.Dir(d.shown), href.Path), name, d.root, in)
	sub.depth = d.depth + 1
	return sub.whole(func(start xml.StartElement) error { return each(sub, ctx, start) })
}

// skip reads the element that was begun, to its end.
func (d *document) skip() error {
	for depth := 1; depth > 0; {
		t, err := d.token()
		if errors.Is(err, io.EOF) {
			return d.errorf("the file ends too early")
		}
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
	return nil
}

// element reads the element that was begun, to its end, as a whole; nil when it is too large.
func (d *document) element(start xml.StartElement) (*xmlstream.Element, error) {
	begin := d.dec.InputOffset()
	root := newElement(start)
	open := []*xmlstream.Element{root}
	fits := root != nil
	for nodes, depth := 0, 1; depth > 0; {
		t, err := d.token()
		if errors.Is(err, io.EOF) {
			return nil, d.errorf("the file ends too early")
		}
		if err != nil {
			return nil, err
		}
		if nodes++; nodes > maxNodes || depth > maxDepth || d.dec.InputOffset()-begin > maxElement {
			fits, root, open = false, nil, nil
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			if child := newElement(t); child == nil {
				fits, root, open = false, nil, nil
			} else if fits {
				open[len(open)-1].Append(child)
				open = append(open, child)
			}
		case xml.EndElement:
			depth--
			if fits {
				open = open[:len(open)-1]
			}
		case xml.CharData:
			if fits {
				open[len(open)-1].AppendText(string(t))
			}
		}
	}
	return root, nil
}

// newElement is an element without its content; nil when it has too many attributes.
func newElement(start xml.StartElement) *xmlstream.Element {
	if len(start.Attr) > maxAttribute {
		return nil
	}
	el := &xmlstream.Element{Space: start.Name.Space, Local: start.Name.Local}
	for _, a := range start.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		el.Attrs = append(el.Attrs, xmlstream.Attr{Space: a.Name.Space, Local: a.Name.Local, Value: a.Value})
	}
	return el
}

// attribute is one without a namespace, "" when there is none.
func attribute(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
