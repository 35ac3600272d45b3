"""What happens to one page, one image, one pair.

>>> from pipeline import draft
>>> draft(b"<p>A heron stands in the water.", "https://example.com/").text
'A heron stands in the water.'
"""

from pipeline.extract.page import draft
from schemas.document import Draft
from schemas.drops import Drop

__all__ = ["Draft", "Drop", "draft"]
