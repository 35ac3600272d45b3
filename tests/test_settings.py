"""Settings from TOML and from the command line, and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.settings import read_settings, write_settings


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One section."""

    rate: float = 0.5
    words: list[str] = []


class Tree(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section, and sections by name."""

    leaf: Leaf = Leaf()
    named: dict[str, Leaf] = {}
    most: int | None = None
    on: bool = False


@given(
    st.builds(
        Tree,
        most=st.none() | st.integers(),
        leaf=st.builds(Leaf, rate=st.floats(0, 1)),
        named=st.just({"a": Leaf(words=["x", '"ü"'])}),
    )
)
def test_what_is_written_is_read(tree: Tree) -> None:
    """TOML that was written gives the same tree, defaults included."""
    assert tree == read_settings(Tree, write_settings(tree), "file")


def test_settings_lie_over_the_text() -> None:
    """Of text and command line the latter counts; a string needs no quotes."""
    tree = read_settings(Tree, "on = true\n[leaf]\nrate = 0.1", "file", ["leaf.rate=0.2", "named.a.words=['x']"])
    assert Tree(leaf=Leaf(rate=0.2), named={"a": Leaf(words=["x"])}, on=True) == tree


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("leaf.rat=1", "did you mean leaf.rate"),
        ("named.a.rat=1", "did you mean named.a.rate"),
        ("leaf=1", "leaf in --set is a section"),
        ("named.a=1", "named.a in --set is a section"),
        ("leaf.rate=fast", "Expected `float`"),
        ("leaf", "key=value"),
    ],
)
def test_a_wrong_setting_names_the_right_one(setting: str, message: str) -> None:
    """Unknown keys, also of sections by name; values in place of sections; wrong types."""
    with pytest.raises(ConfigError, match=message):
        read_settings(Tree, "", "file", [setting])
