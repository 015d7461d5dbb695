package main

import (
	"context"
	"fmt"

	"cairn/archive"
	"cairn/snapshot"
)

// reads notes a snapshot that the command reads from.
func (e *env) reads(s *snapshot.Snapshot) { e.reading = append(e.reading, s) }

// meanwhile says what it means that a command missed something: a snapshot that was forgotten while it was read lacks what was pruned since,
// and one that is incomplete may always have lacked it. Neither is damage.
func (e *env) meanwhile(ctx context.Context, a *archive.Archive, err error) error {
	if err == nil || exitCode(ctx, err) != exitDamage {
		return err
	}
	for _, s := range e.reading {
		if forgotten(ctx, a, s) {
			return &exitError{exitPartial, hint(fmt.Errorf("snapshot %s was forgotten while it was read, and pruned: %w", s.ID.Short(), err),
				"everything else came; take another snapshot: `cairn snapshots` lists them")}
		}
	}
	for _, s := range e.reading {
		if s.Incomplete {
			return &exitError{exitPartial, hint(fmt.Errorf("snapshot %s is incomplete, it was never reported as done: %w", s.ID.Short(), err),
				"everything else came; take another snapshot: `cairn snapshots` lists them")}
		}
	}
	return err
}

func forgotten(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot) bool {
	_, err := a.Records(ctx)
	return err == nil && a.Forgotten(s.ID)
}
