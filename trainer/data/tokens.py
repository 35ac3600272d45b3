"""Text to ids: a tokenizer's own vocabulary, and `<EOC>` behind it.

Ids are built from nodes, piece by piece, never from rendered text: what a page says is text whatever it looks like, so its literal `<image>`, `<EOC>`
or `</s>` become the tokens of their letters. `<image>` as we write it is the text of the tag too (Flamingo v1 3.2.1), but its tokens are known to be a tag.
"""

import msgspec
from transformers import PreTrainedTokenizerFast

from schemas.errors import ConfigError
from schemas.markup import IMAGE


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer with the ids that sequences are built of. `bos` is empty for tokenizers without one."""

    tokenizer: PreTrainedTokenizerFast
    bos: list[int]
    eos: int
    eoc: int
    tag: list[int]

    def encode(self, text: str) -> list[int]:
        """The ids of a text, none of them special."""
        fast = self.tokenizer.backend_tokenizer  # what transformers wraps around it takes as long again
        fast.encode_special_tokens = True
        ids: list[int] = fast.encode(text, add_special_tokens=False).ids
        return ids


def tokens_of(tokenizer: PreTrainedTokenizerFast, eoc: int) -> Tokens:
    """`eoc` is the id that the model gives to `<EOC>`, past the ids of the tokenizer.

    Raises:
        ConfigError: the tokenizer has no end of text, or ids as high as `eoc`.
    """
    if tokenizer.eos_token_id is None:
        raise ConfigError("the tokenizer has no end-of-text token; choose another language model")
    if len(tokenizer) > eoc:
        raise ConfigError(f"the tokenizer has {len(tokenizer)} ids, the language model {eoc}: they are not of one kind")
    tokens = Tokens(
        tokenizer=tokenizer,
        bos=[] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id],
        eos=tokenizer.eos_token_id,
        eoc=eoc,
        tag=[],
    )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return msgspec.structs.replace(tokens, tag=tokens.encode(IMAGE))
