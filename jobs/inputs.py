"""What a command is to read, found before its output folder is touched."""

import msgspec

from pipeline.runfolder import RunFolder

DIGESTS = "digests.json"  # of local files, so that a second run need not read them all


class Digests:
    """The digests of local files by (path, size, mtime in ns): those that a run knows, and those that are added to `known`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._before = _read(folder)
        self.known = dict(self._before)

    def remember(self) -> None:
        """Writes the digests into the run's folder, if there are new ones."""
        if self.known != self._before:
            rows = [[*key, sha256] for key, sha256 in sorted(self.known.items())]
            self._folder.store.write(DIGESTS, msgspec.json.encode(rows))


def _read(folder: RunFolder) -> dict[tuple[str, int, int], str]:
    if not folder.is_run() or not folder.store.exists(DIGESTS):
        return {}
    rows = msgspec.json.decode(folder.store.read(DIGESTS), type=list[tuple[str, int, int, str]])
    return {(path, size, mtime_ns): sha256 for path, size, mtime_ns, sha256 in rows}
