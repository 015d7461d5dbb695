"""Restoring nodes (§8) below a directory, and only there."""
import os
import resource

from archive import DIRECTORY, FILE, SYMLINK
from conventions import DATA, MIB, Damage, NeedsHPKE, Refused, need, shown, warn


class Restore:
    """Writes nodes below one directory, which must be new or empty. Everything is made relative to open
    directories that this run made itself, so no name or symlink leads outside, and no path is too long.
    Directories get their metadata last: writing into them would change their times, or be forbidden."""

    def __init__(self, archive, target):
        self.archive, self.problems, self.unset = archive, 0, {}
        self.first = {}   # link pair → (path, type) of its first node
        os.makedirs(target, exist_ok=True)
        self.top = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        if os.listdir(self.top):
            raise Refused(f"{target} is not empty")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))   # one open directory for each level

    def problem(self, path, text):
        self.problems += 1
        warn(f"/{shown(b'/'.join(path))}: {text}")

    def tree(self, ids, depth, node=None):
        """Everything in a directory; `node` is that directory's own, if it has one. A stack instead of
        recursion: 4096 levels are allowed."""
        stack = [(self.top, [], node, self.archive.nodes(ids, depth))]
        while stack:
            folder, path, own, nodes = stack[-1]
            try:
                child = next(nodes, None)
            except (Damage, NeedsHPKE) as e:
                self.problem(path, f"directory is incomplete: {e}")
                child = None
            if child is None:
                stack.pop()
                if own:
                    self.metadata(folder, None, own, path)
                if stack:
                    os.close(folder)
            elif child.type == DIRECTORY:
                inner = self.attempt(folder, path + [child.name], child)
                if inner is not None:
                    need(len(stack) < 4096 and sum(map(len, path)) < MIB, "path too deep")
                    stack.append((inner, path + [child.name], child,
                                  self.archive.nodes(child.content, child.depth)))
            else:
                self.attempt(folder, path + [child.name], child)

    def attempt(self, folder, path, node):
        """Makes one node; what goes wrong with it is told and does not stop the others."""
        try:
            if node.error:
                self.problem(path, f"was not read completely by the backup: {node.error}")
                if node.type == FILE:
                    return None
            if node.type == DIRECTORY:
                os.mkdir(node.name, 0o700, dir_fd=folder)
                return os.open(node.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            if node.link in self.first:
                self.hard_link(folder, node)
                return None
            if node.type == FILE:
                self.file(folder, path, node)
            else:
                if node.type == SYMLINK:
                    os.symlink(node.target, node.name, dir_fd=folder)
                else:
                    os.mknod(node.name, node.TYPES[node.type] | 0o600, node.device, dir_fd=folder)
                self.metadata(folder, node.name, node, path)
            if node.link:
                self.first[node.link] = (path, node.type)
        except (Damage, NeedsHPKE) as e:
            self.problem(path, str(e))
        except OSError as e:
            self.problem(path, e.strerror)
        return None

    def file(self, folder, path, node):
        """Content first, in the ranges between the holes; a file that did not come out whole is removed."""
        fd = os.open(node.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        try:
            os.ftruncate(fd, node.size)
            ranges = node.data_ranges()
            offset = room = 0
            for blob in self.archive.content(node.content, node.depth):
                plain = memoryview(self.archive.load(DATA, blob))
                while plain:
                    if room == 0:
                        offset, room = next(ranges, (0, 0))
                        need(room, "content is longer than the file")
                    written = os.pwrite(fd, plain[:room], offset)
                    plain, offset, room = plain[written:], offset + written, room - written
            need(room == 0 and next(ranges, None) is None, "content is shorter than the file")
            self.metadata(fd, None, node, path)
        except BaseException:
            os.unlink(node.name, dir_fd=folder)
            raise
        finally:
            os.close(fd)

    def hard_link(self, folder, node):
        """A link to the node made before; its folder is opened step by step (its path may exceed PATH_MAX)."""
        path, kind = self.first[node.link]
        need(kind == node.type, "hard links of different types")
        fd = os.dup(self.top)
        for name in path[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        try:
            os.link(path[-1], node.name, src_dir_fd=fd, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(fd)

    def metadata(self, fd, name, node, path):
        """Of the open file `fd`, or of `name` in the directory `fd`. The order matters: chown clears setuid
        and capabilities, an ACL or the mode may forbid later writes, and only utime leaves the times alone."""
        at = {} if name is None else {"dir_fd": fd, "follow_symlinks": False}
        thing = fd if name is None else name
        self.set("owner", path, lambda: os.chown(thing, node.uid, node.gid, **at))
        place = fd if name is None else b"/proc/self/fd/%d/%s" % (fd, name)
        nofollow = {} if name is None else {"follow_symlinks": False}
        for attribute, value in sorted(node.xattrs, key=lambda a: (a[0].startswith(b"system."), a[0])):
            self.set("xattr " + shown(attribute), path, lambda: os.setxattr(place, attribute, value, **nofollow))
        if node.type != SYMLINK:
            self.set("mode", path, lambda: os.chmod(thing, node.mode, **({} if name is None else {"dir_fd": fd})))
        self.set("times", path, lambda: os.utime(thing, ns=(node.atime, node.mtime), **at))

    def set(self, what, path, action):
        """Metadata that cannot be set is a warning: an ordinary user may not give files away."""
        try:
            action()
        except (OSError, OverflowError) as e:
            self.unset[what] = self.unset.get(what, 0) + 1
            if self.unset[what] <= 3:
                warn(f"/{shown(b'/'.join(path))}: {what} not set: {getattr(e, 'strerror', e)}")

    def finish(self):
        for what, count in self.unset.items():
            warn(f"{what} could not be set {count} times")
        os.close(self.top)
