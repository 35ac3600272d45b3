"""The data set card: `README.md` beside the shards, with the head that Hugging Face `datasets` reads: a configuration for each kind of sample there is.

`datasets` gives every sample the same columns and takes them from the first five samples; interleaved documents have as many pictures as they have. So the
card declares all columns that occur, and an absent picture is null.
"""

from schemas.manifest import FLOWS, Flow, Manifest

_BODY = """
# Interleaved documents and pairs by m3w

{documents:,} web pages with {images:,} pictures in place and {words:,} words, and {pairs:,} pairs, in {shards} webdataset tars ({gigabytes:.2f} GB).

| | in the crawl | kept | dropped |
|---|---:|---:|---:|
{flows}

Languages: {languages}.

A sample is `KEY.json` and its pictures `KEY.000.jpg`, `KEY.001.png`...; the JSON's `nodes` hold text and pictures in the order of the page,
`text` the same in Flamingo's markup. `NAME.index.jsonl` beside each tar says at which byte each sample lies.
A pair is `KEY.jpg` (png, webp, mp4, webm), `KEY.txt` and `KEY.json`; the JSON says where the text stood (`caption_source`).

```python
import webdataset as wds
for sample in wds.WebDataset("interleaved/00000.tar", shardshuffle=False).decode("pil"):
    print(sample["__key__"], sample["json"]["url"], sample["000.jpg"] if "000.jpg" in sample else "")
```

## Where it comes from

{inputs}

The pages belong to their publishers; this card grants no rights in them. `url` and `licence` (where a page states one) stand in each sample.

## Configuration

```toml
{config}```
"""


def data_set_card(manifest: Manifest) -> str:
    """The card's text."""
    languages = sorted(manifest.languages.items(), key=lambda item: (-item[1], item[0]))
    body = _BODY.format(
        documents=manifest.pages.kept,
        images=manifest.images.kept,
        pairs=manifest.pairs.kept,
        words=manifest.words,
        shards=len(manifest.shards),
        gigabytes=sum(shard.bytes for shard in manifest.shards) / 1e9,
        flows="\n".join(_row(name, getattr(manifest, name)) for name in FLOWS),
        languages=", ".join(f"{language} {number:,}" for language, number in languages) or "none",
        inputs="\n".join(f"- {one.name} ({one.bytes:,} bytes)" for one in manifest.inputs),
        config=manifest.config,
    )
    return _head(manifest) + body


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
