package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk/seal"
)

func initCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name:      "init",
		Usage:     "make a new archive",
		ArgsUsage: "MEMBER…",
		Description: `Makes an archive on one or several directories or S3 buckets; they are made if they do not exist.
With --data K --parity M each pack is spread over K+M members, and any M of them may be lost. Name K+M
members, or one that shall hold them all (which survives bit rot and lost files, not the loss of that one).

A bucket is s3://HOST[:PORT]/BUCKET[/PREFIX]. Its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
(or MINIO_ROOT_USER and MINIO_ROOT_PASSWORD), from ~/.aws/config and ~/.aws/credentials, or from the role of
the machine or container; they are never part of the address. Options follow a "?", separated by "&":
  region=NAME       default: what the host name says, AWS_REGION, us-east-1
  profile=NAME      take the keys from this profile only       credentials=FILE   … and from this file
  class=STANDARD_IA storage class of packs; everything small stays in the standard class
  style=path|dns    where the bucket stands in a request; default: dns at Amazon and Google, else path
  ca=FILE           trust these certificates (PEM) too         insecure=1         plain HTTP

The archive is protected by a password (CAIRN_PASSWORD and the like, or asked for), or with
--new-key-file by a key that is written to a file. Without one of them nobody can read the archive,
you included: keep a copy somewhere else ("cairn key export" prints a text that fits on paper).

With --retain TIME everything that is stored is locked against deletion for so long, also for whoever has the
keys of the clients. It needs buckets with object lock (init makes them so if they do not exist yet) and works
for every client by itself; directories cannot do it. "cairn prune" makes the locks of what is needed longer.

Other commands find the archive by CAIRN_ARCHIVE or --archive: all its members, in any order, or a file like

  members:
    - /mnt/a
    - s3://s3.eu-central-1.amazonaws.com/my-bucket?profile=backup
  key_file: /etc/cairn/key     (or password_file: FILE, or password_command: COMMAND)
  limits:                      (bytes a second, all members together; read again while a command runs)
    upload: 10M
    download: 50M

Examples:
  cairn init /mnt/backup
  cairn init --data 4 --parity 2 /mnt/a /mnt/b /mnt/c /mnt/d /mnt/e /mnt/f
  cairn init --data 4 --parity 2 /mnt/big      (six members in one place)
  cairn init --data 2 --parity 1 s3://s3.amazonaws.com/a?region=eu-west-1 's3://nas:9000/b?insecure=1' /mnt/c
  cairn init --new-key-file ~/.config/cairn/key /mnt/backup`,
		Flags: append([]cli.Flag{
			&cli.IntFlag{Name: "data", Value: 1, Usage: "`K` data shards for each pack"},
			&cli.IntFlag{Name: "parity", Value: 0, Usage: "`M` parity shards: how many members may be lost"},
			&cli.StringFlag{Name: "new-key-file", Usage: "make a key, write it to `FILE` and protect the archive with it"},
			&cli.StringFlag{Name: "label", Usage: "name the first key slot `TEXT`"},
		}, retainFlags()...),
		Action: func(c *cli.Context) error { return e.runInit(c) },
	})
}

func (e *env) runInit(c *cli.Context) error {
	p := &place{members: c.Args().Slice()}
	if len(p.members) == 0 {
		var err error
		if p, err = e.where(c); err != nil {
			return err
		}
	}
	if !p.asOf.IsZero() {
		return usage("init works on what is there now, not as of an earlier time")
	}
	keep, err := e.retainOption(c)
	if err != nil {
		return err
	}
	slots, told, err := e.firstSlots(c, p)
	if err != nil {
		return err
	}
	id, err := e.initArchive(c, p, archive.InitOptions{Data: c.Int("data"), Parity: c.Int("parity"), Slots: slots, Now: e.now(), Retention: keep})
	if err != nil {
		return err
	}
	if e.json {
		m := map[string]any{"type": "init", "archive": id.String(), "data": c.Int("data"), "parity": c.Int("parity"), "members": p.members}
		if keep != nil {
			m["retain_seconds"], m["retain_mode"] = keep.Seconds, keep.Mode
		}
		return e.printJSON(m)
	}
	if !e.quiet {
		e.print("archive %s made: %s", id.String()[:8], layoutText(c.Int("data"), c.Int("parity"), len(p.members)))
		for _, m := range p.members {
			e.print("  %s", m)
		}
		if keep != nil {
			e.print("everything stored is locked against deletion: %s; prune makes the locks of what is still needed longer", retentionText(keep))
		}
		e.print("%s", told)
	}
	if len(p.members) == 1 && c.Int("data")+c.Int("parity") > 1 {
		e.warn("all %d members are in one place: bit rot and lost files are survived, the loss of %s is not", c.Int("data")+c.Int("parity"), p.members[0])
	}
	return nil
}

func layoutText(k, m, named int) string {
	if m == 0 && k == 1 {
		return "one member, no redundancy"
	}
	return fmt.Sprintf("%d data + %d parity shards for each pack; any %d of %d members may be lost", k, m, m, k+m)
}

// firstSlots decides what protects a new archive and says so.
func (e *env) firstSlots(c *cli.Context, p *place) (func(*seal.Keys) ([]*seal.Slot, error), string, error) {
	if file := c.String("new-key-file"); file != "" {
		return e.keyFileSlot(file, c.String("label"), e.now)
	}
	creds, err := e.keyFiles(c, p)
	if err != nil {
		return nil, "", err
	}
	for _, cred := range creds {
		if cred.KeyFile != nil {
			return func(k *seal.Keys) ([]*seal.Slot, error) {
				s, err := seal.NewKeyFileSlot(k, first(c.String("label"), "key file"), *cred.KeyFile, e.now())
				return []*seal.Slot{s}, err
			}, "it opens with the key file you named; keep a copy of it somewhere else", nil
		}
	}
	password, given, err := e.newPassword(c, p)
	if err != nil {
		return nil, "", err
	}
	if !given {
		return nil, "", hint(seal.ErrNoCredential, "set CAIRN_PASSWORD (or _FILE, _COMMAND) for the new archive, or use --new-key-file FILE")
	}
	return func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewPasswordSlot(k, first(c.String("label"), "password"), password, seal.TunedArgon(), e.now())
		return []*seal.Slot{s}, err
	}, "it opens with the password; nobody can help if it is lost (`cairn key export` prints a recovery text)", nil
}

// initArchive makes the member directories and buckets, and the archive on them.
func (e *env) initArchive(c *cli.Context, p *place, o archive.InitOptions) (seal.ArchiveID, error) {
	members, err := e.makeMembers(c, p, p.members, o.Retention != nil)
	if err != nil {
		return seal.ArchiveID{}, err
	}
	if err := e.survey(c, members, o.Retention); err != nil {
		return seal.ArchiveID{}, err
	}
	return archive.Init(c.Context, members, o)
}

// initDefault makes the archive that `cairn backup` uses when nothing is configured, and tells about it at length:
// this may be all that the user ever reads about keys.
func (e *env) initDefault(c *cli.Context, p *place) error {
	keyFile, err := e.defaultKeyFile()
	if err != nil {
		return err
	}
	slots, _, err := e.keyFileSlot(keyFile, "default key file", e.now)
	if err != nil {
		return err
	}
	if _, err := e.initArchive(c, p, archive.InitOptions{Data: 1, Slots: slots, Now: e.now()}); err != nil {
		return err
	}
	e.say("No archive was configured, so one was made:\n  archive  %s\n  key      %s", p.members[0], keyFile)
	e.say("Everything in the archive is encrypted with that key. Without it nobody can restore anything:\n"+
		"copy %s to another machine now, or run `cairn key export` and keep the paper.\n"+
		"Better still, make an archive on other disks: `cairn init --help`.\n", keyFile)
	return nil
}

// keyFileSlot prepares a key file: one that is there is used again (an archive may have been lost, its key must
// not be), else a new one is written before the archive is made.
func (e *env) keyFileSlot(name, label string, now func() time.Time) (func(*seal.Keys) ([]*seal.Slot, error), string, error) {
	var key [32]byte
	told := fmt.Sprintf("its key is in %s: keep a copy of that file somewhere else, without it nobody can read the archive", name)
	if exists(name) {
		cred, err := readCredential(name)
		if err != nil {
			return nil, "", err
		}
		if cred.KeyFile == nil {
			return nil, "", fmt.Errorf("%s is not a key file", name)
		}
		key = *cred.KeyFile
	} else {
		fresh, text, err := seal.NewKeyFile()
		if err != nil {
			return nil, "", err
		}
		if err := writeSecret(name, text); err != nil {
			return nil, "", err
		}
		key = fresh
	}
	return func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewKeyFileSlot(k, first(label, filepath.Base(name)), key, now())
		return []*seal.Slot{s}, err
	}, told, nil
}

// writeSecret writes a new file that only its owner may read, durably, and never over an existing one.
func writeSecret(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.TrimRight(text, "\n") + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
