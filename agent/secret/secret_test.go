package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/remote"
)

const value = "correct horse"

func file(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// openDir makes a directory through which everybody may pass, from the root on.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cairn-secret-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestValue(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "db"), []byte(value+"\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("CAIRN_TEST_SECRET", value)
	for name, s := range map[string]Secret{
		"environment":   {Env: "CAIRN_TEST_SECRET"},
		"file":          {File: file(t, 0o600, value+"\n")},
		"file of group": {File: file(t, 0o640, value)},
		"DOS file":      {File: file(t, 0o400, value+"\r\n")},
		"command":       {Command: []string{"printf", "%s\n", value}},
		"credential":    {Credential: "db"},
	} {
		got, err := s.Value(t.Context())
		if err != nil || got.Reveal() != value {
			t.Errorf("%s: %v, %v", name, got.Reveal(), err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("CAIRN_TEST_SECRET", "")
	open := filepath.Join(openDir(t), "secret")
	if err := os.WriteFile(open, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    Secret
		want string
	}{
		{Secret{}, "nothing says where it is"},
		{Secret{Env: "CAIRN_TEST_NONE"}, "environment variable CAIRN_TEST_NONE: it is not set"},
		{Secret{Env: "CAIRN_TEST_SECRET"}, "it is empty"},
		{Secret{File: open}, "everybody on this machine can read or change it (mode 0644)"},
		{Secret{File: "/nonexistent/x"}, "no such file"},
		{Secret{File: file(t, 0o600, value+"\nsecond\n")}, "more than one line"},
		{Secret{File: file(t, 0o600, strings.Repeat("x", 1<<20))}, "longer than"},
		{Secret{Command: []string{"sh", "-c", "echo " + value + "; echo no key >&2; exit 3"}}, "exit status 3: no key"},
		{Secret{Command: []string{"cat", "/dev/zero"}}, ""}, // ends by the time-out of the context
		{Secret{Credential: "db"}, "systemd gave no credentials"},
	} {
		ctx := t.Context()
		if c.want == "" {
			c.want = "did not end"
			t.Run("endless", func(t *testing.T) {
				began := time.Now()
				limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				if _, err := c.s.Value(limited); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
			})
			continue
		}
		got, err := c.s.Value(ctx)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.s, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), value) || !got.IsZero() {
			t.Errorf("%s: the error tells the secret, or a value came with it: %v", c.s, err)
		}
	}
	// Behind a directory that others cannot pass, the mode of the file does not matter: containers mount secrets so.
	closed := file(t, 0o644, value)
	if err := os.Chmod(filepath.Dir(closed), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := (Secret{File: closed}).Value(t.Context()); err != nil || got.Reveal() != value {
		t.Errorf("got %v", err)
	}
	_, err := Secret{File: open}.Value(t.Context())
	if h := remote.Hint(err); h != "chmod o-rwx "+open {
		t.Errorf("hint %q", h)
	}
}

// TestHidden: D3: no way of printing shows the value.
func TestHidden(t *testing.T) {
	t.Parallel()
	h := Hide(value)
	held := struct {
		H Hidden
		P *Hidden
	}{h, &h}
	texts := []string{h.String(), fmt.Errorf("x: %w", errors.New(fmt.Sprint(h))).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		texts = append(texts, fmt.Sprintf(verb, h), fmt.Sprintf(verb, held), fmt.Sprintf(verb, []Hidden{h}), fmt.Sprintf(verb, &held))
	}
	data, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	texts = append(texts, string(data))
	for _, text := range texts {
		if strings.Contains(text, "horse") || strings.Contains(text, fmt.Sprintf("%x", "horse")) || strings.Contains(text, fmt.Sprint([]byte("horse"))[1:15]) {
			t.Errorf("shown: %s", text)
		}
	}
}
