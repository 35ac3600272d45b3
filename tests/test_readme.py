"""What the README shows of Python runs as it stands there, but for the names of what it reads."""

import re
from pathlib import Path
from typing import Any

from tests.streams import document, pair, write
from tests.tiny_models import tokenizer

README = Path(__file__).parent.parent / "README.md"


def block(word: str) -> str:
    """The one block of Python in which a word stands."""
    (found,) = [code for code in re.findall(r"```python\n(.+?)```", README.read_text(), re.DOTALL) if word in code]
    return str(found)


def test_the_stream_alone(tmp_path: Path) -> None:
    """The example of batches for another model, up to its first step."""
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    for name, samples in (
        ("interleaved", [document(number, 2) for number in range(8)]),
        ("image_text", [pair(number) for number in range(16)]),
    ):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "00000", samples)
    code = block("in Stream(")
    for name, own in (("HuggingFaceTB/SmolLM2-135M", tmp_path / "tokenizer"), ("run/shards/", f"{tmp_path}/")):
        assert name in code
        code = code.replace(name, str(own))

    names: dict[str, Any] = {}
    exec(f"{code.rstrip()}\n    break", names)  # noqa: S102
    pages, pairs = names["batches"]
    assert ("pages", 8) == (pages.set, len(pages.ids_BL))
    assert ("pairs", 16) == (pairs.set, len(pairs.keys))
    assert 16 == sum(len(group) for group in pairs.pixels)
