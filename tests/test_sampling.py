"""Sampling row by row: by the distribution that is asked for, and by nothing else of the batch."""

import torch

from trainer.model.sampling import DrawnByRow, drawn_by_row

SCORES = torch.tensor([2.0, 1.0, 0.0, -1.0, -torch.inf])


def drawn(rows: int, **options: float) -> torch.Tensor:
    """The tokens that as many rows of one distribution draw."""
    scores = DrawnByRow(range(rows), **options)(torch.zeros(rows, 1, dtype=torch.long), SCORES.expand(rows, -1))
    assert torch.equal(scores.isfinite().sum(dim=1), torch.ones(rows, dtype=torch.long))
    return scores.argmax(dim=1)


def test_draws_follow_the_distribution() -> None:
    """Of 4,000 rows each token is drawn as often as it should be, within four standard errors; warped as asked, and never what is impossible."""
    for options, wanted in (
        ({}, SCORES.softmax(0)),
        ({"temperature": 0.5}, (SCORES / 0.5).softmax(0)),
        ({"top_k": 2}, torch.tensor([2.0, 1.0]).softmax(0)),
        ({"top_p": 0.7, "min_p": 0.1}, torch.tensor([2.0, 1.0]).softmax(0)),
    ):
        shares = drawn(4000, **options).bincount(minlength=5) / 4000
        wanted = torch.nn.functional.pad(wanted, (0, 5 - len(wanted)))
        assert (shares - wanted).abs().le(4 * (wanted * (1 - wanted) / 4000).sqrt()).all()


def test_rows_do_not_meet() -> None:
    """Step after step, a row draws the same alone as among others."""
    scores = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(1))
    together, alone = DrawnByRow([4, 5, 6]), DrawnByRow([5])
    ids = torch.zeros(3, 1, dtype=torch.long)

    for step in scores:
        assert torch.equal(together(ids, step)[1:2], alone(ids[:1], step[1:2]))


def test_options_of_generate() -> None:
    """What samples goes into the draw, all else stays, and greedy search takes what was drawn."""
    options = drawn_by_row([1], {"temperature": 2.0, "top_k": None, "do_sample": True, "max_new_tokens": 3})

    assert {"do_sample": False, "max_new_tokens": 3} == {k: v for k, v in options.items() if k != "logits_processor"}
    assert [DrawnByRow] == [type(one) for one in options["logits_processor"]]
