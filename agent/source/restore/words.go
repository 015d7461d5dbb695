package restore

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"cairn/agent/source"
)

// HookText is what a hook runs, in one line.
func HookText(h *source.Hook) string {
	switch {
	case h.HTTP != nil:
		return h.HTTP.Method + " " + h.HTTP.URL
	case h.Shell != "":
		return h.Shell
	}
	return strings.Join(h.Run.Args, " ")
}

// Amount is a number of files and their size.
func Amount(n, bytes uint64) string {
	unit := "files"
	if n == 1 {
		unit = "file"
	}
	return fmt.Sprintf("%s %s, %s", humanize.Comma(int64(n)), unit, humanize.IBytes(bytes))
}
