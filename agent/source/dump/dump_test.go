package dump

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const mysqldump = "-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\n\n--\n-- Current Database: `a`\n--\n\n" +
	"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n\nUSE `a`;\n" +
	"INSERT INTO `t` VALUES ('x;\\'\nUSE `b`;\n',\"it's;\",0x00),('''');\n" +
	"-- don't; USE `b`;\n# it's\nINSERT /* don't; */ INTO `t;` VALUES (1);\n" +
	"DELIMITER ;;\n/*!50003 SET sql_mode              = 'NO_BACKSLASH_ESCAPES' */ ;;\nCREATE FUNCTION f() RETURN '\\' ; -- don't\nUSE `b`;\n;;\n" +
	"/*!50003 SET sql_mode              = @saved_sql_mode */ ;;\nDELIMITER ;\n" +
	"INSERT INTO `t` VALUES ('\\\\');\n" +
	"\n--\n-- Current Database: `b``2`\n--\n\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `b``2`;\n\nUSE `b``2`;\nDELIMITER ;;\nINSERT INTO b VALUES (';;');;\nDELIMITER ;\n" +
	"USE `a`;\nCREATE VIEW v AS SELECT 1;\n-- Dump completed\n"

func filter(src io.Reader, wanted, as string) (string, []string, error) {
	var out bytes.Buffer
	var asked []string
	err := NewScript(src, &out, func(name string) (string, bool, error) {
		asked = append(asked, name)
		if as == "" {
			return name, wanted == "" || name == wanted, nil
		}
		return as, name == wanted, nil
	}).Run()
	return out.String(), asked, err
}

// E11: one database is taken out of a dump of several and gets another name; what only looks like a statement is left alone.
func TestScript(t *testing.T) {
	t.Parallel()
	head := "-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;"
	section := mysqldump[strings.Index(mysqldump, "INSERT INTO `t`")-1 : strings.Index(mysqldump, "\n\n--\n-- Current Database: `b``2`")]
	view := "\nCREATE VIEW v AS SELECT 1;\n-- Dump completed\n"
	// Lines for the client program pass in any case.
	want := head + "\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `n``w` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\nUSE `n``w`;" + section +
		"DELIMITER ;;\nDELIMITER ;\n\nUSE `n``w`;" + view
	for name, src := range map[string]io.Reader{"whole": strings.NewReader(mysqldump), "byte by byte": iotest.OneByteReader(strings.NewReader(mysqldump))} {
		got, asked, err := filter(src, "a", "n`w")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff([]string{"a", "a", "b`2", "b`2", "a"}, asked); diff != "" {
			t.Error(diff)
		}
	}
	got, _, err := filter(strings.NewReader(mysqldump), "b`2", "")
	if err != nil || strings.Contains(got, "VIEW") || strings.Contains(got, "`t`") || !strings.Contains(got, "INSERT INTO b VALUES (';;');;") {
		t.Errorf("%s, %v", got, err)
	}
	got, _, err = filter(strings.NewReader(mysqldump), "", "")
	if strip := func(s string) string { return strings.ReplaceAll(s, "\n", "") }; err != nil || strip(got) != strip(mysqldump) {
		t.Errorf("with all databases: %s, %v", got, err)
	}
}

func TestScriptErrors(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		text string
		err  error
	}{
		"source":    {"INSERT INTO t VALUES ('", gone},
		"no name":   {"USE x;", nil},
		"no end":    {"USE `x", nil},
		"delimiter": {"DELIMITER '\n", nil},
		"long":      {"USE `" + strings.Repeat("x", 1<<17) + "`;", nil},
		"comment":   {"/*" + strings.Repeat("x", 1<<20), nil},
	} {
		src := io.Reader(strings.NewReader(c.text))
		if c.err != nil {
			src = io.MultiReader(src, iotest.ErrReader(c.err))
		}
		if _, _, err := filter(src, "", ""); err == nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzScript: how the bytes come makes no difference, and what is passed on unchanged is unchanged.
func FuzzScript(f *testing.F) {
	f.Add(mysqldump)
	f.Add("/*/ x */ USE `a`; -- '")
	f.Add("'\\")
	f.Fuzz(func(t *testing.T, text string) {
		whole, _, err := filter(strings.NewReader(text), "a", "b")
		pieces, _, err2 := filter(iotest.OneByteReader(strings.NewReader(text)), "a", "b")
		if whole != pieces || (err == nil) != (err2 == nil) {
			t.Errorf("%q became %q (%v) and %q (%v)", text, whole, err, pieces, err2)
		}
		if all, asked, err := filter(strings.NewReader(text), "", ""); err == nil && len(asked) == 0 && all != text {
			t.Errorf("%q became %q", text, all)
		}
	})
}

const pgDump = "--\n-- PostgreSQL database dump\n--\n\n\\restrict KEY1\n\n-- Dumped\nSELECT '\\restrict KEY2';\n" +
	"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict KEY1\n\n"

// A dump loses its own fence, keeps the rest, and is whole or an error.
func TestFence(t *testing.T) {
	t.Parallel()
	want := strings.ReplaceAll(strings.ReplaceAll(pgDump, "\\restrict KEY1\n", ""), "\\unrestrict KEY1\n", "") + "\n"
	for _, middle := range []string{"", strings.Repeat("0123456789\n", 50000)} {
		text := strings.Replace(pgDump, "-- Dumped\n", "-- Dumped\n"+middle, 1)
		for _, src := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
			got, err := io.ReadAll(NewFence(src, PostgresMark))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Replace(want, "-- Dumped\n", "-- Dumped\n"+middle, 1), string(got)); diff != "" {
				t.Error(diff)
			}
		}
	}
	for cut := range len(pgDump) - len("\n--\n\n\\unrestrict KEY1\n\n") {
		if got, err := io.ReadAll(NewFence(strings.NewReader(pgDump[:cut]), PostgresMark)); err == nil {
			t.Fatalf("cut at %d: %q was taken for a whole dump", cut, got)
		}
	}
	gone := errors.New("gone")
	if _, err := io.ReadAll(NewFence(io.MultiReader(strings.NewReader(pgDump), iotest.ErrReader(gone)), PostgresMark)); !errors.Is(err, gone) {
		t.Error(err)
	}
	fenced, err := io.ReadAll(Fenced(strings.NewReader("X;\n"), "K", "BEGIN;\n", "COMMIT;\n", "T"))
	if err != nil || string(fenced) != "\\restrict K\nBEGIN;\nX;\nCOMMIT;\nSELECT 'T';\n\\unrestrict K\n" {
		t.Errorf("%q %v", fenced, err)
	}
}

func FuzzFence(f *testing.F) {
	f.Add([]byte(pgDump))
	f.Add([]byte("\\restrict \n\\restrict"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, err := io.ReadAll(NewFence(bytes.NewReader(text), PostgresMark))
		pieces, err2 := io.ReadAll(NewFence(iotest.OneByteReader(bytes.NewReader(text)), PostgresMark))
		if !bytes.Equal(whole, pieces) || (err == nil) != (err2 == nil) {
			t.Errorf("%q became %q (%v) and %q (%v)", text, whole, err, pieces, err2)
		}
	})
}

func TestKnowsFence(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": true, "psql (PostgreSQL) 15.13": false, "psql (PostgreSQL) 12.22": false,
		"psql (PostgreSQL) 17.6": true, "psql (PostgreSQL) 18beta3": true, "psql (PostgreSQL) 18.0": true, "": false,
	} {
		if got := KnowsFence(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestGlobals(t *testing.T) {
	t.Parallel()
	text := "-- it's\nSET x = on;\nCREATE ROLE old;\nALTER ROLE old PASSWORD 'a;b''c';\nCREATE ROLE \"n;e\"\"w\";\nALTER ROLE \"n;e\"\"w\" SET a TO E'x\\';''y';\n" +
		"COMMENT ON ROLE old IS 'x\n-- y';\nCREATE TABLESPACE fast OWNER old LOCATION '/x';\nGRANT old TO \"n;e\"\"w\";\n"
	got, kept := MissingGlobals(text, map[string]bool{"old": true}, false)
	want := "SET x = on;\nCREATE ROLE \"n;e\"\"w\";\nALTER ROLE \"n;e\"\"w\" SET a TO E'x\\';''y';\n" +
		"COMMIT;\nCREATE TABLESPACE fast OWNER old LOCATION '/x';\nBEGIN;\nGRANT old TO \"n;e\"\"w\";\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"old"}, kept); diff != "" {
		t.Error(diff)
	}
	got, _ = MissingGlobals(text, map[string]bool{"old": true}, true)
	if strings.Contains(got, "CREATE ROLE old") || !strings.Contains(got, "ALTER ROLE old PASSWORD 'a;b''c';") {
		t.Error(got)
	}
}
