package driver

import (
	"fmt"
	"strings"
)

const (
	globalsFile   = "globals.sql"   // PostgreSQL's roles and tablespaces
	databasesFile = "databases.sql" // all databases of a MariaDB part
	plainSuffix   = ".sql"
	aboutSuffix   = ".properties" // of a PostgreSQL database: owner, settings, rights
	customSuffix  = ".dump"
)

// FileName makes a database's name the beginning of a file's name: bytes other than letters, digits, "_", "-" and "." become %XX, and so
// does a dot in the first place.
func FileName(database string) string {
	var b strings.Builder
	for i := range len(database) {
		c := database[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// postgresFile names the stream of a database. A database may be called like the stream of the roles.
func postgresFile(database, suffix string) string {
	name := FileName(database) + suffix
	if name == globalsFile {
		name = fmt.Sprintf("%%%02X%s", name[0], name[1:])
	}
	return name
}

// databaseOf is the reverse of FileName.
func databaseOf(file string) (string, error) {
	var b strings.Builder
	for rest := file; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		if !found {
			break
		}
		var c byte
		if len(after) < 2 {
			return "", fmt.Errorf("%q is not the name of a stream", file)
		}
		if _, err := fmt.Sscanf(after[:2], "%02X", &c); err != nil {
			return "", fmt.Errorf("%q is not the name of a stream", file)
		}
		b.WriteByte(c)
		rest = after[2:]
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%q is not the name of a stream", file)
	}
	return b.String(), nil
}
