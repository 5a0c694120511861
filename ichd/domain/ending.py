"""How a process of ours ends, for whoever started it and may start another."""

from enum import IntEnum


class Ending(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    #: The command line, settings or input must be mended by a person.
    MEND_NEEDED = 2
    #: Nothing is wrong, another is wanted in its place: EX_TEMPFAIL of sysexits.h. Neither Python nor a shell ends with
    #: it by itself.
    RECYCLED = 75
