package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

const stream = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"    x_test.go:1: chatter\n"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestSkip","Output":"=== RUN   TestSkip\n"}
{"Action":"output","Package":"a","Test":"TestSkip","Output":"    x_test.go:7: clang is not installed\n"}
{"Action":"output","Package":"a","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestSkip"}
{"Action":"output","Package":"a","Test":"TestBad","Output":"    x_test.go:9: wrong\n"}
{"Action":"output","Package":"a","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"a","Test":"TestBad"}
{"Action":"output","Package":"a","Test":"TestCut","Output":"panic: oh\n"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t0.1s\n"}
{"Action":"skip","Package":"b"}
{"Action":"output","Package":"b","Output":"?   \tb\t[no test files]\n"}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1: syntax error\n"}
no event at all
`

func TestDigest(t *testing.T) {
	var out bytes.Buffer
	skips, err := digest(strings.NewReader(stream), &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a TestSkip: x_test.go:7: clang is not installed"}; !reflect.DeepEqual(skips, want) {
		t.Errorf("skips %q, want %q", skips, want)
	}
	want := "    x_test.go:9: wrong\n--- FAIL: TestBad (0.00s)\nFAIL\ta\t0.1s\n?   \tb\t[no test files]\n" +
		"c.go:1: syntax error\nno event at all\npanic: oh\n"
	if got := out.String(); got != want {
		t.Errorf("printed:\n%s\nwant:\n%s", got, want)
	}
}
