package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// Measures in pixels.
const (
	left, right, top, bottom = 56, 16, 64, 36
	plotHeight               = 260
	barWidth                 = 13
	gap                      = 18 // between groups
	legendItem               = 22 // a square and the space behind a label, which takes letterWidth for each letter
	letterWidth              = 7
)

// colors are told apart without regard to hue, too: darker to lighter, ours the strongest.
var colors = []string{"#b2182b", "#08519c", "#4292c6", "#9ecae1", "#737373", "#bdbdbd"}

// draw writes the image.
func (c *chart) draw(w io.Writer) {
	width := left + right
	for range c.groups {
		width += len(c.series)*barWidth + gap
	}
	legend := left
	for _, s := range c.series {
		legend += legendItem + letterWidth*len(s)
	}
	width = max(width, legend+right, left+right+letterWidth*len(c.title))
	height := top + plotHeight + bottom
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	text(w, left, 18, "start", "font-weight=\"bold\"", c.title)
	x := left
	for i, s := range c.series {
		fmt.Fprintf(w, `<rect x="%d" y="30" width="11" height="11" fill="%s"/>`+"\n", x, colors[i%len(colors)])
		text(w, x+15, 40, "start", "", s)
		x += legendItem + letterWidth*len(s)
	}
	text(w, 6, top-8, "start", `fill="#555555"`, c.unit)
	ticks, place := c.scale()
	for _, t := range ticks {
		y := top + plotHeight - place(t)
		fmt.Fprintf(w, `<line x1="%d" y1="%s" x2="%d" y2="%s" stroke="#dddddd"/>`+"\n", left, num(y), width-right, num(y))
		text(w, left-6, int(math.Round(y))+4, "end", `fill="#555555"`, num(t))
	}
	x = left + gap/2
	for _, g := range c.groups {
		for i, v := range g.values {
			if v < 0 {
				continue
			}
			h := place(v)
			fmt.Fprintf(w, `<rect x="%d" y="%s" width="%d" height="%s" fill="%s"><title>%s, %s: %s</title></rect>`+"\n", x+i*barWidth, num(top+plotHeight-h), barWidth-1, num(h),
				colors[i%len(colors)], html.EscapeString(g.name), html.EscapeString(c.series[i]), num(v))
		}
		text(w, x+len(g.values)*barWidth/2, top+plotHeight+18, "middle", "", g.name)
		x += len(g.values)*barWidth + gap
	}
	fmt.Fprintf(w, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#333333"/>`+"\n</svg>\n", left, top+plotHeight, width-right, top+plotHeight)
}

func text(w io.Writer, x, y int, anchor, more, s string) {
	fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchor, strings.TrimRight(" "+more, " "), html.EscapeString(s))
}

// num writes a number with at most two digits behind the point.
func num(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// scale returns the marks of the axis, and the height in pixels of a value. A linear axis begins at zero, a logarithmic one at
// the power of ten at or below the least value.
func (c *chart) scale() (ticks []float64, place func(float64) float64) {
	least, most := math.Inf(1), 0.0
	for _, g := range c.groups {
		for _, v := range g.values {
			if v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if most == 0 {
		return []float64{0}, func(float64) float64 { return 0 }
	}
	if c.log {
		from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
		if from == to {
			to++
		}
		for e := from; e <= to; e++ {
			ticks = append(ticks, math.Pow(10, e))
		}
		return ticks, func(v float64) float64 {
			if v <= 0 {
				return 0
			}
			return plotHeight * (math.Log10(v) - from) / (to - from)
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for most/step < 4 {
		step /= 2
	}
	end := math.Ceil(most/step) * step
	for i := 0.0; i*step <= end; i++ {
		ticks = append(ticks, i*step)
	}
	return ticks, func(v float64) float64 { return plotHeight * v / end }
}
