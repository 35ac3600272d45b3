"""The error tree. A message says what was wrong, the value, and the way out; the class says whose fault it is.

    M3wError
    ├── DataError           exit 1  the data is at fault
    │   ├── SchemaError             a record does not have the form that its version promises
    │   ├── MarkupError             a rendered text is not markup of the media beside it
    │   ├── ShardError              a tar or its index is not a shard
    │   └── InputError              an input holds nothing that can be read
    ├── UsageError          exit 2  the command is at fault
    │   ├── ConfigError             an unknown key, a value of the wrong type or out of range
    │   └── OutputError             the output folder is somebody else's, or another writer is in it
    └── SurroundingsError   exit 3  disk, network, store or engine are at fault

Nothing else is raised on purpose. Bad records of a crawl are no errors: they are drops (`schemas.drops`).
"""


class M3wError(Exception):
    """Root of all errors that m3w raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class DataError(M3wError):
    """The data is at fault (exit 1)."""


class SchemaError(DataError):
    """A record does not have the form that its version promises."""


class MarkupError(DataError):
    """A rendered text is not markup of the media beside it."""


class ShardError(DataError):
    """A tar or its index is not a shard."""


class InputError(DataError):
    """An input holds nothing that can be read."""


class UsageError(M3wError):
    """The command is at fault (exit 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown key, a value of the wrong type or out of range."""


class OutputError(UsageError):
    """The output folder is somebody else's, or another writer is in it."""


class SurroundingsError(M3wError):
    """Disk, network, store or engine are at fault (exit 3)."""

    exit_code = 3
