package hostmeta

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// get asks for a document at a server whose endpoints are at; ok is false when the host is unknown.
func get(t *testing.T, method, path string, at Endpoints, ok bool) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	Register(mux, Options{Endpoints: func(*http.Request) (Endpoints, bool) { return at, ok }})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s %s: pages of other sites cannot read the answer %d", method, path, w.Code)
	}
	return w
}

var both = Endpoints{WebSocket: "wss://a.example/x?a=1&b='<", BOSH: "https://a.example/http-bind"}

func TestXML(t *testing.T) {
	w := get(t, "GET", XMLPath, both, true)
	if got := w.Header().Get("Content-Type"); w.Code != 200 || got != "application/xrd+xml" {
		t.Fatalf("%d, %s", w.Code, got)
	}
	var d struct {
		XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
		Link    []struct {
			Rel  string `xml:"rel,attr"`
			Href string `xml:"href,attr"`
		} `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 Link"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatalf("%v\n%s", err, w.Body)
	}
	if len(d.Link) != 2 || d.Link[0].Rel != "urn:xmpp:alt-connections:xbosh" || d.Link[0].Href != both.BOSH ||
		d.Link[1].Rel != "urn:xmpp:alt-connections:websocket" || d.Link[1].Href != both.WebSocket {
		t.Errorf("got %+v from\n%s", d.Link, w.Body)
	}
}

func TestJSON(t *testing.T) {
	w := get(t, "GET", JSONPath, both, true)
	var d struct {
		Links []map[string]string `json:"links"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v, %s\n%s", err, w.Header().Get("Content-Type"), w.Body)
	}
	if len(d.Links) != 2 || d.Links[1]["rel"] != "urn:xmpp:alt-connections:websocket" || d.Links[1]["href"] != both.WebSocket {
		t.Errorf("got %v", d.Links)
	}
}

func TestWhatIsNotThereIsNotListed(t *testing.T) {
	for _, path := range []string{XMLPath, JSONPath} {
		w := get(t, "GET", path, Endpoints{WebSocket: "wss://a.example/ws"}, true)
		if w.Code != 200 || strings.Contains(w.Body.String(), "xbosh") || !strings.Contains(w.Body.String(), "wss://a.example/ws") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if w := get(t, "GET", path, Endpoints{}, true); w.Code != 404 {
			t.Errorf("%s with nowhere to connect: %d %s", path, w.Code, w.Body)
		}
		if w := get(t, "GET", path, both, false); w.Code != 404 {
			t.Errorf("%s of an unknown host: %d", path, w.Code)
		}
		if w := get(t, "HEAD", path, both, true); w.Code != 200 {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
		if w := get(t, "POST", path, both, true); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
}
