package fedora

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cairn/remote"
)

// room looks whether so many bytes and a tenth more fit. A server that fills its disk may not survive it.
func room(dir string, need int64, what string, ask func(string) (int64, error)) error {
	if ask == nil {
		ask = free
	}
	got, err := ask(dir)
	if err != nil {
		return err
	}
	if want := need + need/10; got < max(want, 1<<20) {
		return remote.WithHint(fmt.Errorf("staging %s has %d MiB free, %s %d MiB", dir, got>>20, what, need>>20),
			"make room, or move staging to a larger disk; a tenth more is asked for")
	}
	return nil
}

// recall reads what a backup took last time; 0 when nobody knows.
func recall(memo string) int64 {
	if memo == "" {
		return 0
	}
	info, err := os.Lstat(memo)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 32 {
		return 0
	}
	data, err := os.ReadFile(memo)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || n < 0 || n > 1<<55 {
		return 0
	}
	return n
}

// remember writes it for the next time. A machine that breaks down in between has no memo, or the old one.
func remember(memo string, bytes int64) error {
	if memo == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(memo), 0o700); err != nil {
		return err
	}
	next := memo + ".tmp"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(next, fmt.Appendln(nil, bytes), 0o600); err != nil {
		return err
	}
	return os.Rename(next, memo)
}
