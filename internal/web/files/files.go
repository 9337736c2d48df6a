// Package files serves a folder over HTTP, as Prosody's mod_http_files does: index files, content types, validators and
// ranges (RFC 9110 sections 8.8, 13 and 14).
//
// Nothing outside of the folder is ever opened, whatever the URL or a symbolic link says (os.Root); nor is a name that
// begins with a dot, but for .well-known.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// Options make a Handler.
type Options struct {
	Dir     string   // folder
	Path    string   // of the URL, with a slash at both ends
	Index   []string // names of files that stand for their folder
	Listing bool     // folders without such a file are listed
	Policy  string   // Content-Security-Policy; "" sends none

	WriteStall time.Duration // how long a client may accept nothing of a file
	Log        *slog.Logger
}

// Handler serves the folder.
type Handler struct{ opts Options }

// New makes a Handler. The error says what is wrong with the folder.
func New(o Options) (*Handler, error) {
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("no files can be served: %w", err)
	}
	return &Handler{o}, root.Close()
}

// ServeHTTP implements http.Handler. The folder is opened for each request: it may be replaced by another, or be a link
// that is, when a new release of its files is put in place.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if h.opts.Policy != "" {
		header.Set("Content-Security-Policy", h.opts.Policy)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "Files can only be read: use GET.", http.StatusMethodNotAllowed)
		return
	}
	name, ok := h.name(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	root, err := os.OpenRoot(h.opts.Dir)
	if err != nil {
		h.opts.Log.Error("files cannot be served", "error", err)
		http.Error(w, "The files are not there at the moment.", http.StatusInternalServerError)
		return
	}
	defer root.Close()
	if err := h.serve(w, r, root, name); err != nil {
		h.refuse(w, r, err)
	}
}

// name gives the name within the folder of what a path asks for, "." for the folder itself, and false for what no
// folder has or nobody is to see.
func (h *Handler) name(p string) (string, bool) {
	name, ok := strings.CutPrefix(p, h.opts.Path)
	if !ok {
		return "", false
	}
	name = strings.TrimSuffix(name, "/")
	if name == "" {
		return ".", true
	}
	if !fs.ValidPath(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return "", false
	}
	for i, part := range strings.Split(name, "/") {
		if hidden(part) && (i > 0 || part != ".well-known") {
			return "", false
		}
	}
	return name, true
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// errNotServed stands for what is there and is no file to be served: a device, a pipe, a socket.
var errNotServed = errors.New("is neither file nor folder")

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	slash := strings.HasSuffix(r.URL.Path, "/")
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return err
	case info.IsDir() && !slash:
		return addSlash(w, r)
	case info.IsDir():
		return h.serveFolder(w, r, root, name)
	case slash:
		return fs.ErrNotExist
	}
	return h.serveFile(w, r, root, name)
}

// addSlash sends the client to the folder's URL, in a way that holds behind a proxy with a path of its own as well.
func addSlash(w http.ResponseWriter, r *http.Request) error {
	to := "./" + url.PathEscape(path.Base(r.URL.Path)) + "/"
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusMovedPermanently)
	return nil
}

func (h *Handler) serveFolder(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	for _, index := range h.opts.Index {
		err := h.serveFile(w, r, root, path.Join(name, index))
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotServed) {
			return err
		}
	}
	if !h.opts.Listing {
		return fs.ErrNotExist
	}
	return h.list(w, r, root, name)
}

// serveFile answers with a regular file; what is none is not even opened, for a pipe would wait for its other end.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	if info, err := root.Stat(name); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errNotServed
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNotServed
	}
	header := w.Header()
	header.Set("Content-Type", contentType(name))
	header.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	header.Set("Cache-Control", "no-cache") // kept, but asked about, which costs no more than a 304
	http.ServeContent(&patient{w, http.NewResponseController(w), h.opts.WriteStall}, r, "", info.ModTime(), f)
	return nil
}

// patient gives each piece of an answer its time: a large file may take as long as it likes, but not to a client that does not read.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(p.stall)) // a test's ResponseWriter has none
	return p.ResponseWriter.Write(b)
}

// refuse answers with what err means for the client. A link that leads out of the folder, a name that is too long and a
// file that is not ours to read are as if they were not there; the log tells the operator.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		h.opts.Log.Warn("file not served", "path", r.URL.Path, "error", err)
	}
	http.NotFound(w, r)
}

// types are those of what web pages are made of. The machine's own tables, which differ, are asked for others only: a
// module with the wrong type does not run.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8",
	".css": "text/css; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".md": "text/markdown; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".json": "application/json", ".map": "application/json", ".webmanifest": "application/manifest+json",
	".xml": "application/xml", ".wasm": "application/wasm", ".pdf": "application/pdf",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf",
	".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".wav": "audio/wav", ".mp4": "video/mp4", ".webm": "video/webm",
}

// contentType goes by the name alone. Of what is not known by its name browsers make nothing but a file to keep.
func contentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := types[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" && ext != "" {
		return t
	}
	return "application/octet-stream"
}
