"""Signatures a second and core, shingling included, beside datasketch, in one run.

The documents are 5 KB pieces of English prose that every Python has. Both make 112 permutations of the runs of five words; datasketch gets
the words from a regular expression and hashes a batch with its default. Time is that of the process' CPU, the best of some rounds.

Run: python -m tests.bench.bench_minhash
"""

import re

from datasketch import MinHash

from pipeline.dedup.minhash import PERMUTATIONS, SHINGLE_WORDS, signature
from tests.bench.bench_filters import corpus, milliseconds

_WORD = re.compile(r"\w+")


def by_datasketch(text: str) -> object:
    """A datasketch signature of the same shingles."""
    words = _WORD.findall(text.lower())
    shingles = {
        " ".join(words[place : place + SHINGLE_WORDS]).encode() for place in range(len(words) - SHINGLE_WORDS + 1)
    }
    minhash = MinHash(num_perm=PERMUTATIONS)
    minhash.update_batch(shingles)
    return minhash.digest()


def main() -> None:
    """Prints documents a second of both, and the ratio."""
    texts = [draft.text for draft in corpus()][:40]
    ours, theirs = 1e3 / milliseconds(signature, texts), 1e3 / milliseconds(by_datasketch, texts)
    print(f"m3w         {ours:8.0f} documents/s")
    print(f"datasketch  {theirs:8.0f} documents/s")
    print(f"ratio       {ours / theirs:8.1f}")


if __name__ == "__main__":
    main()
