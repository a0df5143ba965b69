"""The command `xenrec`."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

unsaid: list[OSError] = []
"""Why stdout could not be written: then a command ends with an error, whatever came of it."""


def main() -> None:
    """Run the command. Usage errors end with 64: Typer's own 2 would read as "changes pending" in a cron line."""
    from typer import Abort, TyperException  # noqa: PLC0415 - start-up time of other importers

    from reconciler.cli.app import app  # noqa: PLC0415
    from reconciler.cli.exits import Exit  # noqa: PLC0415

    try:
        code = app(standalone_mode=False)
        if code == Exit.INTERRUPTED:  # Typer's answer to Ctrl-C
            raise KeyboardInterrupt
    except TyperException as error:
        show = getattr(error, "show", None)  # only those that know their command and usage have it
        show() if show else print(f"Error: {error}", file=sys.stderr)
        sys.exit(Exit.USAGE if error.exit_code == 2 else error.exit_code)
    except (KeyboardInterrupt, Abort):
        print("interrupted; what was done is journaled, run again to go on", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.ERROR)
    finally:
        _let_go()
    sys.exit(code if isinstance(code, int) and code else Exit.ERROR if unsaid else 0)


def _let_go() -> None:
    """What stderr could not take (a closed pipe, a full disk) must not be what the command ends with: Python would try
    to write it once more at its end, and make 120 of the exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


if __name__ == "__main__":
    main()
