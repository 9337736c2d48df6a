package demo

import (
	"testing"

	"rollcall/internal/web/page/pagetest"
)

func TestPageLogic(t *testing.T) { pagetest.RunScripts(t) }
