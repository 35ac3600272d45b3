"""PDQ: the hash that the reference gives, for pictures of any size."""

import numpy as np
import pytest
from PIL import Image

from pipeline.images import ImageConfig, Picture, prepare
from pipeline.images.pdq import pdq
from tests.pictures import encode


def textured(width: int, height: int, seed: int = 1) -> Image.Image:
    """A grey picture with detail at several sizes, made of whole numbers alone."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), dtype=np.int64)
    for side in (4, 9, 23, 60):
        y, x = np.arange(height)[:, None] * side // height, np.arange(width)[None, :] * side // width
        total += rng.integers(0, 64, (side, side))[y, x]
    return Image.fromarray(total.astype(np.uint8))


def bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


SIZES = {
    (33, 47): "92a659d932276a76a850d0e79cac34b678574b59952cdc8097ba85afb913f4c6",
    (64, 64): "96ca998962af6e72e85394e7ddb425a66253cbd9952c9888953c058fb913dcc6",
    (128, 200): "94e379d962afee72a85395a7bdb401d743d3c3f8152c1888b53c058fb913c0ce",
    (129, 257): "34cb39d162afee72e85215a7bdbc21e683d3cbf9152c1888b53c05af3b13c0c6",
    (640, 480): "94e379d962afee72e85295af9dbc01c6c353cbf9152c1888b53c058fb913c0c6",
    (1000, 701): "94eb79d962afce72e85295a79dbc21c6c353cbf9152c1888b53c058fb913c0c6",
}


@pytest.mark.parametrize(("size", "reference"), SIZES.items())
def test_hashes_are_the_references(size: tuple[int, int], reference: str) -> None:
    """Of pictures smaller and larger than 64 px, of odd sides and of even, within 4 of 256 bits of what pdqhash 0.2.8 gives."""
    assert bits(pdq(textured(*size)), reference) <= 4


def test_the_reference_itself() -> None:
    """The package pdqhash, where it is installed, agrees on pictures in colour."""
    pdqhash = pytest.importorskip("pdqhash")
    for seed in range(8):
        image = Image.merge("RGB", [textured(500, 333, 3 * seed + channel) for channel in range(3)])
        found, _ = pdqhash.compute(np.asarray(image))
        assert bits(pdq(image), np.packbits(found.astype(np.uint8)).tobytes().hex()) <= 4


def test_copies_are_near_and_others_far() -> None:
    """A smaller copy and one in JPEG are within 31 bits, the distance that Meta advises; another picture is not."""
    original = prepare(encode(textured(640, 480), "PNG"), ImageConfig(pdq=True))
    copies = [encode(textured(640, 480).resize((320, 240)), "PNG"), encode(textured(640, 480), "JPEG", quality=40)]
    near = [prepare(data, ImageConfig(pdq=True)) for data in copies]
    assert isinstance(original, Picture)

    assert all(isinstance(copy, Picture) and bits(original.pdq, copy.pdq) <= 31 for copy in near)
    assert bits(original.pdq, pdq(textured(640, 480, seed=2))) > 90


def test_what_is_too_small_has_none() -> None:
    """As in the reference, a side of less than 5 px."""
    assert [0, 64] == [len(pdq(textured(side, 90))) for side in (4, 5)]
