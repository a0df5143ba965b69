"""Bring docs/fidelity.md's table up to date: `python -m tests.lab.recordings`. New rows get no reason: write it."""

from __future__ import annotations

from tests.lab.recordings.judge import judged
from tests.lab.recordings.ledger import PAGE, renew
from tests.lab.recordings.recording import names


def main() -> None:
    """Tell every recording and write what deviates."""
    found = {name[:2]: judged(name)[0] for name in names()}
    lacking = renew({number: verdict.deviations for number, verdict in found.items()})
    calls = sum(v.calls for v in found.values())
    print(f"{len(found)} recordings, {calls} calls compared; {PAGE.name}: {lacking} rows lack a reason")


if __name__ == "__main__":
    main()
