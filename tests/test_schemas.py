"""The forms: strict decoding, versions, published schemas, counts that add up."""

import io
from pathlib import Path

import msgspec
import pytest

from schemas.document import (
    Candidate,
    Document,
    DraftMedium,
    Provenance,
    Text,
    decode_draft_nodes,
    encode_draft_nodes,
    paragraph,
)
from schemas.drops import DropReason
from schemas.errors import SchemaError
from schemas.manifest import Flow, Manifest, ShardInfo, decode_manifest, encode_manifest
from schemas.pair import ImageTextPair
from schemas.publish import FORMS, json_schema
from schemas.tables import DROPS, SELECTED, TableWriter, read_table

DOCUMENT = Document(
    key="0" * 32,
    url="http://a/",
    nodes=[Text("b")],
    text="b<EOC>",
    provenance=Provenance(source="c.warc.gz", offset=0, length=1),
)


@pytest.mark.parametrize("text", ["", " a", "a ", "a\n\nb", "a\n \nb", "a\r\nb", "a\u2028b"])
def test_a_text_node_is_one_paragraph(text: str) -> None:
    """Text that is not stripped, is empty or holds a blank line is no text node; `paragraph` makes it one."""
    with pytest.raises(SchemaError):
        Text(text)
    assert paragraph(paragraph(text)) == paragraph(text)
    assert not paragraph(text) or Text(paragraph(text))


def test_documents_are_decoded_strictly() -> None:
    """A document survives its JSON; an unknown field, another version or a malformed key is refused."""
    data = msgspec.json.encode(DOCUMENT)

    assert msgspec.json.decode(data, type=Document) == DOCUMENT
    for old, new in ((b'"url"', b'"uri"'), (b'"key":"0', b'"key":"g'), (b'"nodes":[{', b'"nodes":[{"x":1,')):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(data.replace(old, new, 1), type=Document)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data[:-1] + b',"version":2}', type=Document)


def test_draft_nodes_survive_their_table_form() -> None:
    """Text and media in order, and a malformed cell is an error of ours."""
    nodes = [
        Text("a"),
        DraftMedium(candidates=[Candidate(url="http://a/b.jpg", source="src", width=3)], alt="x"),
        Text("c"),
    ]

    assert decode_draft_nodes(encode_draft_nodes(nodes)) == nodes
    with pytest.raises(SchemaError):
        decode_draft_nodes('[{"kind":"image"}]')


def test_pairs_carry_their_kind() -> None:
    """A pair's JSON names its kind, and a caption table's other columns are plain cells."""
    pair = ImageTextPair(
        key="0" * 32,
        url="u",
        caption="c",
        caption_source="alt",
        width=1,
        height=2,
        original_width=10,
        original_height=20,
        sha256="0" * 64,
        source_sha256="1" * 64,
        columns={"license": "CC0", "score": 0.5},
    )

    assert msgspec.json.decode(msgspec.json.encode(pair), type=ImageTextPair) == pair
    assert msgspec.json.decode(msgspec.json.encode(pair))["kind"] == "image_text"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_published_schemas_are_current(form: str) -> None:
    """`m3w schema schemas/json` would change nothing."""
    assert (Path(__file__).parents[1] / "schemas" / "json" / f"{form}.schema.json").read_bytes() == json_schema(form)


def test_every_reason_is_one_word() -> None:
    """Reasons are stable names: lower case, underscores, no two alike."""
    assert all(reason.value.replace("_", "").isalnum() and reason.value == reason.name.lower() for reason in DropReason)


def test_tables_refuse_another_table() -> None:
    """A file knows its table and version; another one is refused, as is what is no Parquet."""
    file = io.BytesIO()
    writer = TableWriter(file, SELECTED)
    writer.add({"row": 1, "key": "a"})
    writer.close()

    assert read_table(file, SELECTED, "x", ["row", "key"]).to_pylist() == [{"row": 1, "key": "a"}]
    with pytest.raises(SchemaError, match="holds table selected"):
        read_table(file, DROPS, "x")
    with pytest.raises(SchemaError, match="not a Parquet file"):
        read_table(io.BytesIO(b"no"), DROPS, "x")


def manifest(kept: int) -> Manifest:
    nothing = Flow(entered=0, kept=0, dropped={})
    pages = Flow(entered=3, kept=kept, dropped={"extract": {"language": 1}, "select": {"duplicate_url": 1}})
    shard = ShardInfo(path="interleaved/00000.tar", bytes=1, samples=1, sha256="", index_sha256="")
    return Manifest(
        inputs=[],
        records={},
        pages=pages,
        paragraphs=nothing,
        images=nothing,
        videos=nothing,
        pairs=nothing,
        words=0,
        languages={},
        fields=[],
        shards=[shard],
        config="",
    )


def test_a_manifest_adds_up() -> None:
    """Pages in are pages kept and dropped, and the shards hold those that were kept."""
    manifest(1).check()
    with pytest.raises(SchemaError, match="pages do not add up: 3 in, 2 kept, 2 dropped"):
        manifest(2).check()


def test_a_manifest_survives_its_file() -> None:
    """What is written is read; another version is refused."""
    data = encode_manifest(manifest(1))

    assert decode_manifest(data) == manifest(1)
    with pytest.raises(SchemaError):
        decode_manifest(data.replace(b'"version": 1', b'"version": 2'))
