"""Members: their cards (§2) and the objects they hold (§1)."""
import contextlib
import json
import os
import re
from collections import namedtuple

from conventions import KIB, Damage, Refused, need, reading, warn

# card is None where it is damaged; numbers are the member's places in the layouts, by epoch
Member = namedtuple("Member", "folder card numbers")


def parse_card(data):
    need(len(data) <= 64 * KIB, "larger than 64 KiB")
    card = json.loads(data.decode("utf-8"))
    if card["cairn"] != 1:
        raise Refused(f"archive format {card['cairn']!r} is not known to this reader")
    if set(card["features"]) - {"layouts", "retention"}:
        raise Refused(f"the archive uses features that this reader does not know: {card['features']}")
    need(re.fullmatch("[0-9a-f]{32}", card["archive"]), "impossible archive id")
    numbers = {}
    for layout in layouts(card):
        if layout["placement"] != "rotate":
            raise Refused(f"placement {layout['placement']!r} is not known to this reader")
        k, m = layout["data"], layout["parity"]
        need(k >= 1 and m >= 0 and k + m <= 32 and len(layout["members"]) == k + m, "impossible layout")
        if card["member"] in layout["members"]:
            numbers[layout["epoch"]] = layout["members"].index(card["member"])
    need(numbers, "the card of a member that is in no layout")
    return card, numbers


def layouts(card):
    """The layout of new packs, and those of packs made before."""
    return [card["layout"]] + card.get("former", [])


def card_text(card):
    """What the card's mac is about."""
    layout, chunker = card["layout"], card["chunker"]
    lines = ["cairn/v1/card", card["archive"], card["member"], layout["epoch"], layout["data"], layout["parity"],
             layout["placement"], ",".join(layout["members"]), chunker["min"], chunker["max"], chunker["bits"],
             ",".join(card["features"]), card["created"]]
    if card.get("revision", 0) > 0:
        lines.append(card["revision"])
    for layout in card.get("former", []):
        lines += [layout["epoch"], layout["data"], layout["parity"], layout["placement"], ",".join(layout["members"])]
    if "retention" in card:
        lines += ["retention", card["retention"]["mode"], card["retention"]["seconds"]]
    return "".join(f"{line}\n" for line in lines).encode()


def open_members(folders):
    """Members in any order; those that are missing are named and left out."""
    members, seen, refusal = [], set(), None
    for folder in folders:
        if not os.path.isdir(folder):
            warn(f"member {folder} is missing")
            continue
        subs = [os.path.join(folder, f"m{i:02d}") for i in range(32)]
        several = not os.path.exists(os.path.join(folder, "cairn.json")) and any(map(os.path.isdir, subs))
        for place in filter(os.path.isdir, subs) if several else [folder]:
            try:
                with reading(f"card of {place}"), open(os.path.join(place, "cairn.json"), "rb") as f:
                    card, numbers = parse_card(f.read(64 * KIB + 1))
            except (Damage, Refused, OSError) as e:
                warn(f"{e}; its objects are used all the same")   # they prove themselves
                card, numbers = None, {}
                refusal = e if isinstance(e, Refused) else refusal
            if card and card["member"] in seen:
                raise Refused(f"{place} is the same member as one named before")
            seen.add(card and card["member"])
            members.append(Member(place, card, numbers))
    archives = {m.card["archive"] for m in members if m.card}
    if len(archives) > 1:
        raise Refused("the members belong to different archives: "
                      + ", ".join(f"{m.folder} to {m.card['archive']}" for m in members if m.card))
    if not archives:
        raise refusal or Refused("no member with a readable card")
    newest = max((m.card for m in members if m.card), key=lambda card: card.get("revision", 0))
    layout = newest["layout"]
    if len(members) < layout["data"]:
        warn(f"only {len(members)} of the archive's {len(layout['members'])} members are here, "
             f"{layout['data']} are needed to read everything")
    return members, bytes.fromhex(archives.pop())


def names_of(members, folder, pattern):
    """(name, member) of everything in a folder of the members whose name fits, sorted by name."""
    found = []
    for member in members:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += [(name, member) for name in os.listdir(os.path.join(member.folder, folder))
                      if re.fullmatch(pattern, name)]
    return sorted(found, key=lambda nm: nm[0])


def read_object(path, limit):
    try:
        with open(path, "rb") as f:
            need(os.fstat(f.fileno()).st_size <= limit, f"larger than {limit} bytes")
            return f.read(limit + 1)
    except OSError as e:
        raise Damage(e.strerror) from None


def pack_ids(members, folder):
    """Ids of all packs below `binaries` or `index`, from the names alone."""
    found = set()
    for member in members:
        for _, _, files in os.walk(os.path.join(member.folder, folder)):
            found.update(bytes.fromhex(name[:64]) for name in files if re.fullmatch(r"[0-9a-f]{64}\.bin", name))
    return sorted(found)
