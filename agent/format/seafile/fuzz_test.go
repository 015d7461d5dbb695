package seafile

import (
	"bytes"
	"compress/zlib"
	"errors"
	"strings"
	"testing"

	"cairn/agent/format"
)

const lib, id = "11111111-1111-4111-8111-111111111111", "0123456789012345678901234567890123456789"

// E18: objects that are let pass name only ids that are ids: they become paths.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"version":1,"type":3,"dirents":[{"mode":16384,"id":"`+id+`","name":"a"}]}`), true)
	f.Add([]byte(`{"version":1,"type":1,"block_ids":["../../etc"],"size":1}`), true)
	f.Add([]byte{0x78, 0x9c, 1}, false)
	f.Fuzz(func(t *testing.T, data []byte, pack bool) {
		if pack {
			var b bytes.Buffer
			z := zlib.NewWriter(&b)
			_, err := z.Write(data)
			if err = errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
			data = b.Bytes()
		}
		o, digest, err := parseObject(data)
		if err != nil {
			return
		}
		for _, e := range o.Entries {
			o.Blocks = append(o.Blocks, e.ID)
		}
		for _, link := range append(o.Blocks, digest) {
			if !format.IsHex(link, 40) {
				t.Errorf("let %q pass", link)
			}
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte(`{"commit_id":"` + id + `","repo_id":"` + lib + `","root_id":"` + id + `","parent_id":null}`))
	f.Add([]byte(`{"commit_id":"` + id + `","repo_id":"` + lib + `","root_id":"` + id + `","parent_id":"/"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCommit(data, lib, id)
		if err != nil {
			return
		}
		if !format.IsHex(c.Root, 40) || c.Parent != "" && !format.IsHex(c.Parent, 40) || c.Second != "" && !format.IsHex(c.Second, 40) {
			t.Errorf("let %+v pass", c)
		}
	})
}

// E18, E19: heads of a dump are libraries and commits, whatever else the dump holds.
func FuzzDump(f *testing.F) {
	f.Add("CREATE TABLE `Branch` (`commit_id` char, `repo_id` char, name char, KEY (`name`));INSERT INTO Branch VALUES ('" + id + "','" + lib + "','master');")
	f.Add("INSERT INTO \"VirtualRepo\" VALUES (1,'" + lib + "','" + lib + "','a''b\\'c');-- x\n/* ( */ #\n")
	f.Add("insert into Branch (repo_id")
	f.Fuzz(func(t *testing.T, sql string) {
		tables := newTables()
		err := tables.read(strings.NewReader(sql))
		for library, head := range tables.heads {
			if !uuidName.MatchString(library) || !format.IsHex(head, 40) {
				t.Errorf("head %q of %q", head, library)
			}
		}
		more := newTables() // a statement behind it is read, too, when it was whole
		if err == nil && strings.HasSuffix(sql, ";\n") {
			if more.read(strings.NewReader(sql+"INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master','"+lib+"','"+id+"');\n")) != nil {
				t.Error("a second statement was not read")
			}
		}
	})
}

// E9: the dialects of mysqldump, mariadb-dump and sqlite3.
func TestDump(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"mysqldump":      "/*!40000 ALTER TABLE `Branch` DISABLE KEYS */;\nINSERT INTO `Branch` VALUES (1,'master','" + lib + "','" + id + "'),(2,'local','" + lib + "','x');",
		"one row a line": "INSERT INTO `Branch` VALUES\n(1,'master','" + lib + "','" + id + "'),\n(2,'a;b','x''y','(');\n",
		"complete":       "INSERT INTO `Branch` (`id`, `commit_id`, `repo_id`, `name`) VALUES (1,'" + id + "','" + lib + "','master');",
		"sqlite":         "CREATE TABLE Branch (name VARCHAR(10), repo_id CHAR(40), commit_id CHAR(40), PRIMARY KEY (repo_id, name));\nINSERT INTO Branch VALUES('master','" + lib + "','" + id + "');",
		"other order":    "CREATE TABLE IF NOT EXISTS `Branch` (\n `commit_id` char(41) DEFAULT NULL,\n `name` varchar(10) DEFAULT ',',\n `repo_id` char(41),\n KEY `x` (`name`,`repo_id`)\n) ENGINE=InnoDB;\nINSERT INTO `Branch` VALUES ('" + id + "','master','" + lib + "');",
	} {
		tables := newTables()
		if err := tables.read(strings.NewReader("-- it's; a comment\n" + sql)); err != nil || tables.heads[lib] != id || !tables.branch || len(tables.heads) != 1 {
			t.Errorf("%s: %v %+v", name, err, tables)
		}
	}
}
