package admin

import (
	_ "embed"
	"encoding/json"
)

// description is this API in OpenAPI 3.1.
//
//go:embed openapi.json
var description []byte

// describe is GET /admin/openapi.json.
func (a *API) describe(*call) (*reply, error) { return ok(json.RawMessage(description)) }
