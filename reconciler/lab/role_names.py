"""The names of XAPI's roles, and of accounts that may have one."""

from __future__ import annotations

import re

ROLES = ("read-only", "vm-operator", "vm-admin", "vm-power-admin", "pool-operator", "pool-admin")
"""Each includes those before it."""
ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""Names that can also be part of a file's."""
