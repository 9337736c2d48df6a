package demo

import (
	"bytes"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file of the page, with its validator.
type asset struct {
	body        []byte
	contentType string
	etag        string
}

// contentTypes are the types of the page's files. The machine's own tables are not asked: they differ, and a module with
// the wrong type does not run.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policy lets the page load its own files and talk to its own server, and nothing else. 'self' covers the WebSocket too.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// loadAssets reads the embedded files. A file that cannot be served is a mistake in the build, so it panics.
func loadAssets() map[string]asset {
	assets := map[string]asset{}
	err := fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := assetFiles.ReadFile(name)
		if err != nil {
			return err
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			panic("demo: no content type for " + name)
		}
		assets[name[len("assets"):]] = asset{body, contentType, entityTag(body)}
		return nil
	})
	if err != nil {
		panic("demo: " + err.Error())
	}
	assets["/"] = assets["/index.html"]
	return assets
}

func (s *Service) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.assets[r.URL.Path]
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if !ok {
		http.NotFound(w, r)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache") // kept, but asked about: the next version may be a moment away
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}
