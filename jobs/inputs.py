"""What a command is to read, found before its output folder is touched."""

from collections.abc import Sequence

import msgspec

from pipeline.read.inputs import Input, find_inputs
from pipeline.runfolder import RunFolder

DIGESTS = "digests.json"  # of local files, so that a second run need not read them all


class Found:
    """The inputs of a command, with the digests of local files that are known now."""

    def __init__(self, arguments: Sequence[str], root: str, folder: RunFolder) -> None:
        self._folder = folder
        self._known = _read(folder)
        digests = dict(self._known)
        self.inputs: list[Input] = find_inputs(arguments, root=root, digests=digests)
        self._digests = digests

    def remember(self) -> None:
        """Writes the digests into the run's folder, if there are new ones."""
        if self._digests != self._known:
            rows = [[*key, sha256] for key, sha256 in sorted(self._digests.items())]
            self._folder.store.write(DIGESTS, msgspec.json.encode(rows))


def _read(folder: RunFolder) -> dict[tuple[str, int, int], str]:
    if not folder.is_run() or not folder.store.exists(DIGESTS):
        return {}
    rows = msgspec.json.decode(folder.store.read(DIGESTS), type=list[tuple[str, int, int, str]])
    return {(path, size, mtime_ns): sha256 for path, size, mtime_ns, sha256 in rows}
