package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/agent/source"
	"cairn/agent/source/profile"
)

// profilePage splits docs/profiles.md into its sections, by heading.
func profilePage(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, text := range strings.Split("\n"+string(page), "\n## ")[1:] {
		head, body, _ := strings.Cut(text, "\n")
		sections[head] = body
	}
	return sections
}

// TestProfilesDocumented: docs/profiles.md has a section for each profile, which tells each variable and a disaster.
func TestProfilesDocumented(t *testing.T) {
	t.Parallel()
	sections := profilePage(t)
	o := source.ParseOptions{Profiles: profile.Text, ProfileNames: profile.Names()}
	for _, name := range profile.Names() {
		body, ok := sections[name]
		if !ok {
			t.Errorf("docs/profiles.md has no section %s", name)
			continue
		}
		_, list, _ := strings.Cut(body, "\nVariables: ")
		list, _, _ = strings.Cut(list, "\n")
		vars, _, err := source.ProfileVariables(name, o)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, v := range vars {
			text := "`" + v.Name + "`"
			if v.Required {
				text = "**" + text + "**"
			}
			want = append(want, text)
		}
		if text := strings.Join(want, ", ") + "."; list != text {
			t.Errorf("docs/profiles.md, %s: the variables are\n%s\nwant\n%s", name, list, text)
		}
		var calls []string
		for _, line := range consoleLines(t, body) {
			for _, call := range cairnCalls(line) {
				calls = append(calls, strings.Join(call[:min(2, len(call))], " "))
			}
		}
		for _, call := range []string{"source new", "source run", "source plan", "source restore"} {
			if !slices.Contains(calls, call) {
				t.Errorf("docs/profiles.md, %s: no cairn %s in the disaster", name, call)
			}
		}
	}
}

// TestProfilesCommands: each command in docs/profiles.md exists and has its flags; each source file that is made there is valid and without doubts,
// and is the one that the other commands of the section name.
func TestProfilesCommands(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	checked := map[string]bool{}
	made := 0
	for head, body := range profilePage(t) {
		names := []string{"NAME"}
		for _, line := range consoleLines(t, body) {
			for _, call := range cairnCalls(line) {
				if len(call) == 0 {
					t.Errorf("%s: cairn without a command", line)
					continue
				}
				m.hasFlags(line, call, checked)
				switch {
				case call[0] != "source" || len(call) < 3 || strings.HasPrefix(call[2], "-"):
				case call[1] == "new":
					made++
					name := call[2]
					if len(call) > 3 && !strings.HasPrefix(call[3], "-") {
						name = call[3]
					}
					names = append(names, name)
					if !slices.Contains(profile.Names(), call[2]) || call[2] != head {
						t.Errorf("%s: in the section %s", line, head)
					}
					m.makesSource(line, call)
				case !slices.Contains(names, call[2]):
					t.Errorf("%s: the section makes no source %s", line, call[2])
				}
			}
		}
	}
	if made < len(profile.Names()) {
		t.Errorf("docs/profiles.md makes %d source files, for %d profiles", made, len(profile.Names()))
	}
}

// makesSource runs a `source new`, and has what it writes checked.
func (m *machine) makesSource(line string, call []string) {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "source.yaml")
	made := m.ok(append(slices.Clone(call), "--to", file)...)
	if strings.Contains(made.stderr, "warning:") {
		m.t.Errorf("%s: %s", line, made.stderr)
	}
	if out := m.ok("source", "validate", file); !strings.Contains(out.stdout, "is valid") || out.stderr != "" {
		m.t.Errorf("%s: %s%s", line, out.stdout, out.stderr)
	}
}
