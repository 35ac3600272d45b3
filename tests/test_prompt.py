"""Prompts: texts and media in any order, padded on the left; m3w generate."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.cli import main
from schemas.errors import UsageError
from tests.streams import png
from tests.test_train import config, models
from tests.tiny_models import flamingo, tokenizer
from trainer.data.tokens import tokens_of
from trainer.prompt import prompts

__all__ = ["config", "models"]  # fixtures
TOKENS = tokens_of(tokenizer(), 300)
RED, BLUE = (np.full((1, 3, 16, 16), level, np.uint8) for level in (200, 30))
FILM = np.zeros((2, 3, 16, 16), np.uint8)


def test_a_prompt_is_written_as_in_training() -> None:
    """EOC before each medium but the first thing; each token looks at the medium before it; media are packed by frames."""
    asked = prompts([["two", RED, "a", FILM, "b"], [BLUE, "c"]], TOKENS, 16)
    ids, phi = asked.ids_BL[0].tolist(), asked.phi_BL[0].tolist()
    words = [TOKENS.encode(word) for word in ("two", "a", "b", "c")]

    assert ids == [*TOKENS.bos, *words[0], TOKENS.eoc, *TOKENS.tag, *words[1], TOKENS.eoc, *TOKENS.tag, *words[2]]
    assert phi.index(1) == len(TOKENS.bos) + len(words[0]) + 1
    assert [0] * phi.index(1) == phi[: phi.index(1)]
    assert [*TOKENS.bos, *TOKENS.tag, *words[3]] == asked.ids_BL[1][asked.mask_BL[1].bool()].tolist()
    assert [(2, 1, 3, 16, 16), (1, 2, 3, 16, 16)] == [tuple(group.shape) for group in asked.pixels]
    assert [[0, 2], [1, 0]] == asked.slots_BK.tolist()


def test_neighbours_and_padding_change_nothing() -> None:
    """In float64 a prompt's next words are the same alone and beside a longer one."""
    model = flamingo(alpha=0.5, vocabulary=300).double().eval()
    batch = [["two herons", RED, "by the"], [BLUE, "c"]]

    def said(rows: list[list[object]]) -> list[list[int]]:
        asked = prompts(rows, TOKENS, 16)  # type: ignore[arg-type]
        latents = model.latents([group.double() / 255 for group in asked.pixels])
        out = model.generate(
            asked.ids_BL,
            asked.phi_BL,
            asked.slots_BK,
            latents,
            asked.mask_BL,
            max_new_tokens=5,
            do_sample=False,
            eos_token_id=-1,
        )
        return [row[-5:].tolist() for row in out]

    assert said(batch) == [*said(batch[:1]), *said(batch[1:])]  # type: ignore[arg-type]
    asked = prompts(batch, TOKENS, 16)
    assert torch.equal(asked.mask_BL.sum(1) < asked.ids_BL.shape[1], torch.tensor([False, True]))


def test_an_empty_prompt_is_refused() -> None:
    """Nothing to go on from."""
    with pytest.raises(UsageError, match="empty prompt"):
        prompts([], TOKENS, 16)


def test_generate_from_the_command_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trained folder, a text and a picture to words; a folder without checkpoints and a file that is no picture are named."""
    out, heron, text = str(tmp_path / "out"), tmp_path / "heron.png", tmp_path / "no.png"
    heron.write_bytes(png((200, 10, 10)))
    text.write_bytes(b"no picture")
    assert 0 == main(["train", str(config), "--out", out, "--set", "updates=1"])
    capsys.readouterr()
    assert 0 == main(["generate", out, str(heron), "number", "--tokens", "4"])
    assert capsys.readouterr().out.endswith("\n")
    assert 1 == main(["generate", out, str(text)])
    assert "no.png: no picture" in capsys.readouterr().err
    assert 2 == main(["generate", str(tmp_path), "text"])
    assert "holds no checkpoint" in capsys.readouterr().err
