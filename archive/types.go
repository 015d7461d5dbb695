package archive

import (
	"fmt"

	"cairn/chunk"
	"cairn/remote"
)

// Saved says what became of a blob handed to Writer.Save.
type Saved struct {
	ID     chunk.ID
	New    bool // it was not in the archive before
	Stored int  // bytes it takes after compression and sealing; 0 when it was there
}

// MissingError means that a blob is needed that no index segment knows.
type MissingError struct {
	Type chunk.Type
	ID   chunk.ID
	Away error // a *stripe.TooFewError, when a segment that may know it needs members that are away; otherwise nil
}

func (e *MissingError) Error() string {
	if e.Away != nil {
		return fmt.Sprintf("%s blob %s is not in the index, of which a part cannot be read: %v", e.Type, e.ID, e.Away)
	}
	return fmt.Sprintf("%s blob %s is not in the index", e.Type, e.ID)
}

func (e *MissingError) Unwrap() error { return e.Away }

// Hint names the operator's next step.
func (e *MissingError) Hint() string {
	if hint := remote.Hint(e.Away); e.Away != nil && hint != "" {
		return hint
	}
	return "run `cairn check` to see which files need it, and `cairn index rebuild` in case index segments were lost"
}
