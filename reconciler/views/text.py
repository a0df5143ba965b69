"""The terminal views, in one place: see terminal_plan.py, terminal_outcome.py and terminal_status.py."""

from reconciler.views.events import Event
from reconciler.views.terminal_outcome import outcome_headline, outcome_text, progress_line
from reconciler.views.terminal_plan import headline, plan_text
from reconciler.views.terminal_status import status_text

__all__ = [
    "Event",
    "headline",
    "outcome_headline",
    "outcome_text",
    "plan_text",
    "progress_line",
    "status_text",
]
