"""Expected texts in files, compared byte for byte; XENREC_ACCEPT=1 writes them, and the diff is reviewed."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "expected"


def expect(name: str, text: str) -> None:
    """The text is what the file of that name holds. A missing file fails, for nobody has looked at it yet."""
    path = FOLDER / name
    data = text.encode()
    if os.environ.get("XENREC_ACCEPT") == "1":
        path.write_bytes(data)
        return
    assert path.exists(), f"{path} is missing: look at the text, then run with XENREC_ACCEPT=1\n{text}"
    assert data.decode() == path.read_bytes().decode(), f"differs from {path}; XENREC_ACCEPT=1 accepts the new text"
