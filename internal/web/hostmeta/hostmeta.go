// Package hostmeta tells web clients where to connect: XEP-0156 version 1.4.0, "Discovering Alternative XMPP Connection
// Methods", by the documents of RFC 6415 (Web Host Metadata).
package hostmeta

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
)

// The paths below which the documents are: RFC 6415 sections 2 and 3.
const (
	XMLPath  = "/.well-known/host-meta"
	JSONPath = "/.well-known/host-meta.json"
)

// Link relations of XEP-0156.
const (
	relWebSocket = "urn:xmpp:alt-connections:websocket"
	relBOSH      = "urn:xmpp:alt-connections:xbosh"
)

// Options make a Handler.
type Options struct {
	// Endpoints says where the host that r is about takes connections, or false when r is about none of ours.
	Endpoints func(r *http.Request) (Endpoints, bool)
}

// Endpoints are URLs; "" is left out.
type Endpoints struct {
	WebSocket string // ws: or wss:
	BOSH      string // http: or https:
}

type document struct {
	XMLName xml.Name `json:"-" xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
	Links   []link   `json:"links" xml:"Link"`
}

type link struct {
	Rel  string `json:"rel" xml:"rel,attr"`
	Href string `json:"href" xml:"href,attr"`
}

// Register adds both documents to a mux.
func Register(mux *http.ServeMux, o Options) {
	mux.Handle(XMLPath, handler{o, "application/xrd+xml", func(d document) ([]byte, error) {
		b, err := xml.Marshal(d)
		return append([]byte(xml.Header), b...), err
	}})
	mux.Handle(JSONPath, handler{o, "application/json", func(d document) ([]byte, error) { return json.Marshal(d) }})
}

type handler struct {
	Options
	contentType string
	encode      func(document) ([]byte, error)
}

// ServeHTTP implements http.Handler. Pages of every site may read the answer, or web clients of other sites could not
// find us: it is no secret.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "This document can only be read: use GET.", http.StatusMethodNotAllowed)
		return
	}
	at, ok := h.Endpoints(r)
	if !ok {
		http.Error(w, "No such host here.", http.StatusNotFound)
		return
	}
	var d document
	for _, l := range []link{{relBOSH, at.BOSH}, {relWebSocket, at.WebSocket}} {
		if l.Href != "" {
			d.Links = append(d.Links, l)
		}
	}
	if len(d.Links) == 0 {
		http.Error(w, "Clients cannot connect by HTTP here; see http.public_url.", http.StatusNotFound)
		return
	}
	body, err := h.encode(d)
	if err != nil { // cannot happen: it is strings
		http.Error(w, "Internal error.", http.StatusInternalServerError)
		return
	}
	body = append(body, '\n')
	header.Set("Content-Type", h.contentType)
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // whoever hung up does not need the answer; net/http leaves out the body for HEAD
}
