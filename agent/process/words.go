package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// lastLine is the last line that is not the continuation of another one, which psql, for one, indents: its advice says less than the error.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for _, line := range slices.Backward(lines) {
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// maxShown is how much of an argument is shown: statements of SQL say little to who has to mend a server.
const maxShown = 120

// shown makes one line of arguments, safe for terminals.
func shown(args []string) string {
	texts := make([]string, len(args))
	for i, a := range args {
		if len(a) > maxShown {
			a = strings.ToValidUTF8(a[:maxShown], "") + "…"
		}
		if strings.ContainsFunc(a, unicode.IsControl) {
			a = strconv.Quote(a)
		}
		texts[i] = a
	}
	return strings.Join(texts, " ")
}

// notStarted says in plain words why a program did not start. The error of package os/exec is within it.
func notStarted(args []string, err error) error {
	why := err.Error()
	var named *exec.Error
	var path *os.PathError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		why = "there is no such program in " + os.Getenv("PATH")
	case errors.As(err, &named):
		why = named.Err.Error()
	case errors.As(err, &path) && path.Path == args[0] && errors.Is(err, os.ErrNotExist):
		why = "there is no such program, or not the interpreter that its first line names"
	case errors.As(err, &path):
		why = path.Err.Error()
	}
	return &startError{fmt.Sprintf("command %s could not be started: %s", shown(args[:1]), why), err}
}

type startError struct {
	text string
	err  error
}

func (e *startError) Error() string { return e.text }
func (e *startError) Unwrap() error { return e.err }
