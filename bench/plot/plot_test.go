package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func figure() Figure {
	return Figure{Title: "Cost & <size>", X: "contacts", Panels: []Panel{
		{Title: "CPU", Series: []Series{
			{Name: "one", X: []float64{10, 100, 1000}, Y: []float64{5, 50, 400}},
			{Name: "two", X: []float64{10}, Y: []float64{7000}},
			{Name: "absent"},
		}},
		{Title: "nothing", Series: []Series{{Name: "one"}, {Name: "two"}, {Name: "absent"}}},
		{Title: "one point", Series: []Series{{Name: "one", X: []float64{10}, Y: []float64{1}}, {Name: "two"}, {Name: "absent"}}},
	}}
}

func TestFigureIsWellFormed(t *testing.T) {
	svg := figure().SVG()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	text := string(svg)
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a coordinate that is no number")
	}
	for _, want := range []string{"Cost &amp; &lt;size&gt;", ">one<", ">two<", ">one point<", "prefers-color-scheme: dark"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, unwanted := range []string{">absent<", ">nothing<"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%q is drawn", unwanted)
		}
	}
	if got := strings.Count(text, "<g "); got != 2 {
		t.Errorf("%d panels of 2", got)
	}
}

func TestEmptyFigure(t *testing.T) {
	if svg := (Figure{Title: "nothing"}).SVG(); !bytes.Contains(svg, []byte("</svg>")) {
		t.Errorf("%s", svg)
	}
}

func TestAxis(t *testing.T) {
	a := axis{low: 1, high: 10_000, start: 0, end: 400}
	for v, want := range map[float64]float64{1: 0, 10: 100, 10_000: 400} {
		if got := a.at(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v is at %v, want %v", v, got, want)
		}
	}
	if got := a.ticks(); len(got) != 5 || got[0] != 1 || math.Abs(got[4]-10_000) > 1e-6 {
		t.Errorf("ticks of four decades: %v", got)
	}
	if got := (axis{low: 4, high: 30}).ticks(); len(got) != 3 || got[0] != 5 {
		t.Errorf("ticks of less than one: %v", got)
	}
	if got := spread(7, 7, 0, 100).at(7); got != 50 {
		t.Errorf("the only value is at %v, want the middle", got)
	}
}

func TestLabel(t *testing.T) {
	for v, want := range map[float64]string{0.05: "0.05", 1: "1", 500: "500", 5000: "5k", 20_000: "20k", 3e6: "3M"} {
		if got := label(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
