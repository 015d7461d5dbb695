package bagit

import (
	"bufio"
	"crypto/md5"  // a format's own; not for security
	"crypto/sha1" // a format's own; not for security
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"

	"cairn/agent/format"
)

const (
	maxTagFile = 16 << 20
	maxLine    = 64 << 10 // a path and a digest, or an address
)

// manifest is a file of digests.
type manifest struct {
	name, algorithm string
	tag             bool
}

// newHash returns nil for algorithms that are not known.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "md5":
		return md5.New()
	case "sha1":
		return sha1.New()
	case "sha224":
		return sha256.New224()
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// lines calls line for each line of a file that is not empty.
func (b *bag) lines(name string, line func(number int, line string)) {
	f, err := b.Open(name)
	if err != nil {
		b.Unreadable(name, err)
		return
	}
	defer f.Close() // only read
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 4096), maxLine)
	for number := 1; s.Scan(); number++ {
		if text := s.Text(); strings.TrimSpace(text) != "" {
			line(number, text)
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		b.Found(kindManifest, name, "a line is longer than %d KiB: it and what is behind it were not read", maxLine>>10)
	} else if err != nil {
		b.Unreadable(name, err)
	}
}

// parseLine reads "digest [*]path" and returns the digest in small letters and the path as it is on disk.
func parseLine(line string) (digest, file string, err error) {
	digest, file, there := cutBlank(line)
	if _, err := hex.DecodeString(digest); err != nil || !there || digest == "" {
		return "", "", errors.New("it is not a digest and a path")
	}
	if file, err = unescape(strings.TrimPrefix(file, "*")); err != nil {
		return "", "", err
	}
	return strings.ToLower(digest), file, nil
}

// parseFetch reads "address length path"; a length of "-" is not known, -1.
func parseFetch(line string) (url string, length int64, file string, err error) {
	url, rest, _ := cutBlank(line)
	size, file, there := cutBlank(rest)
	if !there || url == "" {
		return "", 0, "", errors.New("it is not an address, a length and a path")
	}
	length = -1
	if size != "-" {
		if length, err = strconv.ParseInt(size, 10, 64); err != nil || length < 0 {
			return "", 0, "", fmt.Errorf("length %q", format.Clip(size))
		}
	}
	file, err = unescape(file)
	return url, length, file, err
}

// cutBlank cuts at the first blanks.
func cutBlank(text string) (before, after string, there bool) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, "", false
	}
	after = strings.TrimLeft(text[i:], " \t")
	return text[:i], after, after != ""
}

// unescape drops a leading "./" and takes back what RFC 8493 asks to be escaped: CR, LF and the percent sign. Other percent signs stand for themselves.
func unescape(file string) (string, error) {
	if !utf8.ValidString(file) {
		return "", errors.New("the path is not UTF-8")
	}
	return strings.NewReplacer("%0D", "\r", "%0d", "\r", "%0A", "\n", "%0a", "\n", "%25", "%").Replace(strings.TrimPrefix(file, "./")), nil
}

// checkPath says why a path must not be opened. Payload is below data/, and tag files are not.
func checkPath(file string, tag bool) error {
	switch {
	case !fs.ValidPath(file) || file == "." || strings.HasPrefix(file, "~"):
		return fmt.Errorf("%q does not stay within the bag", format.Clip(file))
	case !tag && !strings.HasPrefix(file, "data/"):
		return fmt.Errorf("%q is not below data/", format.Clip(file))
	}
	return nil
}

// parseInfo reads "Label: value" lines, labels in small letters. A line that begins with blanks goes on with the value before.
func parseInfo(data []byte) map[string]string {
	fields := map[string]string{}
	last := ""
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		line = strings.TrimRight(line, "\r\n")
		if last != "" && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			fields[last] += " " + strings.TrimSpace(line)
			continue
		}
		label, value, there := strings.Cut(line, ":")
		if !there {
			last = ""
			continue
		}
		last = strings.ToLower(strings.TrimSpace(label))
		fields[last] = strings.TrimSpace(value)
	}
	return fields
}
