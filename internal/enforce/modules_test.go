package enforce

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// TestAdmit: files that are not in the plan are judged, once each, by their contents; so is what lies where a file was
// removed.
func TestAdmit(t *testing.T) {
	p := planOf(t, os.Getpid())
	whole := p.Modules
	for _, c := range []struct {
		name    string
		modules []PlanModule
		asked   bool
	}{
		{"all known", whole, false},
		{"one unknown", whole[1:], true},
		{"in a removed file's place", append([]PlanModule{{Path: whole[0].Path, SHA256: strings.Repeat("1", 64), Removed: true}}, whole[1:]...), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusal := errors.New("needs more")
			for _, answer := range []error{nil, refusal} {
				asked := 0
				v := NewVerifier(&Plan{Modules: c.modules})
				v.Anonymous = true
				v.Admit = func(path string, data []byte) error {
					asked++
					sum := sha256.Sum256(data)
					if path != whole[0].Path || hex.EncodeToString(sum[:]) != whole[0].SHA256 {
						t.Errorf("asked about %s, %x", path, sum)
					}
					return answer
				}
				for range 2 {
					err := v.Verify(os.Getpid())
					if fails := c.asked && answer != nil; (err != nil) != fails || fails && (!errors.Is(err, ErrModule) || !strings.Contains(err.Error(), "needs more")) {
						t.Errorf("answer %v: %v", answer, err)
					}
				}
				if (asked == 1) != c.asked {
					t.Errorf("asked %d times", asked)
				}
			}
		})
	}
}
