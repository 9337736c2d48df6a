package xmlstream

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

//go:embed testdata/expat.py
var expatScript string

// expatChild is a Python that parses documents with libexpat; one for the whole test process. It ends when its
// standard input does, with the process.
type expatChild struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

var startExpat = sync.OnceValues(func() (*expatChild, error) {
	cmd := exec.Command("python3", "-c", expatScript)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &expatChild{in: in, out: bufio.NewReader(out)}, nil
})

// parsed is what another parser made of a document.
type parsed struct {
	// children are the whole elements on the first level; they are there as far as the parser came.
	root       *Element
	children   []*Element
	err        string   // why the document is not well-formed, "" when it is
	restricted []string // what it has that RFC 6120 restricts
	encoding   string
	version    string
}

// expat parses a document with libexpat. It skips the test when there is no Python.
func expat(t testing.TB, doc string) parsed {
	t.Helper()
	child, err := startExpat()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("not compared with libexpat: python3 is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	child.mu.Lock()
	defer child.mu.Unlock()
	msg := binary.BigEndian.AppendUint32(nil, uint32(len(doc)))
	if _, err := child.in.Write(append(msg, doc...)); err != nil {
		t.Fatalf("libexpat's process: %v", err)
	}
	var length [4]byte
	if _, err := io.ReadFull(child.out, length[:]); err != nil {
		t.Fatalf("libexpat's process: %v", err)
	}
	reply := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(child.out, reply); err != nil {
		t.Fatalf("libexpat's process: %v", err)
	}
	return decodeExpat(reply)
}

func decodeExpat(b []byte) parsed {
	var res parsed
	var tree treeBuilder
	for len(b) > 0 {
		kind := b[0]
		var strs []string
		count := binary.BigEndian.Uint32(b[1:])
		b = b[5:]
		for range count {
			n := binary.BigEndian.Uint32(b)
			strs = append(strs, string(b[4:4+n]))
			b = b[4+n:]
		}
		switch kind {
		case 'S':
			e := &Element{}
			e.Space, e.Local = expatName(strs[0])
			for i := 1; i < len(strs); i += 2 {
				a := Attr{Value: strs[i+1]}
				a.Space, a.Local = expatName(strs[i])
				e.Attrs = append(e.Attrs, a)
			}
			tree.start(e)
		case 'E':
			tree.end()
		case 'T':
			tree.text(strs[0])
		case 'R':
			res.restricted = append(res.restricted, strs[0])
		case 'D':
			res.version, res.encoding = strs[0], strs[1]
		case 'X':
			res.err = strs[0]
		}
	}
	res.root, res.children = tree.root, tree.children
	return res
}

func expatName(s string) (space, local string) {
	if space, local, ok := strings.Cut(s, "\x01"); ok {
		return space, local
	}
	return "", s
}

// treeBuilder makes the elements of a document from another parser's events. What comes behind the root, which
// encoding/xml reads too, it ignores.
type treeBuilder struct {
	root     *Element
	children []*Element
	open     []*Element
}

func (b *treeBuilder) start(e *Element) {
	switch len(b.open) {
	case 0:
		if b.root != nil {
			return
		}
		b.root = e
	case 1:
	default:
		b.open[len(b.open)-1].Append(e)
	}
	b.open = append(b.open, e)
}

func (b *treeBuilder) end() {
	last := len(b.open) - 1
	switch last {
	case -1:
		return
	case 1:
		b.children = append(b.children, b.open[1])
	}
	b.open = b.open[:last]
}

func (b *treeBuilder) text(s string) {
	if len(b.open) < 2 {
		return
	}
	e := b.open[len(b.open)-1]
	if n := len(e.Nodes); n > 0 && e.Nodes[n-1].Elem == nil {
		e.Nodes[n-1].Text += s
	} else {
		e.AppendText(s)
	}
}
