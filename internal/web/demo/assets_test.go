package demo

import (
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestAssets(t *testing.T) {
	f := start(t)
	for name, a := range f.svc.assets {
		resp, body := f.request("GET", name, "")
		if resp.StatusCode != http.StatusOK || body != string(a.body) || body == "" {
			t.Errorf("%s: %s, %d bytes", name, resp.Status, len(body))
		}
		for key, want := range map[string]string{
			"Content-Type": a.contentType, "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-cache", "ETag": a.etag, "Referrer-Policy": "no-referrer",
		} {
			if got := resp.Header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		if resp, _ := f.request("GET", name, "", "If-None-Match", a.etag); resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", name, resp.Status)
		}
	}
	for _, name := range []string{"/nothing", "/assets/index.html", "/..%2fdemo.go", "/main.js/"} {
		if resp, _ := f.request("GET", name, ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// What the policy would stop is not in the page, and everything that the files name is there.
func TestPageKeepsItsPolicy(t *testing.T) {
	assets := loadAssets()
	html := string(assets["/index.html"].body)
	if inline := regexp.MustCompile(`(?i)<style|<script(?:\s+type="\w+")?>|\sstyle=|\son\w+=|="javascript:|https?://`).FindString(html); inline != "" {
		t.Errorf("index.html has %q", inline)
	}
	names := regexp.MustCompile(`(?:src|href)="([^"]+)"|from '\./([^']+)'`)
	seen := 0
	for file, a := range assets {
		if ext := path.Ext(file); ext != ".html" && ext != ".js" {
			continue
		}
		for _, m := range names.FindAllStringSubmatch(string(a.body), -1) {
			seen++
			if _, ok := assets["/"+m[1]+m[2]]; !ok {
				t.Errorf("%s names %s%s, which is not there", file, m[1], m[2])
			}
		}
		if strings.Contains(string(a.body), "innerHTML") || strings.Contains(string(a.body), "insertAdjacentHTML") {
			t.Errorf("%s writes HTML", file)
		}
	}
	if seen < 10 {
		t.Errorf("only %d names were found", seen)
	}
}
