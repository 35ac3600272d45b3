"""Blocks to text nodes: light Markdown without inline markup, so that what the page says is found in it word for word.

Headings, list items, quotes, code and tables keep their marks. A picture inside a paragraph that is kept splits its text in two.
"""

from pipeline.extract.blocks import CELL, LINE, MEDIUM, ROW, Block
from pipeline.extract.mentions import Mention
from schemas.document import paragraph


def node_texts(block: Block, kept: list[Mention]) -> list[str]:
    """The texts of a block, one more than there are kept media in it; texts may be empty."""
    if not kept or block.raw.count(MEDIUM) != len(block.media):
        # A page that has the mark itself: its media follow their paragraph.
        return [_node_text(block, block.raw), *("" for _ in kept)]
    parts = block.raw.split(MEDIUM)
    raws = [parts[0]]
    for mention, part in zip(block.media, parts[1:], strict=True):
        if mention in kept:
            raws.append(part)
        else:
            raws[-1] += part
    return [_node_text(block, raw) for raw in raws]


def _node_text(block: Block, raw: str) -> str:
    if block.form == "pre":
        return _fenced(raw)
    text = _table(raw) if block.form == "table" else _folded(raw)
    if not text:
        return ""
    text = "#" * block.level + " " + text.replace("\n", " ") if block.level else block.marker + text
    if block.quoted:
        text = "> " + text.replace("\n", "\n> ")
    return text


def _folded(raw: str) -> str:
    if LINE not in raw:
        return " ".join(raw.split())
    return "\n".join(line for part in raw.split(LINE) if (line := " ".join(part.split())))


def _table(raw: str) -> str:
    """Rows of `| a | b |`; what stands outside the cells (a caption) is a line of its own."""
    lines = []
    for row in raw.split(ROW):
        before, *cells = [" ".join(cell.split()) for cell in row.split(CELL)]
        if before:
            lines.append(before)
        if any(cells):
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _fenced(raw: str) -> str:
    code = paragraph("." + raw.replace(LINE, "\n"))[1:].strip("\n").rstrip()
    if not code.strip():
        return ""
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}\n{code}\n{fence}"
