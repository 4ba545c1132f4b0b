package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

const page = `# Title

| a | other |
|---|---|
| x | 3 |

text

| application | ours | TSP & Co | left out |
|---|---|---|---|
| nginx | 100 | 50 (49.5) | 1 |
| redis | - | 25 | 1 |
| bind | 0 | 12.5 | 1 |

| application | ours | TSP & Co | left out |
|---|---|---|---|
| later | 1 | 1 | 1 |
`

func drawn(t *testing.T, c *chart, rows string, columns ...string) string {
	t.Helper()
	if err := c.read(strings.NewReader(page), columns, rows); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c.draw(&b)
	return b.String()
}

// bars returns the heights of an image's bars by what their titles say; the image has to be well formed.
func bars(t *testing.T, image string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	d := xml.NewDecoder(strings.NewReader(image))
	height, in := 0.0, ""
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			in = e.Name.Local
			for _, a := range e.Attr {
				if in == "rect" && a.Name.Local == "height" {
					if height, err = strconv.ParseFloat(a.Value, 64); err != nil {
						t.Fatal(err)
					}
				}
			}
		case xml.CharData:
			if in == "title" {
				out[string(e)] = height
			}
			in = ""
		}
	}
}

func TestBars(t *testing.T) {
	image := drawn(t, &chart{title: "Calls <open>", unit: "calls"}, "", "ours", "TSP & Co=TSP")
	got := bars(t, image)
	want := map[string]float64{"nginx, ours: 100": 260, "nginx, TSP: 50": 130, "redis, TSP: 25": 65, "bind, ours: 0": 0, "bind, TSP: 12.5": 32.5}
	if len(got) != len(want) {
		t.Errorf("bars %v, want %v", got, want)
	}
	for name, h := range want {
		if g, ok := got[name]; !ok || g != h {
			t.Errorf("%s: height %v, want %v", name, g, h)
		}
	}
	if !strings.Contains(image, "Calls &lt;open&gt;") {
		t.Error("the title is not escaped")
	}
	if again := drawn(t, &chart{title: "Calls <open>", unit: "calls"}, "", "ours", "TSP & Co=TSP"); again != image {
		t.Error("another image of the same table")
	}
}

func TestLogarithmic(t *testing.T) {
	got := bars(t, drawn(t, &chart{log: true}, "nginx,redis", "TSP & Co"))
	// Between 10 and 100.
	if len(got) != 2 || got["nginx, TSP & Co: 50"] < 181 || got["nginx, TSP & Co: 50"] > 182 || got["redis, TSP & Co: 25"] > 104 {
		t.Errorf("bars %v", got)
	}
}

func TestNoTable(t *testing.T) {
	var c chart
	if err := c.read(strings.NewReader(page), []string{"ours", "nobody"}, ""); err == nil || !strings.Contains(err.Error(), "ours, nobody") {
		t.Errorf("%v, want that there is no such table", err)
	}
}
