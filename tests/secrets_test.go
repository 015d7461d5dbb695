package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeystores: D3: certificates and private keys come back with their modes and are readable nowhere else: not in the archive, the cache
// or what is printed, and not by others while a restore is at work or where it was interrupted.
func TestKeystores(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	secrets := files{
		"config/private/private.conf":       "js7.auth.users.controller.password = open-sesame-4711\n",
		"config/private/https-keystore.p12": "MII" + string(random("keystore", 3000)),
		"resources/joc/license/key.pem":     "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("c2VjcmV0LWtleS1ieXRlcw", 40) + "\n-----END PRIVATE KEY-----\n",
	}
	tree := m.write("js7", secrets)
	for name := range secrets {
		if err := os.Chmod(filepath.Join(tree, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(tree, "config/private"), 0o700); err != nil {
		t.Fatal(err)
	}
	said := m.ok("backup", "--progress", "1ms", tree)
	m.ok("check", "--read-data")
	target := m.path("target")
	back := m.ok("restore", "latest:"+tree, "--to", target, "--verbose")
	same(t, tree, target)
	for name := range secrets {
		if info, err := os.Stat(filepath.Join(target, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	for what, text := range map[string]string{"backup": said.stdout + said.stderr, "restore": back.stdout + back.stderr} {
		if strings.Contains(text, "open-sesame") {
			t.Errorf("%s shows what is in a file: %s", what, text)
		}
	}
	looked := 0
	for _, dir := range []string{member, m.cache()} {
		eachFile(t, dir, func(name string) error {
			data, err := os.ReadFile(name)
			for path, content := range secrets {
				if bytes.Contains(data, []byte(content[:20])) || bytes.Contains(data, []byte(content[len(content)-20:])) {
					t.Errorf("%s can be read in %s", path, name)
				}
			}
			if bytes.Contains(data, []byte("https-keystore")) && strings.HasPrefix(name, member) {
				t.Errorf("the archive shows names: %s", name)
			}
			looked++
			return err
		})
	}
	if looked < 10 {
		t.Errorf("only %d files were looked into", looked)
	}
}
