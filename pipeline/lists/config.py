"""The `[lists]` part of a configuration: the user's files of what is not wanted."""

from typing import Annotated

import msgspec


class ListsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lists of files, each a path or an fsspec URL, .gz too.

    An entry a line, `#` opens a comment line: URLs, domains (which stand for their subdomains too), words and phrases, URLs or domains that opted
    out, hashes of pictures (hex: SHA-256, MD5 or 64-bit pHash by their length, PDQ as `pdq:` and 64 digits). `evaluation_texts` are .txt
    with a text a line, .jsonl, .csv, .tsv or .parquet; `evaluation_images` lists of hashes,
    or pictures (.jpg, .png, .webp, .gif). Distances are in bits; each is itself still a match.
    """

    block_urls: list[str] = []
    block_domains: list[str] = []
    block_words: list[str] = []
    opt_out: list[str] = []
    evaluation_texts: list[str] = []
    block_hashes: list[str] = []
    evaluation_images: list[str] = []
    max_phash_distance: Annotated[int, msgspec.Meta(ge=0, le=11)] = 4  # ours: half of what marks a copy to a person
    max_pdq_distance: Annotated[int, msgspec.Meta(ge=0, le=47)] = 31  # PDQ's reference: 31 of 256 bits
