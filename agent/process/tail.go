package process

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

const (
	tailSize = 4 << 10
	lineSize = 4 << 10
)

// tail passes lines on, masked, and keeps the last of them.
type tail struct {
	to   io.Writer
	mask []string

	mu   sync.Mutex
	line []byte // begun
	end  []byte
}

// Write takes whole lines out of what comes, because a secret may come in two halves. A line that is too long is passed on in pieces, cut at
// its last blank.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		n := min(len(rest), lineSize)
		t.line = append(t.line, rest[:n]...)
		rest = rest[n:]
		if i := bytes.LastIndexByte(t.line, '\n'); i >= 0 {
			t.say(i + 1)
		}
		for len(t.line) > lineSize {
			t.say(max(bytes.LastIndexByte(t.line[:lineSize], ' ')+1, lineSize/2))
		}
	}
	return len(p), nil
}

// say passes the first n bytes on.
func (t *tail) say(n int) {
	said := []byte(masked(string(t.line[:n]), t.mask))
	t.line = append(t.line[:0], t.line[n:]...)
	t.end = append(t.end, said...)
	if over := len(t.end) - tailSize; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	if t.to != nil {
		_, _ = t.to.Write(said) // a closed terminal must not end the program
	}
}

func (t *tail) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.line) > 0 {
		t.say(len(t.line))
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}

func masked(s string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}
