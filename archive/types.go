package archive

import (
	"fmt"

	"cairn/chunk"
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
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s blob %s is not in the index", e.Type, e.ID)
}

// Hint names the operator's next step.
func (e *MissingError) Hint() string {
	return "run `cairn check` to see which files need it, and `cairn index rebuild` in case index segments were lost"
}
