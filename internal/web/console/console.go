// Package console is the operator's page: hosts, sessions, rosters as they are served, notifications as they come, and
// how the services do. The page is static and harmless; all that it shows and does goes through the admin API, with the
// token that the operator types in or from the same machine (docs/console.md).
//
// There is no build step: the files under assets are what browsers run. Text from the server goes into the page by
// textContent only; tests hold the scripts to it.
package console

import (
	"embed"
	"net/http"

	"rollcall/internal/web/page"
)

//go:embed assets
var assetFiles embed.FS

// Handler serves the page at "/"; a prefix must have been cut off.
func Handler() http.Handler { return page.Load(assetFiles, "assets") }
