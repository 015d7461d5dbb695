package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// tick is one moment of long work, as the display needs it.
type tick struct {
	verb              string
	files, totalFiles uint64
	bytes, totalBytes uint64
	errors            uint64
	current           string
	totalsKnown       bool
	unit              string // what files counts, when not files
}

const (
	redraw    = 200 * time.Millisecond // on a terminal
	plainLine = 30 * time.Second       // elsewhere: enough to see life in a log, not enough to fill it
)

// setProgress reads --progress, which may stand before the command or after it.
func (e *env) setProgress(c *cli.Context) error {
	if !c.IsSet("progress") {
		return nil
	}
	if e.progress = c.Duration("progress"); e.progress < time.Millisecond {
		return usage("--progress %s: not a time such as 10s", c.Duration("progress"))
	}
	return nil
}

// watched says whether somebody wants to know how far long work is: with --json only who asks for it, because who reads
// results may not expect anything else.
func (e *env) watched() bool { return !e.quiet && (!e.json || e.progress > 0) }

// watch shows progress until the returned function is called. On a terminal one line is redrawn; elsewhere a
// plain line comes now and then. JSON goes to stdout with the results, and has a last object when the work is over.
func (e *env) watch(poll func() tick) (stop func()) {
	if !e.watched() {
		return func() {}
	}
	every := plainLine
	if e.progress > 0 {
		every = e.progress
	} else if e.terminal {
		every = redraw
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				if e.json {
					_ = e.printJSON(poll().json(time.Since(start)))
				} else if e.terminal {
					fmt.Fprint(e.stderr, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				if e.json {
					_ = e.printJSON(poll().json(time.Since(start)))
					continue
				}
				line := poll().line(time.Since(start))
				if e.terminal {
					fmt.Fprintf(e.stderr, "\r\x1b[K%s", clip(line, e.width()))
				} else {
					fmt.Fprintln(e.stderr, line)
				}
			}
		}
	})
	var once sync.Once
	return func() { once.Do(func() { close(done); wg.Wait() }) }
}

// line renders a tick: what is done of how much, at which rate, how long it will take, and what is being read.
func (t tick) line(elapsed time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", clock(elapsed), t.verb)
	rate := float64(t.bytes) / max(elapsed.Seconds(), 0.001)
	if t.totalsKnown && t.totalBytes > 0 {
		fmt.Fprintf(&b, " %d%%", min(100, t.bytes*100/t.totalBytes))
	}
	fmt.Fprintf(&b, "  %s %s", count(t.files, t.totalFiles, t.totalsKnown, func(n uint64) string { return humanize.Comma(int64(n)) }), first(t.unit, "files"))
	fmt.Fprintf(&b, "  %s", count(t.bytes, t.totalBytes, t.totalsKnown, humanize.IBytes))
	fmt.Fprintf(&b, "  %s/s", humanize.IBytes(uint64(rate)))
	if t.totalsKnown && t.totalBytes > t.bytes && rate > 0 {
		fmt.Fprintf(&b, "  ETA %s", clock(time.Duration(float64(t.totalBytes-t.bytes)/rate*float64(time.Second))))
	}
	if t.errors > 0 {
		fmt.Fprintf(&b, "  %d errors", t.errors)
	}
	if t.current != "" {
		fmt.Fprintf(&b, "  %s", printable(t.current))
	}
	return b.String()
}

// json renders a tick for programs. What is not known is left out: nobody counts in order to fill it in.
func (t tick) json(elapsed time.Duration) map[string]any {
	m := map[string]any{"type": "progress", "work": t.verb, "unit": first(t.unit, "files"), "done": t.files, "bytes_done": t.bytes,
		"errors": t.errors, "seconds": elapsed.Seconds()}
	if t.totalsKnown && t.totalFiles >= t.files && t.totalFiles > 0 {
		m["total"], m["remaining"] = t.totalFiles, t.totalFiles-t.files
	}
	if t.totalsKnown && t.totalBytes >= t.bytes && t.totalBytes > 0 {
		m["bytes_total"], m["bytes_remaining"] = t.totalBytes, t.totalBytes-t.bytes
	}
	if t.current != "" {
		m["current"] = t.current
	}
	return m
}

func count(n, total uint64, known bool, text func(uint64) string) string {
	if known && total >= n && total > 0 {
		return text(n) + "/" + text(total)
	}
	return text(n)
}

// clock shows a duration as m:ss or h:mm:ss.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// width is the terminal's width in columns.
func (e *env) width() int {
	if f, ok := e.stderr.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			return w
		}
	}
	return 80
}

// clip cuts a line to the terminal's width, in the middle of the path at its end.
func clip(line string, width int) string {
	runes := []rune(line)
	if len(runes) < width {
		return line
	}
	return string(runes[:width-2]) + "…"
}

// printable makes a name safe for a terminal: control characters and bytes that are not UTF-8 are quoted.
func printable(name string) string {
	quoted := fmt.Sprintf("%+q", name)
	if plain := quoted[1 : len(quoted)-1]; plain == name {
		return name
	}
	q := fmt.Sprintf("%q", name) // keeps printable letters of all scripts
	if q[1:len(q)-1] == name {
		return name
	}
	return q
}
