package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/remote/limit"
)

// limitsFile is the part of an archive file that says how fast transfers may be.
type limitsFile struct {
	Upload   string `yaml:"upload"`
	Download string `yaml:"download"`
}

// parseRate reads bytes a second: 500K, 10M, 1.5G, also with /s; 0 and "" are no limit.
func parseRate(text string) (int64, error) {
	t := strings.TrimSuffix(strings.TrimSpace(text), "/s")
	if t == "" {
		return 0, nil
	}
	n, err := parseSize(t)
	if err != nil || n > 1<<50 {
		return 0, fmt.Errorf("%q is not a rate such as 500K or 10M (bytes a second)", text)
	}
	return int64(n), nil
}

func (l limitsFile) parse() (up, down int64, err error) {
	if up, err = parseRate(l.Upload); err != nil {
		return 0, 0, fmt.Errorf("limits: upload: %w", err)
	}
	if down, err = parseRate(l.Download); err != nil {
		return 0, 0, fmt.Errorf("limits: download: %w", err)
	}
	return up, down, nil
}

// setLimits makes the rates that all members of a command share, from flags and archive file; a flag wins. Without
// either there are none. While the command runs, the file is looked at again.
func (e *env) setLimits(c *cli.Context, p *place) error {
	if e.up != nil {
		return nil
	}
	flagUp, flagDown := value(c, "limit-upload"), value(c, "limit-download")
	if flagUp == "" && flagDown == "" && p.path == "" {
		return nil
	}
	up, down, err := p.file.Limits.parse()
	if err != nil {
		return fmt.Errorf("archive file %s: %w", p.path, err)
	}
	if flagUp != "" {
		if up, err = parseRate(flagUp); err != nil {
			return usage("--limit-upload: %w", err)
		}
	}
	if flagDown != "" {
		if down, err = parseRate(flagDown); err != nil {
			return usage("--limit-download: %w", err)
		}
	}
	e.up, e.down = limit.NewRate(up), limit.NewRate(down)
	if p.path != "" && (flagUp == "" || flagDown == "") {
		w := limitsWatch{e: e, path: p.path, fixedUp: flagUp != "", fixedDown: flagDown != ""}
		w.seen, _ = os.Stat(p.path)
		ctx := c.Context
		e.tasks.Go(func() { w.run(ctx) }) // run waits for it
	}
	return nil
}

// limitsEvery is how often the archive file is looked at: soon for somebody who waits, and nothing beside a transfer.
const limitsEvery = 2 * time.Second

// limitsWatch follows the limits in an archive file while a command runs.
type limitsWatch struct {
	e                  *env
	path               string
	fixedUp, fixedDown bool // by a flag
	seen               os.FileInfo
}

func (w *limitsWatch) run(ctx context.Context) {
	tick := time.NewTicker(w.e.limitsEvery())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// look reads the file if it is another one or has changed. What cannot be read changes nothing.
func (w *limitsWatch) look() {
	info, err := os.Stat(w.path)
	if err != nil || w.seen != nil && os.SameFile(info, w.seen) && info.ModTime().Equal(w.seen.ModTime()) && info.Size() == w.seen.Size() {
		return // an editor may be about to put a new one in its place
	}
	w.seen = info
	p, err := readArchiveFile(w.path)
	var up, down int64
	if err == nil {
		up, down, err = p.file.Limits.parse()
	}
	if err != nil {
		w.e.warn("the limits stay as they are: %v", err)
		return
	}
	changed := w.set(w.e.up, up, w.fixedUp)
	if w.set(w.e.down, down, w.fixedDown) || changed {
		w.e.say("note: limits are now: upload %s, download %s", rateText(w.e.up), rateText(w.e.down))
	}
}

func (w *limitsWatch) set(r *limit.Rate, perSecond int64, fixed bool) bool {
	if fixed || r.Limit() == perSecond {
		return false
	}
	r.Set(perSecond)
	return true
}

func rateText(r *limit.Rate) string {
	if r.Limit() == 0 {
		return "without limit"
	}
	return humanize.IBytes(uint64(r.Limit())) + "/s"
}

func (e *env) limitsEvery() time.Duration {
	if e.pollLimits > 0 {
		return e.pollLimits
	}
	return limitsEvery
}
