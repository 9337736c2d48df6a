// Package plot draws lines over logarithmic axes as SVG 1.1, in colours for light and for dark pages.
package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Figure is panels that share what their horizontal axis shows, and a legend.
type Figure struct {
	Title  string
	X      string // what the horizontal axes show
	Panels []Panel
}

// Panel is one pair of axes.
type Panel struct {
	Title  string
	Series []Series // the same in the same order in all panels of a figure; those without points are not drawn
}

// Series is one line; its values are above zero and X ascends.
type Series struct {
	Name string
	X, Y []float64
}

// Sizes in pixels.
const (
	columns = 2
	cellW   = 410
	cellH   = 250
	left    = 54 // of a cell, for the numbers of the vertical axis
	right   = 14
	above   = 34
	below   = 40
	head    = 58 // of the figure, for title and legend
	margin  = 10
)

// Colours of Okabe and Ito, which people with any colour vision tell apart, darker for white pages; each line has a marker of its own too.
const style = `
svg { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.page { fill: #ffffff; } text { fill: #1f2328; } .faint { fill: #59636e; }
.grid { stroke: #d1d9e0; stroke-width: 1; } .guide { stroke: #59636e; stroke-dasharray: 2 4; }
.line { fill: none; stroke-width: 2; }
.s0 { stroke: #6e7781; fill: #6e7781; } .s1 { stroke: #0072b2; fill: #0072b2; }
.s2 { stroke: #b34a00; fill: #b34a00; } .s3 { stroke: #00795a; fill: #00795a; } .s4 { stroke: #a2417b; fill: #a2417b; }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; } text { fill: #f0f6fc; } .faint { fill: #9198a1; }
.grid { stroke: #3d444d; } .guide { stroke: #9198a1; }
.s0 { stroke: #b1bac4; fill: #b1bac4; } .s1 { stroke: #56b4e9; fill: #56b4e9; }
.s2 { stroke: #f0883e; fill: #f0883e; } .s3 { stroke: #2fbf94; fill: #2fbf94; } .s4 { stroke: #e08bbb; fill: #e08bbb; }
}
.line { fill: none; }
`

const colours = 5

// SVG draws the figure. Panels without any point are left out.
func (f Figure) SVG() []byte {
	var panels []Panel
	for _, p := range f.Panels {
		if p.hasPoints() {
			panels = append(panels, p)
		}
	}
	rows := (len(panels) + columns - 1) / columns
	width, height := columns*cellW+2*margin, head+rows*cellH+margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title">`+"\n",
		width, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<style>%s</style>\n", escape(f.Title), style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="6"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="26" font-size="16" font-weight="600">%s</text>`+"\n", 2*margin, escape(f.Title))
	legend(&b, panels)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", margin+i%columns*cellW, head+i/columns*cellH)
		p.draw(&b, f.X)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p Panel) hasPoints() bool {
	for _, s := range p.Series {
		if len(s.X) > 0 {
			return true
		}
	}
	return false
}

func escape(s string) string {
	var b strings.Builder
	// A strings.Builder takes everything.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// legend names the lines that are drawn in any panel.
func legend(b *bytes.Buffer, panels []Panel) {
	x := 2.0 * margin
	if len(panels) == 0 {
		return
	}
	for i, s := range panels[0].Series {
		drawn := false
		for _, p := range panels {
			drawn = drawn || len(p.Series[i].X) > 0
		}
		if !drawn {
			continue
		}
		fmt.Fprintf(b, `<path class="line s%d" d="M%g 46h24"/>`, i%colours, x)
		marker(b, i, x+12, 46)
		fmt.Fprintf(b, `<text x="%g" y="50">%s</text>`+"\n", x+30, escape(s.Name))
		x += 50 + 7*float64(len(s.Name))
	}
	fmt.Fprintf(b, `<path class="guide" d="M%g 46h24"/><text class="faint" x="%g" y="50">in proportion</text>`+"\n", x, x+30)
}

// marker draws the sign of a line: a circle, a square, a triangle, a rhombus.
func marker(b *bytes.Buffer, i int, x, y float64) {
	switch i % 4 {
	case 0:
		fmt.Fprintf(b, `<circle class="s%d" cx="%.1f" cy="%.1f" r="4"/>`, i%colours, x, y)
	case 1:
		fmt.Fprintf(b, `<path class="s%d" d="M%.1f %.1fh7v7h-7z"/>`, i%colours, x-3.5, y-3.5)
	case 2:
		fmt.Fprintf(b, `<path class="s%d" d="M%.1f %.1fl4.5 8h-9z"/>`, i%colours, x, y-5)
	case 3:
		fmt.Fprintf(b, `<path class="s%d" d="M%.1f %.1fl5 5l-5 5l-5-5z"/>`, i%colours, x, y-5)
	}
}

// axis maps values to pixels, logarithmically.
type axis struct {
	low, high  float64 // values
	start, end float64 // pixels
}

func (a axis) at(v float64) float64 {
	return a.start + (a.end-a.start)*math.Log(v/a.low)/math.Log(a.high/a.low)
}

// spread returns an axis for values between low and high, with some room on either side.
func spread(low, high, start, end float64) axis {
	room := math.Max(math.Pow(high/low, 0.08), 1.15)
	return axis{low / room, high * room, start, end}
}

// ticks returns round values within the axis: 1, 2 and 5 times powers of ten where they are few, powers of ten otherwise.
func (a axis) ticks() []float64 {
	steps := []float64{1, 2, 5}
	if a.high/a.low > 2000 {
		steps = steps[:1]
	}
	var all []float64
	for e := math.Floor(math.Log10(a.low)); e <= math.Log10(a.high); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= a.low && v <= a.high {
				all = append(all, v)
			}
		}
	}
	return all
}

// axes returns axes that all points fit in.
func (p Panel) axes() (x, y axis) {
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range p.Series {
		for i := range s.X {
			lowX, highX = math.Min(lowX, s.X[i]), math.Max(highX, s.X[i])
			lowY, highY = math.Min(lowY, s.Y[i]), math.Max(highY, s.Y[i])
		}
	}
	return spread(lowX, highX, left, cellW-right), spread(lowY, highY, cellH-below, above)
}

func (p Panel) draw(b *bytes.Buffer, xTitle string) {
	x, y := p.axes()
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="600">%s</text>`+"\n", left, above-10, escape(p.Title))
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text class="faint" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y.at(v), cellW-right, left-6, y.at(v)+4, label(v))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %dV%d"/><text class="faint" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(v), above, cellH-below, x.at(v), cellH-below+16, label(v))
	}
	fmt.Fprintf(b, `<text class="faint" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+cellW-right)/2, cellH-below+32, escape(xTitle))
	p.guide(b, x, y)
	for i, s := range p.Series {
		if len(s.X) == 0 {
			continue
		}
		fmt.Fprintf(b, `<path class="line s%d" d="`, i%colours)
		for k := range s.X {
			fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(k, 1)], x.at(s.X[k]), y.at(s.Y[k]))
		}
		b.WriteString(`"/>`)
		for k := range s.X {
			marker(b, i, x.at(s.X[k]), y.at(s.Y[k]))
		}
		b.WriteString("\n")
	}
}

// guide draws what costs in proportion to the horizontal axis look like, from the lowest point of the left side to the edge
// of the panel: lines that are less steep grow less than linearly.
func (p Panel) guide(b *bytes.Buffer, x, y axis) {
	fromX, fromY := math.Inf(1), math.Inf(1)
	for _, s := range p.Series {
		if len(s.X) > 0 && (s.X[0] < fromX || s.X[0] == fromX && s.Y[0] < fromY) {
			fromX, fromY = s.X[0], s.Y[0]
		}
	}
	by := math.Min(x.high/fromX, y.high/fromY)
	fmt.Fprintf(b, `<path class="guide" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", x.at(fromX), y.at(fromY), x.at(fromX*by), y.at(fromY*by))
}

// label prints a round number in few characters.
func label(v float64) string {
	if v >= 1e6 {
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	}
	if v >= 1e3 {
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
