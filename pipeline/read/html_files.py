"""Pages out of HTML files: each file is a page.

In: a batch of files. Out: a `Page` or a `Drop` for each. Its URL is what stands before its name: a base URL, or `file:///`, so that relative links within
the folder lead to its other files.
"""

from collections.abc import Iterator
from urllib.parse import quote

from pipeline.read.files import opened
from pipeline.read.inputs import HtmlFile
from pipeline.read.page import Page
from schemas.document import Provenance
from schemas.drops import Drop, DropReason


def html_pages(
    files: list[HtmlFile], *, base_url: str = "", max_page_bytes: int, ranges: bool = True
) -> Iterator[Page | Drop]:
    """The pages of a batch, in its order."""
    base = f"{base_url.rstrip('/')}/" if base_url else "file:///"
    for file in files:
        with opened(file.url, ranges=ranges) as handle:
            html = handle.file.read(max_page_bytes + 1)
            while len(html) <= max_page_bytes and (more := handle.file.read(max_page_bytes + 1 - len(html))):
                html += more
        url = base + quote(file.name)
        if len(html) > max_page_bytes:
            yield Drop(
                kind="page",
                reason=DropReason.BODY_TOO_LARGE,
                url=url,
                threshold=max_page_bytes,
                detail=file.name,
                source=file.name,
            )
            continue
        yield Page(
            url=url,
            html=html,
            charset=None,
            content_type="text/html",
            status=200,
            date="",
            robots=[],
            provenance=Provenance(source=file.name, offset=0, length=len(html)),
        )
