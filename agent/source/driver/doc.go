// Package driver speaks to databases: it gives their contents as streams, and takes such streams back. It uses the databases' own client
// programs (pg_dump, mariadb-dump, sqlite3…), because those know each version's format, and writes nothing itself but the names and
// switches they need.
//
// A stream is one file of a part. PostgreSQL: `globals.sql` (roles, tablespaces), and for each database `app.sql` or, in the custom format,
// `app.dump`, followed by `app.properties` (owner, settings, rights). MariaDB: `databases.sql` with all databases. SQLite: the file's name, with
// `.sql` when it is text. They can be restored in the order in which they are listed. Streams are not compressed and carry no time of the dump, so that what did not
// change deduplicates. Only SQLite's method "backup" needs a temporary file.
//
// Invariants
//   - A stream is to be believed only when the function that Open returned with it says so: the program ended with status 0, after the
//     reader had seen the end; something came; and it ends as a complete dump of its kind ends.
//   - No password is in an argument list, a message, or a stream. PostgreSQL's programs get it as PGPASSWORD, MariaDB's in an option file
//     that is a pipe; with a client prefix (docker exec…) both get it in the environment of the prefix's program, which must hand it on
//     (-e PGPASSWORD, -e MYSQL_PWD). The client programs do not get the keys of the archive.
//   - Nothing here asks for a password or waits for a terminal. Dumps take no locks that writers wait for.
//   - A restore leaves what is there alone until the new content is complete, where the server can: PostgreSQL fills a database of another
//     name and renames it, SQLite a file. MariaDB cannot; a database that it began to fill is dropped again when the rest does not come.
//   - A database that holds something is refused, unless Replace is set.
//
// Functions may be called from several goroutines; each Open starts one program. A crash of this program ends the dumps (their pipes close).
// It leaves of a restore, depending on the kind: a database NAME_cairn_XXXXXXXX, a half-filled database, or a file .NAME.cairn-XXXXXXXX.
package driver
