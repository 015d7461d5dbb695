package dump

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Fence is a plain PostgreSQL dump without its own \restrict and \unrestrict, which the caller puts around it anew: whoever wrote the dump may
// have known its key, and an older psql does not know them at all. Its end is held back until the dump has proved complete; a dump that is
// not gives an error in the place of its end.
type Fence struct {
	src  io.Reader
	mark string
	head bool // is behind us
	key  string
	buf  []byte // of room
	room []byte
	err  error // of src
	done bool  // buf is the rest
}

// NewFence begins with a dump that is to end with mark.
func NewFence(src io.Reader, mark string) *Fence { return &Fence{src: src, mark: mark} }

const (
	unrestrict = `\unrestrict `
	restrict   = `\restrict `
	fenceRead  = 64 << 10
	fenceHead  = 4 << 10 // the line is among the first
)

func (f *Fence) Read(b []byte) (int, error) {
	for !f.done && (!f.head || len(f.buf) <= TailSize) {
		f.fill()
	}
	ready := f.buf
	if !f.done {
		ready = f.buf[:len(f.buf)-TailSize]
	}
	if len(ready) == 0 {
		return 0, f.err
	}
	n := copy(b, ready)
	f.buf = f.buf[n:]
	return n, nil
}

// fill reads more, and at the end looks at it.
func (f *Fence) fill() {
	if cap(f.buf)-len(f.buf) < fenceHead {
		if f.room == nil {
			f.room = make([]byte, fenceRead)
		}
		f.buf = f.room[:copy(f.room, f.buf)] // less than half of it: what is ready is taken before more is read
	}
	n, err := f.src.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	if !f.head && (len(f.buf) >= fenceHead || err != nil) {
		f.head = true
		f.withoutRestrict()
	}
	if err == nil {
		return
	}
	f.done, f.err = true, err
	if err != io.EOF {
		return
	}
	if Complete(f.buf, f.mark) {
		f.withoutUnrestrict()
	} else {
		f.err = fmt.Errorf("the dump does not end with %q: it is not complete", f.mark)
	}
}

// withoutRestrict drops the line from the comments at the beginning, and notes its key.
func (f *Fence) withoutRestrict() {
	for at := 0; ; {
		end := bytes.IndexByte(f.buf[at:], '\n') + 1
		line := f.buf[at : at+end]
		if key, ok := bytes.CutPrefix(line, []byte(restrict)); ok {
			f.key = string(key)
			f.buf = append(f.buf[:at], f.buf[at+end:]...)
			return
		}
		if end == 0 || len(line) > 1 && !bytes.HasPrefix(line, []byte("--")) {
			return
		}
		at += end
	}
}

// withoutUnrestrict drops the line with that key from the end.
func (f *Fence) withoutUnrestrict() {
	line := []byte(unrestrict + f.key)
	if i := bytes.LastIndex(f.buf, line); f.key != "" && i >= 0 {
		f.buf = append(f.buf[:i], f.buf[i+len(line):]...)
	}
	f.buf = append(f.buf, '\n')
}

// KnowsFence says whether a psql of this version has \restrict.
func KnowsFence(version string) bool {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	since, listed := map[int]int{13: 22, 14: 19, 15: 14, 16: 10, 17: 6}[major]
	return major >= 18 || listed && minor >= since
}

// versionPattern finds 15.18 in "psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", and 18 in "18beta1".
var versionPattern = regexp.MustCompile(`\) ([0-9]+)(?:\.([0-9]+))?`)

// Fenced puts a script between what makes it one transaction, without psql's own commands when key is not empty. The last thing psql says is
// token: then it has read all of it, and did not end early with status 0.
func Fenced(script io.Reader, key, begin, commit, token string) io.Reader {
	before, after := begin, commit+"SELECT '"+token+"';\n"
	if key != "" {
		before, after = restrict+key+"\n"+before, after+unrestrict+key+"\n"
	}
	return io.MultiReader(strings.NewReader(before), script, strings.NewReader(after))
}
