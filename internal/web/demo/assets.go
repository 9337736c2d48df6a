package demo

import "embed"

// assetFiles are the page's.
//
//go:embed assets
var assetFiles embed.FS
