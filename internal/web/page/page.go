// Package page serves the files of a page that is embedded in the program, and those that all pages have in common (base),
// under a Content-Security-Policy that lets the page load its own files and talk to its own server, and nothing else.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// Policy is the Content-Security-Policy of every file (CSP Level 3). 'self' covers WebSockets too.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// An Asset is a file of the page, with its validator.
type Asset struct {
	Body        []byte
	ContentType string
	ETag        string
}

// Assets are files by their path from the page's own: "/main.js"; "/" is index.html.
type Assets map[string]Asset

// contentTypes are the types of a page's files. The machine's own tables are not asked: they differ, and a module with
// the wrong type does not run.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

//go:embed base
var base embed.FS

// Load reads the files of a folder, and those that all pages have. One that cannot be served, or has the name of another, is a
// mistake in the build, so it panics.
func Load(files fs.FS, folder string) Assets {
	assets := Assets{}
	assets.add(base, "base")
	assets.add(files, folder)
	assets["/"] = assets["/index.html"]
	return assets
}

func (as Assets) add(files fs.FS, folder string) {
	err := fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			panic("page: no content type for " + name)
		}
		at := name[len(folder):]
		if _, taken := as[at]; taken {
			panic("page: two files for " + at)
		}
		hash := sha256.Sum256(body)
		as[at] = Asset{body, contentType, `"` + base64.RawURLEncoding.EncodeToString(hash[:16]) + `"`}
		return nil
	})
	if err != nil {
		panic("page: " + err.Error())
	}
}

// ServeHTTP implements http.Handler. It goes by the request's path as it is: a prefix must have been cut off.
func (as Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	a, ok := as[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "A page can only be read: use GET.", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", a.ContentType)
	h.Set("ETag", a.ETag)
	h.Set("Cache-Control", "no-cache") // kept, but asked about: the next version may be a moment away
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.Body))
}
