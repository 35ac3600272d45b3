"""The data set card: `README.md` beside the shards, with the head that Hugging Face `datasets` reads: a configuration for each kind of sample there is.

`datasets` gives every sample the same columns and takes them from the first five samples; interleaved documents have as many pictures as they have. So the
card declares all columns that occur, and an absent picture is null.
"""

from collections.abc import Iterator

from schemas.manifest import FLOWS, Flow, Manifest

_BODY = """
# {title} by m3w

{contents}, in {shards} webdataset tars ({megabytes:,.1f} MB).

| | came in | kept | dropped |
|---|---:|---:|---:|
{flows}

{forms}
`NAME.index.jsonl` beside each tar says at which byte each sample lies.
{example}
## Where it comes from

{inputs}

{rights}

## Configuration

```toml
{config}```
"""


_DOCUMENTS = """Languages: {languages}.

A document is `KEY.json` and its pictures `KEY.000.jpg`, `KEY.001.png`...; the JSON's `nodes` hold text and pictures in the order of the page,
`text` the same in Flamingo's markup."""
_PAIRS = """A pair is `KEY.jpg` (png, webp, mp4, webm), `KEY.txt` and `KEY.json`; the JSON says where the text stood (`caption_source`)."""
_EXAMPLE = """
```python
import webdataset as wds
for sample in wds.WebDataset("{path}", shardshuffle=False).decode("pil"):
    print(sample["__key__"], sample["json"]["url"], {shown})
```
"""
_SHOWN = {"interleaved": 'sample.get("000.jpg")', "image_text": 'sample["txt"]', "video_text": 'sample["txt"]'}
_OF_PAGES = """The pages belong to their publishers; this card grants no rights in them. `url` and `licence` (where a page states one) stand in each sample."""
_OF_TABLES = """Media and texts belong to their owners; this card grants no rights in them. `url` and the other columns of the table stand in each sample."""


def data_set_card(manifest: Manifest) -> str:
    """The card's text: of documents, of pairs, or of both, as the run has them."""
    titles, contents, forms = zip(*_parts(manifest), strict=True)
    body = _BODY.format(
        title=" and ".join(titles).capitalize(),
        contents=", and ".join(contents),
        forms="\n".join(forms),
        example=_example(manifest),
        rights=_OF_PAGES if manifest.pages.entered else _OF_TABLES,
        shards=len(manifest.shards),
        megabytes=sum(shard.bytes for shard in manifest.shards) / 1e6,
        flows="\n".join(_row(name, flow) for name in FLOWS if (flow := getattr(manifest, name)).entered),
        inputs="\n".join(f"- {one.name} ({one.bytes:,} bytes)" for one in manifest.inputs),
        config=manifest.config,
    )
    return _head(manifest) + body


def _parts(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """(title, contents, form of a sample) of documents and of pairs, if there could be any."""
    if manifest.pages.entered:
        languages = sorted(manifest.languages.items(), key=lambda item: (-item[1], item[0]))
        told = ", ".join(f"{language} {number:,}" for language, number in languages) or "none"
        media = ((manifest.images.kept, "pictures"), (manifest.videos.kept, "videos"))
        placed = " and ".join(f"{number:,} {name}" for number, name in media if number) or "no pictures"
        contents = f"{manifest.pages.kept:,} web pages with {placed} in place and {manifest.words:,} words"
        yield "interleaved documents", contents, _DOCUMENTS.format(languages=told)
    if manifest.pairs.entered or not manifest.pages.entered:
        yield "pairs", f"{manifest.pairs.kept:,} pairs", _PAIRS


def _example(manifest: Manifest) -> str:
    """How to read the first tar there is, documents before pairs."""
    tars = sorted(manifest.shards, key=lambda shard: (list(_SHOWN).index(shard.kind), shard.path))
    return _EXAMPLE.format(path=tars[0].path, shown=_SHOWN[tars[0].kind]) if tars else ""


def _row(name: str, flow: Flow) -> str:
    return f"| {name} | {flow.entered:,} | {flow.kept:,} | {flow.lost:,} |"


_PAIR_FIELDS = {"image_text": ["jpg", "png", "webp", "txt"], "video_text": ["mp4", "webm", "txt"]}
_DTYPES = {"jpg": "image", "png": "image", "webp": "image", "txt": "string"}  # of others the bytes


def _head(manifest: Manifest) -> str:
    kinds = sorted({shard.kind for shard in manifest.shards})
    fields = {"interleaved": manifest.fields, **_PAIR_FIELDS}
    configs = [f"- config_name: {kind}\n  data_files: {kind}/*.tar" for kind in kinds]
    features = [line for kind in kinds for line in [f"- config_name: {kind}", "  features:", *_features(fields[kind])]]
    return "\n".join(["---", "configs:", *configs, "dataset_info:", *features, "---", ""])


def _features(fields: list[str]) -> list[str]:
    lines = ["  - name: json", "    dtype: json"]
    for field in fields:
        lines += [f"  - name: {field}", f"    dtype: {_DTYPES.get(field.rpartition('.')[2], 'binary')}"]
    for name in ("__key__", "__url__"):
        lines += [f"  - name: {name}", "    dtype: string"]
    return lines
