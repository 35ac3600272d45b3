"""Quality of `pipeline.draft` on the two annotated sets beside trafilatura, by the scorers that lie beside the sets.

python -m tests.bench.bench_quality
"""

import contextlib
import io
import json
import sys
from unittest import mock

from tests.bench.annotated import DATA, scorer

COLUMNS = {
    "pages": ("text_precision", "text_recall", "text_f1", "hero_recall", "junk", "images_per_page", "worst_page_s"),
    "readability": ("text_precision", "text_recall", "text_f1", "picture_precision", "picture_recall"),
}


def _scores(name: str, extractor: str) -> dict[str, float]:
    module = scorer(name)
    if name == "pages":
        extract = {"ours": module.ours, "trafilatura": module.trafilatura}[extractor]()
        scores: dict[str, float] = module.score(extract, module.pages(DATA / name / "pages.tar.xz"))
        return scores
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", ["score", "--extractor", extractor]), contextlib.redirect_stdout(printed):
        module.main()
    text = printed.getvalue()
    read: dict[str, float] = json.loads(text[text.index("{") :])
    return read


def main() -> None:
    """Prints a table a set."""
    for name, columns in COLUMNS.items():
        print(f"{name:14}" + "".join(f"{column:>18}" for column in columns))
        for extractor in ("ours", "trafilatura"):
            scores = _scores(name, extractor)
            print(f"{extractor:14}" + "".join(f"{scores[column]:18.3f}" for column in columns))
        print()


if __name__ == "__main__":
    main()
