"""Text filters: language identification and the rules of Gopher, OBELICS, C4 and FineWeb, all of them pure functions of one page.

Read `apply` first (the order), then `rule` (what a rule is), `passage` (what rules measure), and a source (`gopher`, ...).
"""

from pipeline.filters.apply import Filtered, filter_draft
from pipeline.filters.config import FilterConfig

__all__ = ["FilterConfig", "Filtered", "filter_draft"]
