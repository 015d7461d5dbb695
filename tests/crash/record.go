package crash

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"cairn/remote/local"
)

// Recorded is a change that the program, built with -tags faults, made in the directory of a member.
type Recorded struct {
	Dir string `json:"dir"`
	local.Change
}

// Record reads what the program noted by CAIRN_FAULTS=record=FILE. A last line that is cut off, by a kill, is left out: what it is
// about is not acknowledged to anybody.
func Record(name string) (list []Recorded, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(bufio.NewReader(f))
	for {
		var r Recorded
		switch err := d.Decode(&r); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("record %s: %w", name, err)
		}
		list = append(list, r)
	}
}
