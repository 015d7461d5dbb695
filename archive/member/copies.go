package member

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cairn/archive"
)

// copier brings mirrored objects (Archive.Mirror) to the members of a layout.
type copier struct {
	notice func(string)
	told   map[string]bool
}

// fill brings to the members of a layout the key slots, snapshots and marks that the archive has anywhere. That something could not
// be brought to a member is an error if its label is in must, or must is empty, and a notice otherwise. It returns how
// many were written to those.
func (c *copier) fill(ctx context.Context, a *archive.Archive, to archive.Placement, must ...string) (written int, err error) {
	r, err := a.Mirror(ctx, to)
	if err != nil {
		return 0, err
	}
	for label, n := range r.Copied {
		if len(must) == 0 || has(must, label) {
			written += n
		}
	}
	for _, text := range r.Kept {
		c.tell(text)
	}
	var errs []error
	for _, err := range r.Errs {
		if len(must) == 0 || has(must, err.Error()) {
			errs = append(errs, err)
		} else {
			c.tell(err.Error())
		}
	}
	if len(errs) > 0 {
		return written, fmt.Errorf("copy key slots and snapshots: %w", errors.Join(errs...))
	}
	return written, nil
}

func has(labels []string, text string) bool {
	for _, l := range labels {
		if strings.Contains(text, l) {
			return true
		}
	}
	return false
}

// tell notices a thing once.
func (c *copier) tell(text string) {
	if c.told == nil {
		c.told = map[string]bool{}
	}
	if !c.told[text] {
		c.told[text] = true
		c.notice(text)
	}
}
