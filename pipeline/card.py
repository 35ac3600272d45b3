"""The data set card: `README.md` beside the shards, with the head that Hugging Face `datasets` reads.

`datasets` gives every sample the same columns and takes them from the first five samples; interleaved documents have as many pictures as they have. So the
card declares all columns that occur, and an absent picture is null.
"""

from schemas.manifest import Flow, Manifest

_HEAD = """---
configs:
- config_name: interleaved
  data_files: interleaved/*.tar
dataset_info:
- config_name: interleaved
  features:
{features}
---
"""

_BODY = """
# Interleaved documents by m3w

{documents:,} web pages with {images:,} pictures in place and {words:,} words, in {shards} webdataset tars ({gigabytes:.2f} GB).

| | in the crawl | kept | dropped |
|---|---:|---:|---:|
{flows}

Languages: {languages}.

A sample is `KEY.json` and its pictures `KEY.000.jpg`, `KEY.001.png`...; the JSON's `nodes` hold text and pictures in the order of the page,
`text` the same in Flamingo's markup. `NAME.index.jsonl` beside each tar says at which byte each sample lies.

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
    flows = [
        ("pages", manifest.pages),
        ("paragraphs", manifest.paragraphs),
        ("images", manifest.images),
        ("videos", manifest.videos),
    ]
    languages = sorted(manifest.languages.items(), key=lambda item: (-item[1], item[0]))
    body = _BODY.format(
        documents=manifest.pages.kept,
        images=manifest.images.kept,
        words=manifest.words,
        shards=len(manifest.shards),
        gigabytes=sum(shard.bytes for shard in manifest.shards) / 1e9,
        flows="\n".join(_row(name, flow) for name, flow in flows),
        languages=", ".join(f"{language} {number:,}" for language, number in languages) or "none",
        inputs="\n".join(f"- {one.name} ({one.bytes:,} bytes)" for one in manifest.inputs),
        config=manifest.config,
    )
    features = "\n".join(_features(manifest.fields))
    return _HEAD.format(features=features) + body


def _row(name: str, flow: Flow) -> str:
    return f"| {name} | {flow.entered:,} | {flow.kept:,} | {flow.lost:,} |"


def _features(fields: list[str]) -> list[str]:
    lines = ["  - name: json", "    dtype: json"]
    for field in fields:
        lines += [f"  - name: {field}", "    dtype: image"]
    for name in ("__key__", "__url__"):
        lines += [f"  - name: {name}", "    dtype: string"]
    return lines
