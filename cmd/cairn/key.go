package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk/seal"
)

func keyCommand(e *env) *cli.Command {
	return &cli.Command{
		Name: "key", Usage: "manage what opens the archive",
		Description: `An archive has key slots: passwords, key files, and recipients (public keys whose holders open it with their
identity file). A slot is full, or a writer: a writer key can back up and deduplicate, but can read nothing back, not
even what it wrote itself. Give machines that only back up a writer key.

The commands are "key list", "key add", "key remove", "key passwd", "key export" and "key recover"; "cairn key add --help"
explains one.

Examples:
  cairn key list
  cairn key add --label 'the other admin'
  cairn key export >recovery.txt`,
		Subcommands: []*cli.Command{
			command(e, &cli.Command{Name: "list", Usage: "list the key slots", Action: func(c *cli.Context) error { return e.runKeyList(c) },
				Description: "Lists the slots: id, what opens it, role, day, label. Anybody who can read a member can do that, no key is needed."}),
			command(e, &cli.Command{Name: "add", Usage: "add a key slot", Flags: newSlotFlags(true), Action: func(c *cli.Context) error { return e.runKeyAdd(c) },
				Description: `Adds a password (asked for, or from --new-password-file), a new key file, or a recipient.

Examples:
  cairn key add                                     asks for another password
  cairn key add --new-key-file /root/cairn.key
  cairn key add --writer --new-key-file web1.key    for a machine that only backs up
  cairn key add --new-identity anna.identity        a recipient whose identity goes to a file
  cairn key add --recipient CAIRN-RECIPIENT-1-…     its holder has made an identity elsewhere`}),
			command(e, &cli.Command{Name: "remove", Usage: "remove a key slot", ArgsUsage: "SLOT", Action: func(c *cli.Context) error { return e.runKeyRemove(c) },
				Description: `Removes a slot by its id or a unique beginning of it. The last full one is not removed. Whoever copied the slot and
knows its secret keeps what it gave: a stolen full key means moving to a new archive.

Example:
  cairn key remove 1dbda372`}),
			command(e, &cli.Command{Name: "passwd", Usage: "change the password", Flags: newSlotFlags(false)[:2], Action: func(c *cli.Context) error { return e.runKeyPasswd(c) },
				Description: `Replaces the password slot that opened the archive by one with a new password (asked for, from
--new-password-file, or from CAIRN_NEW_PASSWORD). The label stays unless --label gives another.`}),
			command(e, &cli.Command{Name: "export", Usage: "print the recovery text", Action: func(c *cli.Context) error { return e.runKeyExport(c) },
				Description: `Prints the root key as a text of about 120 characters to keep on paper. Whoever has it can read everything, without a
password; with it "cairn key recover" makes a new key when all others are lost.

Example:
  cairn key export | lp`}),
			command(e, &cli.Command{Name: "recover", Usage: "make a new slot from a recovery text", ArgsUsage: "[FILE]", Flags: newSlotFlags(false), Action: func(c *cli.Context) error { return e.runKeyRecover(c) },
				Description: `Reads the recovery text from FILE or standard input and adds a slot, for when passwords and key files are lost. Case,
blanks and line breaks do not matter in the text.

Examples:
  cairn key recover recovery.txt                                asks for the new password
  cairn key recover recovery.txt --new-key-file ~/cairn.key`}),
		},
	}
}

func newSlotFlags(writer bool) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "new-password-file", Usage: "read the new password from `FILE`; default $CAIRN_NEW_PASSWORD, or ask"},
		&cli.StringFlag{Name: "label", Usage: "name the slot `TEXT` (anybody can read it)"},
		&cli.StringFlag{Name: "new-key-file", Usage: "make a key and write it to `FILE`"},
		&cli.StringFlag{Name: "new-identity", Usage: "make an identity, write it to `FILE`, and add its recipient"},
		&cli.StringFlag{Name: "recipient", Usage: "add the recipient `CAIRN-RECIPIENT-1-…`"},
	}
	if writer {
		flags = append(flags, &cli.BoolFlag{Name: "writer", Usage: "a writer key: it can back up, and read nothing back"})
	}
	return flags
}

func (e *env) runKeyList(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	a, err := e.openKeyless(c)
	if err != nil {
		return err
	}
	slots, err := a.Slots(c.Context)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if e.json {
			m := map[string]any{"type": "key", "id": s.ID.String(), "kind": s.Kind.String(), "role": s.Role.String(), "label": s.Label, "created": s.Created.UTC().Format(time.RFC3339)}
			if s.Fingerprint != (seal.Fingerprint{}) {
				m["fingerprint"] = s.Fingerprint.String()
			}
			if err := e.printJSON(m); err != nil {
				return err
			}
			continue
		}
		e.print("%s  %-9s  %-6s  %s  %s", s.ID.String()[:8], s.Kind, s.Role, s.Created.Format("2006-01-02"), printable(s.Label))
	}
	return nil
}

// openKeyless opens the archive without a key: enough to list slots and to remove caches.
func (e *env) openKeyless(c *cli.Context) (*archive.Archive, error) {
	p, err := e.where(c)
	if err != nil {
		return nil, err
	}
	return e.openWith(c, p, nil)
}

func (e *env) runKeyAdd(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		keys := a.Keys()
		if !keys.CanRead() {
			return seal.ErrNoReadKey
		}
		if c.Bool("writer") {
			var err error
			if keys, err = keys.NewWriterKeys(); err != nil {
				return err
			}
		}
		return e.addSlot(ctx, c, a, keys)
	})
}

// addSlot makes a slot as the flags say, publishes it and tells about it.
func (e *env) addSlot(ctx context.Context, c *cli.Context, a *archive.Archive, keys *seal.Keys) error {
	s, told, err := e.newSlot(c, keys)
	if err != nil {
		return err
	}
	if err := a.AddSlot(ctx, s); err != nil {
		return err
	}
	if e.json {
		return e.printJSON(map[string]any{"type": "key", "id": s.ID.String(), "kind": s.Kind.String(), "role": s.Role.String(), "label": s.Label})
	}
	e.print("added %s slot %s (%s)%s", s.Kind, s.ID.String()[:8], s.Role, told)
	return nil
}

func (e *env) newSlot(c *cli.Context, keys *seal.Keys) (s *seal.Slot, told string, err error) {
	label, now := c.String("label"), e.now()
	switch {
	case c.String("new-key-file") != "":
		key, text, err := seal.NewKeyFile()
		if err != nil {
			return nil, "", err
		}
		if err := writeSecret(c.String("new-key-file"), text); err != nil {
			return nil, "", err
		}
		s, err = seal.NewKeyFileSlot(keys, label, key, now)
		return s, ": the key is in " + c.String("new-key-file"), err
	case c.String("new-identity") != "":
		text, recipient, err := seal.NewIdentity()
		if err != nil {
			return nil, "", err
		}
		if err := writeSecret(c.String("new-identity"), text); err != nil {
			return nil, "", err
		}
		return recipientSlot(keys, label, recipient, now, ": the identity is in "+c.String("new-identity"))
	case c.String("recipient") != "":
		return recipientSlot(keys, label, c.String("recipient"), now, "")
	}
	password, err := e.slotPassword(c)
	if err != nil {
		return nil, "", err
	}
	s, err = seal.NewPasswordSlot(keys, label, password, seal.TunedArgon(), now)
	return s, "", err
}

func recipientSlot(keys *seal.Keys, label, recipient string, now time.Time, told string) (*seal.Slot, string, error) {
	public, err := seal.ParseRecipient(recipient)
	if err != nil {
		return nil, "", err
	}
	s, err := seal.NewRecipientSlot(keys, label, public, now)
	return s, told, err
}

// slotPassword finds the password of a new slot; the one that opens the archive is another matter.
func (e *env) slotPassword(c *cli.Context) ([]byte, error) {
	if name := c.String("new-password-file"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("new password: %w", err)
		}
		if p := firstLine(data); len(p) > 0 {
			return p, nil
		}
		return nil, fmt.Errorf("new password: %s is empty", name)
	}
	if p := e.getenv("CAIRN_NEW_PASSWORD"); p != "" {
		return []byte(p), nil
	}
	password, given, err := e.askTwice()
	if err == nil && !given {
		err = hint(errors.New("there is no terminal to ask for the new password"), "use --new-password-file, --new-key-file, --new-identity or --recipient")
	}
	return password, err
}

func (e *env) runKeyRemove(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("key remove: name one slot, got %d arguments", c.NArg())
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		if !a.Keys().CanRead() {
			return seal.ErrNoReadKey
		}
		slots, err := a.Slots(ctx)
		if err != nil {
			return err
		}
		var match []*seal.Slot
		for _, s := range slots {
			if strings.HasPrefix(s.ID.String(), strings.ToLower(c.Args().First())) {
				match = append(match, s)
			}
		}
		if len(match) != 1 {
			return hint(fmt.Errorf("%d slots begin with %q", len(match), c.Args().First()), "`cairn key list` shows them")
		}
		if err := a.RemoveSlot(ctx, match[0].ID); err != nil {
			return err
		}
		if e.json {
			return e.printJSON(map[string]any{"type": "key_removed", "id": match[0].ID.String()})
		}
		e.print("removed %s slot %s", match[0].Kind, match[0].ID.String()[:8])
		return nil
	})
}

func (e *env) runKeyPasswd(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		slots, err := a.Slots(ctx)
		if err != nil {
			return err
		}
		for _, old := range slots {
			if old.ID != a.Slot() {
				continue
			}
			if old.Kind != seal.PasswordSlot {
				return hint(fmt.Errorf("the archive was opened by a %s, not by a password", old.Kind), "`cairn key add` adds a password, `cairn key remove` removes a slot")
			}
			if c.String("label") == "" {
				if err := c.Set("label", old.Label); err != nil {
					return err
				}
			}
			if err := e.addSlot(ctx, c, a, a.Keys()); err != nil {
				return err
			}
			return a.RemoveSlot(ctx, old.ID)
		}
		return errors.New("the slot that opened the archive is gone")
	})
}

func (e *env) runKeyExport(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	return e.withArchive(c, func(_ context.Context, a *archive.Archive) error {
		text, err := a.Keys().Recovery()
		if err != nil {
			return err
		}
		if e.json {
			return e.printJSON(map[string]any{"type": "recovery", "text": text})
		}
		e.print("%s", text)
		e.say("Whoever has this text can read the whole archive. Keep it on paper, not beside the archive.")
		return nil
	})
}

const maxRecoveryText = 64 << 10

func (e *env) runKeyRecover(c *cli.Context) error {
	if c.NArg() > 1 {
		return usage("key recover: one FILE at most, got %d arguments", c.NArg())
	}
	keys, err := e.recoveryKeys(c.Args().First())
	if err != nil {
		return err
	}
	p, err := e.where(c)
	if err != nil {
		return err
	}
	members, err := e.openMembers(c, p, p.members)
	if err != nil {
		return err
	}
	a, err := archive.OpenWithKeys(c.Context, members, keys, e.options(c, nil))
	if err != nil {
		return err
	}
	defer a.Close()
	return e.addSlot(c.Context, c, a, keys)
}
