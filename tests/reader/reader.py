#!/usr/bin/python3
"""An independent reader of Cairn archives, written from docs/format.md alone.

    reader.py --member DIR [DIR …] (--key-file F | --password P | --recovery TEXT) [--no-index] list
    reader.py … restore SNAPSHOT TARGET [--path P]       SNAPSHOT: an id, a unique prefix of one, or `latest`
    reader.py … check                                    every shard of every pack, bit by bit

It shares no line with the Go program. It shows that the format's description is complete, and it is the
way out if the program is ever lost: Debian's python3-cryptography, python3-cbor2, python3-zstandard and
python3-argon2 are all it needs. It holds the whole index in memory and uses one core.

`--no-index` leaves `index/` alone and reads the directories at the end of the shards instead. What was
written with a writer key is sealed with HPKE only, which these libraries do not offer: it is said so.
The files beside this one follow the sections (§) of docs/format.md: conventions, members (§1, §2), keys (§3),
packs (§5, §6), parity (§5), archive (§4, §7 to §9); restore writes the files.

Exit: 0 done · 1 failed · 2 usage · 3 done, but something could not be read or restored · 4 damage · 6 wrong key
"""
import argparse
import os
import sys
import time

sys.dont_write_bytecode = True   # leave the checkout as it is

from archive import DIRECTORY, Archive, Snapshot                                       # noqa: E402
from conventions import Damage, NeedsHPKE, Refused, WrongKey, need, shown, warn            # noqa: E402
from keys import Keys, find_root_key                                                   # noqa: E402
from members import open_members, pack_ids                                             # noqa: E402
from packs import Pack                                                                 # noqa: E402
from restore import Restore                                                            # noqa: E402


def command_list(archive, _args):
    status = 0
    for name, s in archive.snapshots():
        if isinstance(s, Exception):
            status = 4 if isinstance(s, Damage) else max(status, 3)
            print(f"{name}  {s}")
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(s.start[0]))
        notes = [] if s.complete else [f"incomplete ({s.mark})"]
        notes += ["checkpoint"] * bool(s.checkpoint) + ["partial"] * bool(s.partial) + [f"{len(s.unread)} not read"] * bool(s.unread)
        print("  ".join([name, when, s.host, s.series, " ".join(map(shown, s.paths)), *s.tags, *notes]))
    return status


def select(archive, text):
    """A snapshot by id, by unique prefix, or the latest that was validated."""
    found = archive.snapshots()
    if text == "latest":
        good = [s for _, s in found if isinstance(s, Snapshot) and s.complete]
        if not good:
            raise Refused("there is no readable, validated snapshot")
        return good[-1]
    fitting = [s for name, s in found if name.startswith(text)]
    if len(fitting) != 1:
        raise Refused(f"{len(fitting) or 'no'} snapshots have an id that begins with {text}")
    if isinstance(fitting[0], Exception):
        raise fitting[0]
    return fitting[0]


def command_restore(archive, args):
    snapshot = select(archive, args.snapshot)
    archive.read_directories() if args.no_index else archive.read_index()
    ids, depth, node = snapshot.content, snapshot.depth, None
    for name in filter(None, os.fsencode(args.path).split(b"/")):
        need(node is None or node.type == DIRECTORY, f"{shown(node.name) if node else ''} is not a directory")
        node = next((n for n in archive.nodes(ids, depth) if n.name == name), None)
        if node is None:
            raise Refused(f"{args.path}: {shown(name)} is not in the snapshot")
        ids, depth = node.content, node.depth
    restore = Restore(archive, args.target)
    if node and node.type != DIRECTORY:
        restore.attempt(restore.top, [node.name], node)
    else:
        restore.tree(ids, depth, node)
    restore.finish()
    return 3 if restore.problems else 0


def command_check(archive, _args):
    problems = shards = 0
    for folder in ("index", "binaries"):
        for pack_id in pack_ids(archive.members, folder):
            try:
                pack = Pack(archive.members, archive.keys, folder, pack_id)
                shards += sum(map(len, pack.files.values()))
                found = list(pack.check())
                for c in range(pack.header.k):
                    pack.directory(archive.keys, c, pack.column(c))
            except Damage as e:
                found = [str(e)]
            problems += len(found)
            for text in found:
                print(text)
    print(f"{shards} shards read, {problems} problems")
    return 4 if problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member", nargs="+", action="extend", required=True, metavar="DIR")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--key-file", metavar="F")
    key.add_argument("--password", metavar="P")
    key.add_argument("--recovery", metavar="TEXT")
    parser.add_argument("--no-index", action="store_true", help="use the directories at the end of the shards")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list").set_defaults(run=command_list)
    commands.add_parser("check").set_defaults(run=command_check)
    restore = commands.add_parser("restore")
    restore.add_argument("snapshot")
    restore.add_argument("target")
    restore.add_argument("--path", default="/", metavar="P")
    restore.set_defaults(run=command_restore)
    args = parser.parse_args()
    try:
        members, archive = open_members(args.member)
        keys = Keys(archive, find_root_key(members, archive, args))
        return args.run(Archive(members, archive, keys), args)
    except (Damage, Refused, NeedsHPKE, WrongKey, OSError) as e:
        warn(str(e))
        return 4 if isinstance(e, Damage) else 6 if isinstance(e, WrongKey) else 1


if __name__ == "__main__":
    sys.exit(main())
