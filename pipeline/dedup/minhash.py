"""MinHash: near copies of a text without comparing every text with every other.

A text comes in; its signature goes out: of its shingles (runs of five words) the least value under each of 112 permutations. The share of
equal values of two signatures estimates the share of shingles that two texts have in common. `bands` cuts whole arrays of signatures
into keys: two texts that share a key are worth a look, and at a similarity of 0.72 half of all pairs share one.

Words are cut and hashed by numpy over code points, without a Python object a word: that is where the time of a MinHash goes, the permutations
(rensa's R-MinHash) cost little. Case and punctuation do not count. In scripts without spaces each letter is a word. Neither the
machine nor Python's version of Unicode's tables has a say, but for what lower case is.
"""

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

PERMUTATIONS = 112  # FineWeb
BANDS = 14  # FineWeb: 14 buckets of 8, which finds 0.75 at a chance of 0.77 and 0.8 at 0.92
SHINGLE_WORDS = 5  # FineWeb
MIN_SHINGLES = 8  # ours: in fewer one changed word is a quarter of the text and more
MAX_CHARS = 1 << 20  # ours: the signature is that of a text's first million characters
SIGNATURE_BYTES = PERMUTATIONS * 4
SEED = 1

_U64 = np.uint64
_PRIME, _MIX_A, _MIX_B = _U64(0x9E3779B97F4A7C15), _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB)  # SplitMix64's
_SEPARATOR, _LETTER, _WORD = 0, 1, 2  # what a code point is: between words, of a word, a word by itself
# Code points that part words: ASCII and Latin-1 signs, general and CJK punctuation, small and full-width forms.
_SEPARATORS = (
    *((0x00, 0x30), (0x3A, 0x41), (0x5B, 0x61), (0x7B, 0xAA), (0xAB, 0xB5), (0xB6, 0xBA), (0xBB, 0xC0)),
    *((0x2000, 0x2070), (0x20A0, 0x20D0), (0x2190, 0x2C00), (0x2E00, 0x2E80), (0x3000, 0x3005), (0x3008, 0x3021)),
    *((0xFE30, 0xFE70), (0xFF00, 0xFF10), (0xFF1A, 0xFF21), (0xFF3B, 0xFF41), (0xFF5B, 0xFF66)),
)
# Scripts without spaces: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han (all planes from the second on count as Han).
_SPACELESS = (
    *((0x0E00, 0x1000), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3041, 0x3100), (0x3400, 0x4DC0), (0x4E00, 0xA000)),
    *((0xF900, 0xFB00), (0xFF66, 0xFFA0), (0xFFFF, 0x10000)),
)


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(1 << 16, _LETTER, dtype=np.uint8)
    for ranges, kind in ((_SEPARATORS, _SEPARATOR), (_SPACELESS, _WORD)):
        for start, end in ranges:
            kinds[start:end] = kind
    return kinds


_KINDS = _kinds()
_POWERS = np.cumprod(np.full(64, _PRIME))  # of a letter's place in its word; from the 64th on all places are one


def signature(text: str) -> bytes:
    """112 little-endian 32-bit values; empty for a text of fewer than 8 different shingles."""
    shingles = np.sort(_shingles(text[:MAX_CHARS]))
    if np.count_nonzero(shingles[1:] != shingles[:-1]) + 1 < MIN_SHINGLES:
        return b""
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, [0, len(shingles)], PERMUTATIONS, SEED)
    return np.array(matrix.to_rows()[0], dtype="<u4").tobytes()


def similarity(a: bytes, b: bytes) -> float:
    """The share of equal values of two signatures, in 112ths; 0 where a text has none."""
    if not a or not b:
        return 0.0
    return float(similarities(_values(a), _values(b))[0])


def similarities(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Row by row, of two arrays of shape (n, 112)."""
    shares: NDArray[np.float64] = np.count_nonzero(a == b, axis=1) / PERMUTATIONS
    return shares


def signatures(packed: list[bytes | None]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """(places of the texts that have a signature, their signatures as an array of shape (n, 112))."""
    places = [place for place, one in enumerate(packed) if one]
    return np.array(places, dtype=np.int64), _values(b"".join(packed[place] or b"" for place in places))


def bands(values: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The band keys, shape (n, 14), of signatures of shape (n, 112); keys of different bands do not meet."""
    rows = values.reshape(len(values), BANDS, PERMUTATIONS // BANDS).astype(_U64)
    keys = np.broadcast_to(np.arange(1, BANDS + 1, dtype=_U64), rows.shape[:2]).copy()
    for column in range(rows.shape[2]):
        keys = mix(keys * _PRIME + rows[:, :, column])
    return keys


def mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's last step: every bit of a number decides about every bit of the result."""
    numbers = (numbers ^ (numbers >> _U64(30))) * _MIX_A
    numbers = (numbers ^ (numbers >> _U64(27))) * _MIX_B
    return numbers ^ (numbers >> _U64(31))


def _values(packed: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(packed, dtype="<u4").reshape(-1, PERMUTATIONS)


def _shingles(text: str) -> NDArray[np.uint64]:
    """A 64-bit hash of each run of five words."""
    words = _words(text)
    count = len(words) - SHINGLE_WORDS + 1
    if count < MIN_SHINGLES:
        return np.empty(0, dtype=_U64)
    shingles = words[:count].copy()
    for place in range(1, SHINGLE_WORDS):
        shingles *= _PRIME
        shingles += words[place : place + count]
    return mix(shingles)


def _words(text: str) -> NDArray[np.uint64]:
    """A 64-bit hash of each word in order."""
    points = np.frombuffer(text.lower().encode("utf-32-le", "surrogatepass"), dtype="<u4")
    kinds = _KINDS[np.minimum(points, 0xFFFF)]
    before = np.concatenate(([_SEPARATOR], kinds[:-1]))
    begins = (kinds == _WORD) | ((kinds == _LETTER) & (before != _LETTER))
    inside = kinds != _SEPARATOR
    letters = points[inside].astype(_U64)
    starts = np.flatnonzero(begins[inside])
    if not len(starts):
        return np.empty(0, dtype=_U64)
    lengths = np.diff(np.append(starts, len(letters)))
    places = np.arange(len(letters)) - np.repeat(starts, lengths)
    return mix(np.add.reduceat(mix(letters * _PRIME) * _POWERS[np.minimum(places, 63)], starts))
