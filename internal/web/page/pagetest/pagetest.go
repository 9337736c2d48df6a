// Package pagetest holds embedded pages to their policy. It is for tests.
package pagetest

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"rollcall/internal/web/page"
)

var (
	inline  = regexp.MustCompile(`(?i)<style|<script(?:\s+type="\w+")?>|\sstyle=|\son\w+=|="javascript:|https?://`)
	names   = regexp.MustCompile(`(?:src|href)="([^"#]+)"|from '\./([^']+)'`)
	writing = []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"}
)

// Check fails a test whose page has what its policy would stop, names a file that is not there, or could write HTML
// instead of text.
func Check(t *testing.T, as page.Assets) {
	t.Helper()
	if found := inline.Find(as["/index.html"].Body); found != nil {
		t.Errorf("index.html has %q", found)
	}
	seen := 0
	for file, a := range as {
		if ext := path.Ext(file); ext != ".html" && ext != ".js" {
			continue
		}
		for _, m := range names.FindAllStringSubmatch(string(a.Body), -1) {
			seen++
			if _, ok := as["/"+m[1]+m[2]]; !ok {
				t.Errorf("%s names %s%s, which is not there", file, m[1], m[2])
			}
		}
		for _, w := range writing {
			if strings.Contains(string(a.Body), w) {
				t.Errorf("%s has %s", file, w)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d names were found: is the page there?", seen)
	}
}
