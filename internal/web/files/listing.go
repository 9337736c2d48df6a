package files

import (
	"bytes"
	"errors"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxListed bounds a list; of a larger folder some names are left out.
const maxListed = 5_000

// An entry is a line of a list.
type entry struct {
	Name string // with a slash when it is a folder
	Href string
	Size string // "" for folders
	Date string
}

// listTemplate is a page that needs nothing but itself: its policy allows its style and nothing else.
var listTemplate = template.Must(template.New("list").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{{.Title}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
td { padding: .1rem 1.5rem .1rem 0; overflow-wrap: anywhere; } td + td { white-space: nowrap; opacity: .75; } .size { text-align: right; }
</style>
<h1>{{.Title}}</h1>
<table>
{{if .Up}}<tr><td><a href="../">../</a></td><td></td><td></td></tr>
{{end}}{{range .Entries}}<tr><td><a href="{{.Href}}">{{.Name}}</a></td><td class="size">{{.Size}}</td><td>{{.Date}}</td></tr>
{{end}}</table>
{{if .More}}<p>There are more, which are not listed.</p>
{{end}}</html>
`))

const listPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// list answers with the names in a folder: files and folders that would be served.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	found, err := f.ReadDir(maxListed + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	more := len(found) > maxListed
	var entries []entry
	for _, d := range found[:min(len(found), maxListed)] {
		info, err := root.Stat(name + "/" + d.Name()) // the link's target, if it is one
		if err != nil || hidden(d.Name()) || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		entries = append(entries, entryOf(d.Name(), info))
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if x, y := strings.HasSuffix(a.Name, "/"), strings.HasSuffix(b.Name, "/"); x != y {
			return map[bool]int{true: -1, false: 1}[x]
		}
		return strings.Compare(a.Name, b.Name)
	})
	var page bytes.Buffer
	err = listTemplate.Execute(&page, struct {
		Title    string
		Up, More bool
		Entries  []entry
	}{r.URL.Path, name != ".", more, entries})
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Security-Policy", listPolicy)
	header.Set("Content-Type", types[".html"])
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Length", strconv.Itoa(page.Len()))
	_, _ = w.Write(page.Bytes()) // whoever hung up does not need the answer
	return nil
}

func entryOf(name string, info fs.FileInfo) entry {
	e := entry{Name: name, Href: "./" + url.PathEscape(name), Date: info.ModTime().UTC().Format("2006-01-02 15:04 MST")}
	if info.IsDir() {
		e.Name, e.Href = e.Name+"/", e.Href+"/"
	} else {
		e.Size = strconv.FormatInt(info.Size(), 10)
	}
	return e
}
