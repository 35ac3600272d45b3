"""Drops: what did not make it into the output, each with its one reason.

A drop is a value, not an exception: pure stages return `Document | Drop`, tables keep the rows, the manifest counts them.
What falls with its page is not counted a second time: its row names the page's reason.
"""

from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

DropKind: TypeAlias = Literal["page", "paragraph", "image", "video", "pair"]


class DropReason(StrEnum):
    """Why something is not in the output; the comment of each member is its documentation."""

    # reading: the record
    BAD_RECORD = "bad_record"  # the WARC record or its HTTP head cannot be parsed
    TRUNCATED = "truncated"  # the record or its body ends before its stated length
    BODY_TOO_LARGE = "body_too_large"  # more bytes than the budget, after decompression
    HTTP_STATUS = "http_status"  # a page or medium whose status is not 200
    REVISIT_UNRESOLVED = "revisit_unresolved"  # a revisit record whose original is not in the input
    WORKER_KILLED = "worker_killed"  # the record ended its worker process twice
    EXTRACTOR_FAULT = "extractor_fault"  # a fault of ours: the exception's name is the detail
    # extraction: the page
    EMPTY = "empty"  # no text and no medium in the whole body
    NO_CONTENT = "no_content"  # text, but none that is main content
    TOO_MANY_NODES = "too_many_nodes"  # more nodes than the budget
    TOO_MANY_ATTRIBUTES = "too_many_attributes"  # a tag with more attributes than the budget
    # extraction: a paragraph
    BOILERPLATE = "boilerplate"  # judged not to be main content
    # extraction: a medium
    BOILERPLATE_MEDIUM = "boilerplate_medium"  # stands outside the main content
    PLACEHOLDER = "placeholder"  # every candidate is a blank or a placeholder
    TRACKING_PIXEL = "tracking_pixel"  # 1x1, or declared that small
    DECORATION = "decoration"  # logo, icon, avatar, button and the like
    NO_CANDIDATE = "no_candidate"  # a medium element without any usable URL
    DECLARED_TOO_SMALL = "declared_too_small"  # its attributes say a side below the minimum
    REPEATED_IN_PAGE = "repeated_in_page"  # the same picture stands in the page already
    # filters: page and paragraph (the rule's name is the detail)
    LANGUAGE = "language"  # not a wanted language, or detected with too low a score
    TOO_FEW_WORDS = "too_few_words"
    TOO_MANY_WORDS = "too_many_words"
    MEAN_WORD_LENGTH = "mean_word_length"
    SYMBOL_RATIO = "symbol_ratio"
    BULLET_LINES = "bullet_lines"
    ELLIPSIS_LINES = "ellipsis_lines"
    ALPHABETIC_WORDS = "alphabetic_words"
    STOP_WORDS = "stop_words"
    DUPLICATE_LINES = "duplicate_lines"
    DUPLICATE_PARAGRAPHS = "duplicate_paragraphs"
    DUPLICATE_NGRAMS = "duplicate_ngrams"
    TOP_NGRAM = "top_ngram"
    CHARACTER_REPETITION = "character_repetition"
    WORD_REPETITION = "word_repetition"
    SPECIAL_CHARACTERS = "special_characters"
    FLAGGED_WORDS = "flagged_words"
    PUNCTUATION = "punctuation"
    TERMINAL_PUNCTUATION = "terminal_punctuation"
    TOO_FEW_SENTENCES = "too_few_sentences"
    JAVASCRIPT_NOTICE = "javascript_notice"
    POLICY_NOTICE = "policy_notice"
    LOREM_IPSUM = "lorem_ipsum"
    CURLY_BRACKET = "curly_bracket"
    SHORT_LINES = "short_lines"
    NEWLINE_RATIO = "newline_ratio"
    NO_TEXT_LEFT = "no_text_left"  # every paragraph of the page was dropped
    TOO_FEW_MEDIA = "too_few_media"
    TOO_MANY_MEDIA = "too_many_media"
    # select
    DUPLICATE_URL = "duplicate_url"  # a later capture of the same normalised URL is kept; the detail names it
    DUPLICATE_TEXT = "duplicate_text"  # another page has the same text; the detail names it
    BANNED_URL = "banned_url"  # the URL contains a banned word
    BLOCKED_URL = "blocked_url"  # stands in a block list of URLs
    BLOCKED_DOMAIN = "blocked_domain"  # its domain stands in a block list
    BLOCKED_WORD = "blocked_word"  # the text holds a word of a block list
    OPTED_OUT = "opted_out"  # a list, a robots directive, robots.txt, ai.txt or a TDM reservation says no; the detail says which
    TAKEN_DOWN = "taken_down"  # it, or what it is a copy of, was taken down
    CONTAMINATED = "contaminated"  # shares text or a picture with an evaluation set
    IN_EARLIER_RUN = "in_earlier_run"  # a run that this one is deduplicated against holds it, or a near copy
    NEAR_DUPLICATE = (
        "near_duplicate"  # a better page has nearly the same text; the detail names it, the value is the similarity
    )
    SAME_IMAGES = "same_images"  # a later page shows the same set of pictures
    DOMAIN_BOILERPLATE = "domain_boilerplate"  # a paragraph that stands on many pages of its domain
    FREQUENT_URL = "frequent_url"  # every candidate URL of the medium stands on too many pages
    # media
    NOT_IN_CRAWL = "not_in_crawl"  # no candidate URL has a record in the input
    BAD_URL = "bad_url"  # not an http(s) URL that can be asked
    ADDRESS_REFUSED = "address_refused"  # the host is a private, loopback or otherwise refused address
    DNS_FAILED = "dns_failed"  # the host's name has no address
    CONNECTION_FAILED = "connection_failed"  # refused, reset, or closed in the middle
    TLS_FAILED = "tls_failed"  # the certificate or the handshake is bad
    HTTP_UNAVAILABLE = "http_unavailable"  # an answer of the server that passes: 429, or an error of its own (5xx)
    TIMEOUT = "timeout"  # no connection, no answer, or no whole body in time
    DEADLINE = "deadline"  # the stage's time was over before the URL's turn
    TOO_MANY_REDIRECTS = "too_many_redirects"
    REDIRECTED = "redirected"  # leads to another host, which is asked in the next round
    ROBOTS_DISALLOWED = "robots_disallowed"  # robots.txt of the host says no
    ROBOTS_UNREACHABLE = (
        "robots_unreachable"  # robots.txt answers with an error of the server, or not at all (RFC 9309: no)
    )
    MISSING_FILE = "missing_file"  # a local file of a table that is not there
    OUTSIDE_FOLDER = "outside_folder"  # a local path of a table that leaves the table's folder
    NOT_AN_IMAGE = "not_an_image"  # the bytes are no picture format
    UNSUPPORTED_FORMAT = "unsupported_format"  # a picture format that the run does not take
    SVG = "svg"
    ANIMATED = "animated"
    DIGEST_MISMATCH = "digest_mismatch"  # the bytes, or their size, are not what stands beside them
    BROKEN_IMAGE = "broken_image"  # the bytes do not decode
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    SIDE_TOO_SMALL = "side_too_small"
    SIDE_TOO_LARGE = "side_too_large"
    ASPECT_RATIO = "aspect_ratio"
    SINGLE_COLOUR = "single_colour"
    BLURRED = "blurred"
    TEXT_BANNER = "text_banner"  # a picture of text alone
    BLOCKED_IMAGE = "blocked_image"  # its hash stands in a block list
    FREQUENT_IMAGE = "frequent_image"  # the picture, or a perceptual copy, stands in too many documents
    SCORE = "score"  # a classifier's score is past its threshold; the detail names the classifier
    VIDEO_NOT_TAKEN = "video_not_taken"  # the run takes no videos
    NOT_A_VIDEO = "not_a_video"  # the bytes are no video that can be opened
    BROKEN_VIDEO = "broken_video"  # the frames do not decode
    NOT_A_TRACK = "not_a_track"  # the bytes are no WebVTT or SRT, or no cue is in them
    TOO_SHORT = "too_short"  # a video of less than the wanted seconds
    TOO_LONG = "too_long"  # a video of more than the wanted seconds
    # pairs
    NO_CAPTION = "no_caption"  # no text, or none left
    CAPTION_TOO_LONG = "caption_too_long"  # more characters than any rule could want
    FREQUENT_CAPTION = "frequent_caption"  # the same text stands beside too many pictures
    TOO_MANY_CAPTIONS = "too_many_captions"  # the picture has too many different texts
    FILE_NAME = "file_name"  # the text is a file's name, a URL or a number
    DUPLICATE_PAIR = "duplicate_pair"  # the same picture with the same text stands in the output already
    LOW_SIMILARITY = "low_similarity"  # picture and text do not fit, by a model's score
    # shard
    NO_IMAGE = "no_image"  # a page without a medium, after extraction or after the image filters
    FALLBACK_NOT_NEEDED = "fallback_not_needed"  # a medium of the page's metadata, where the body has its own
    WITH_PAGE = "with_page"  # fell with its page


class Drop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that is not in the output.

    `url` is the page's URL, `medium_url` the medium's best candidate; `value` and `threshold` are in the rule's own unit.
    `detail` is free text: a rule's name, the first words of a paragraph, the other page's key. `source` and `offset` say where the record
    stands (input's name, byte or row), where who drops it knows.
    """

    kind: DropKind
    reason: DropReason
    url: str = ""
    medium_url: str = ""
    value: float | None = None
    threshold: float | None = None
    detail: str = ""
    source: str = ""
    offset: int | None = None
