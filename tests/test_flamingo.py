"""The model: at gate 0 the bare language model, with open gates each token sees its own medium; the layers against the paper's formulas."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.errors import ConfigError
from tests.tiny_models import FAMILIES, VOCABULARY, flamingo, language, vision
from trainer.model.config import ModelConfig, ResamplerConfig
from trainer.model.flamingo import Flamingo
from trainer.model.resampler import PerceiverResampler
from trainer.model.vision import VisionEncoder
from trainer.model.xattn import GatedCrossAttention, seen_media

# Two rows; the first shows media 0 and 1 of the batch, the second medium 2.
PHI = torch.tensor([[0, 1, 1, 1, 1, 2, 2, 2, 2], [0, 0, 0, 1, 1, 1, 1, 1, 1]])
SLOTS = torch.tensor([[0, 1], [2, 0]])
SMALL = ModelConfig(resampler=ResamplerConfig(width=16, layers=1, heads=2, latents=4))


def some_ids() -> Tensor:
    """Two rows of nine tokens of the bare vocabulary."""
    return torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(4))


def some_pixels(media: int = 3, frames: int = 1) -> Tensor:
    """Normalised noise."""
    return torch.randn(media, frames, 3, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("family", FAMILIES)
def test_at_gate_0_it_is_the_bare_model(family: str) -> None:
    """Logits of the original vocabulary are the bare model's, bit for bit, whichever attention computes them, with padding and without."""
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    bare, model = language(family), flamingo(family)
    for attention in ("sdpa", "eager"):
        for one in (bare, model.language):
            one.set_attn_implementation(attention)
        with torch.no_grad():
            logits = model(some_ids(), PHI, SLOTS, model.latents([some_pixels()]))
            assert torch.equal(bare(some_ids()).logits, logits[..., :VOCABULARY])
            assert (2, 9, VOCABULARY + 1) == logits.shape
            padded = model(some_ids(), PHI, SLOTS, model.latents([some_pixels()]), mask)
            wanted = bare(some_ids(), attention_mask=mask).logits
        assert torch.equal(wanted[mask > 0], padded[mask > 0][:, :VOCABULARY])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_trained_has_gradients(family: str) -> None:
    """With open gates every trainable weight gets one, `<EOC>`'s rows too, and no frozen weight does."""
    model = flamingo(family, alpha=0.5)
    ids = some_ids()
    ids[:, 4] = model.eoc
    model(ids, PHI, SLOTS, model.latents([some_pixels()])).logsumexp(-1).sum().backward()
    assert [] == [
        name for name, one in model.named_parameters() if one.requires_grad == (one.grad is None or not one.grad.any())
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_medium_reaches_its_own_tokens_alone(family: str) -> None:
    """Another second medium changes the logits of all tokens that are mapped to it, and of no other, bit for bit."""
    model = flamingo(family, alpha=0.5, every=3)
    pixels = some_pixels()
    before = model(some_ids(), PHI, SLOTS, model.latents([pixels]))
    pixels[1] += 1
    after = model(some_ids(), PHI, SLOTS, model.latents([pixels]))
    changed = (before != after).any(-1)

    assert (PHI == 2)[0].tolist() == changed[0].tolist()
    assert not changed[1].any()


def test_all_previous_media() -> None:
    """Where tokens see all media up to their own, the first picture reaches the tokens of the second too, the second not those of the first."""
    model = flamingo(alpha=0.5, sees="all_previous", every=4)
    pixels = some_pixels()
    before = model(some_ids(), PHI, SLOTS, model.latents([pixels]))
    for medium, reached in ((0, PHI[0] >= 1), (1, PHI[0] == 2)):
        other = pixels.clone()
        other[medium] += 1
        changed = (before != model(some_ids(), PHI, SLOTS, model.latents([other]))).any(-1)

        assert reached.tolist() == changed[0].tolist()


def test_text_without_media() -> None:
    """With `dense_on_text` off text before the first medium is the bare model's though gates are open; with it on, as in the paper, it is not."""
    with torch.no_grad():
        bare = language()(some_ids()).logits
    for dense_on_text in (False, True):
        model = flamingo(alpha=0.5, dense_on_text=dense_on_text)
        logits = model(some_ids(), PHI, SLOTS, model.latents([some_pixels()]))[..., :VOCABULARY]
        same = (bare == logits).all(-1)

        assert ([not dense_on_text, False], [not dense_on_text] * 3) == (same[0, :2].tolist(), same[1, :3].tolist())


def test_a_batch_without_media_has_gradients() -> None:
    """Nothing to see gives exact zeros for what looks, not NaN, and a gradient for every parameter, so that no collective waits for this rank."""
    model = flamingo(alpha=0.5)
    phi = torch.zeros(2, 9, dtype=torch.long)
    logits = model(some_ids(), phi, torch.zeros(2, 1, dtype=torch.long), model.latents([torch.zeros(1, 1, 3, 16, 16)]))
    logits.logsumexp(-1).sum().backward()

    for name, one in model.named_parameters():
        if one.requires_grad:
            assert one.grad is not None, name
            assert one.grad.isfinite().all(), name
            assert not one.grad.any() or "resampler" not in name


def test_frozen_parts_do_not_train() -> None:
    """`train()` leaves the dropout of the frozen parts off, and nothing of them wants a gradient."""
    model = flamingo().train()

    assert not any(
        one.training for part in (model.vision, *[layer.layer for layer in model.layers]) for one in part.modules()
    )
    assert all(layer.gated.training for layer in model.layers if layer.gated is not None)
    assert not any(one.requires_grad for one in model.vision.parameters())


@pytest.mark.parametrize("kind", ["gated", "graft"])
def test_checkpointing_changes_no_gradient(kind: str) -> None:
    """Recomputed layers give the same gradients, bit for bit; those on top of others have them recomputed within."""
    grads = []
    for checkpointing in (False, True):
        model = flamingo(alpha=0.5, kind=kind)
        for layer in model.layers:
            layer.checkpointing = checkpointing
        model(some_ids(), PHI, SLOTS, model.latents([some_pixels()])).logsumexp(-1).sum().backward()
        grads.append([one.grad for one in model.parameters() if one.grad is not None])

    assert len(grads[0]) == len(grads[1])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_where_gated_layers_stand() -> None:
    """Before layer 0 and before every N-th: 5 layers and N = 2 make 3."""
    base = language(layers=5)
    model = Flamingo(vision(), base, SMALL)
    assert 5 == sum(layer.gated is not None for layer in model.layers)

    model = flamingo(every=3)
    assert [True, False, False, True] == [layer.gated is not None for layer in model.layers]


def test_what_is_no_decoder_is_refused() -> None:
    """A vision model in the language model's place, and a language model in the vision model's."""
    with pytest.raises(ConfigError):
        Flamingo(vision(), vision(), SMALL)
    with pytest.raises(ConfigError, match="pixel_values"):
        VisionEncoder(language())


def test_other_picture_sizes() -> None:
    """Pictures of another size than the encoder's have more patches; groups of sizes become one row of latents in order."""
    model = flamingo()
    small, large = some_pixels(2), torch.ones(1, 3, 3, 24, 16)

    assert (3, 4, 16) == model.latents([small, large]).shape
    assert torch.equal(model.latents([small]), model.latents([small, large])[:2])


def linear(module: torch.nn.Module, x: Tensor) -> Tensor:
    """x times the weights, written out."""
    return torch.einsum("...i,oi->...o", x, module.weight)


def normed(module: torch.nn.Module, x: Tensor) -> Tensor:
    """Layer norm, written out."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * module.weight + module.bias


def dense(module: torch.nn.Sequential, x: Tensor) -> Tensor:
    """The feed-forward of the paper: norm, up, squared ReLU, down."""
    return linear(module[3], linear(module[1], normed(module[0], x)).clamp(min=0) ** 2)


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Attention of [Q, W] to [N, W], head by head."""
    out = []
    for q, k, v in zip(queries.chunk(heads, -1), keys.chunk(heads, -1), values.chunk(heads, -1), strict=True):
        out.append(torch.softmax(q @ k.T / math.sqrt(q.shape[-1]), -1) @ v)
    return torch.cat(out, -1)


def test_the_resampler_is_the_papers() -> None:
    """In float64 it equals Fig. 5 of the paper written out, also with more frames than time embeddings."""
    torch.manual_seed(0)
    resampler = PerceiverResampler(12, width=16, layers=2, heads=2, latents=3, frames=4).double()
    for one in resampler.parameters():
        torch.nn.init.normal_(one, std=0.3)
    for frames in (1, 4, 7):
        features = torch.randn(2, frames, 5, 12, dtype=torch.float64)
        time = resampler.time
        if frames > 4:
            at = torch.linspace(0, 3, frames, dtype=torch.float64)
            low = at.floor().long().clamp(max=2)
            time = time[low] + (at - low)[:, None] * (time[low + 1] - time[low])
        for medium, got in zip(features, resampler(features), strict=True):
            x_f = (linear(resampler.project, medium) + time[:frames, None]).reshape(frames * 5, 16)
            x = resampler.latents
            for layer in resampler.layers:
                q = normed(layer.norm_latents, x)
                seen = torch.cat([normed(layer.norm_patches, x_f), q])
                keys, values = linear(layer.key_value, seen).chunk(2, -1)
                x = x + linear(layer.out, attend(linear(layer.query, q), keys, values, 2))
                x = x + dense(layer.feed_forward, x)
            torch.testing.assert_close(got, normed(resampler.norm, x), rtol=1e-10, atol=1e-10)


def test_the_gated_layer_is_the_papers() -> None:
    """In float64 it equals Fig. 4 of the paper written out, token by token; a token without a medium gets the dense half alone."""
    torch.manual_seed(0)
    layer = GatedCrossAttention(32, 16, head_dim=8).double()
    for one in layer.parameters():
        torch.nn.init.normal_(one, std=0.3)
    latents, y = torch.randn(3, 4, 16, dtype=torch.float64), torch.randn(2, 9, 32, dtype=torch.float64)
    media = layer.keys_values(latents, SLOTS)
    got = layer(y, media, seen_media(PHI, 2))
    for row in range(2):
        for token in range(9):
            x = y[row, token]
            if PHI[row, token]:
                medium = normed(layer.norm_latents, latents[SLOTS[row, PHI[row, token] - 1]])
                keys, values = linear(layer.key_value, medium).chunk(2, -1)
                q = linear(layer.query, normed(layer.norm_text, x))[None]
                x = x + torch.tanh(layer.alpha_xattn) * linear(layer.out, attend(q, keys, values, 4))[0]
            x = x + torch.tanh(layer.alpha_dense) * dense(layer.feed_forward, x)
            torch.testing.assert_close(got[row, token], x, rtol=1e-10, atol=1e-10)


def test_time_embeddings_in_between() -> None:
    """Fewer frames take the first embeddings as they are; more are drawn out from the first to the last."""
    resampler = PerceiverResampler(8, width=8, layers=1, heads=2, latents=2, frames=4)

    assert torch.equal(resampler.time[:3], resampler.time_embedding(3))
    drawn = resampler.time_embedding(7)
    torch.testing.assert_close(drawn[::2], resampler.time)
    assert F.mse_loss(drawn[1], resampler.time[:2].mean(0)) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_agrees_with_the_forward_pass(family: str) -> None:
    """However tokens come in, one by one, in pieces, all again, guessed ahead, or as beams: each greedy token is the forward pass's likeliest; a row says the same alone and beside another, padded."""
    model = flamingo(family, alpha=0.5, every=2).double().eval()
    latents = model.latents([some_pixels().double()])
    said = model.generate(some_ids(), PHI, SLOTS, latents, max_new_tokens=6, do_sample=False, eos_token_id=-1)
    ids, phi = some_ids(), PHI
    for _ in range(6):
        ids = torch.cat([ids, model(ids, phi, SLOTS, latents)[:, -1:].argmax(-1)], dim=1)
        phi = torch.cat([phi, phi[:, -1:]], dim=1)

    assert ids.tolist() == said.tolist()
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": -1}
    for other in ({"use_cache": False}, {"prefill_chunk_size": 4}, {"cache_implementation": "static"}):
        assert ids.tolist() == model.generate(some_ids(), PHI, SLOTS, latents, **other, **options).tolist()
    guessed = model.generate(some_ids()[:1], PHI[:1], SLOTS[:1], latents, prompt_lookup_num_tokens=9, **options)
    assert ids[:1].tolist() == guessed.tolist()
    beams = [
        model.generate(some_ids()[row], PHI[row], SLOTS[row], latents, num_beams=3, **options)
        for row in ([0], [1], [0, 1])
    ]
    assert [beams[0][0].tolist(), beams[1][0].tolist()] == beams[2].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_and_padding_change_no_logits(family: str) -> None:
    """In float64 a row's logits are the same alone, and beside a longer one with padding on either side, to rounding."""
    model = flamingo(family, alpha=0.5).double().eval()
    latents = model.latents([some_pixels().double()])
    short, own = 6, slice(0, 6)
    with torch.no_grad():
        alone = model(some_ids()[1:, own], PHI[1:, own], SLOTS[1:], latents)[0]
        for padding, kept in ((slice(short, 9), own), (slice(0, 3), slice(3, 9))):
            ids, phi, mask = some_ids(), PHI.clone(), torch.ones(2, 9, dtype=torch.long)
            ids[1, kept], phi[1, kept], mask[1, padding], phi[1, padding] = ids[1, own].clone(), PHI[1, own], 0, 0
            beside = model(ids, phi, SLOTS, latents, mask)[1, kept]
            torch.testing.assert_close(beside, alone, rtol=1e-10, atol=1e-10)


def test_what_is_said_brings_no_medium() -> None:
    """A row that is made to say the tag goes on looking at its prompt's last medium, and the other row is as it was."""
    model = flamingo(alpha=0.5).double().eval()
    latents = model.latents([some_pixels().double()])
    tag = [9, 8, 7]  # as the tokens of a tag are: ordinary ones
    forced = {0: tag * 2, 1: [5, 5, 5, 5, 5, 5]}
    out = model.generate(
        some_ids(),
        PHI,
        SLOTS,
        latents,
        max_new_tokens=6,
        do_sample=False,
        prefix_allowed_tokens_fn=lambda row, ids: [forced[row][len(ids) - 9]],
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert [forced[0], forced[1]] == out.sequences[:, 9:].tolist()
    phi = torch.cat([PHI, PHI[:, -1:].expand(-1, 6)], dim=1)
    logits = model(out.sequences, phi, SLOTS, latents)[:, 8:-1]
    torch.testing.assert_close(torch.stack(out.logits, dim=1), logits.float())  # as transformers keeps them


def test_threads_do_not_meet() -> None:
    """Two threads that ask one model about different pictures at once get what each gets alone."""
    model = flamingo(alpha=0.5).eval()
    latents = model.latents([some_pixels()])
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": -1}

    def said(row: int) -> list[int]:
        words: Tensor = model.generate(some_ids()[[row]], PHI[[row]], SLOTS[[row]], latents, **options)
        return words[0].tolist()

    alone = [said(0), said(1)]
    with ThreadPoolExecutor(2) as threads:
        assert alone * 5 == list(threads.map(said, [0, 1] * 5))


def test_an_error_leaves_nothing_behind() -> None:
    """After a generation that raised in the middle the model is as before, and its language model alone sees nothing."""
    model = flamingo(alpha=0.5).eval()
    latents = model.latents([some_pixels()])
    before = model(some_ids(), PHI, SLOTS, latents)

    def fails(row: int, ids: Tensor) -> list[int]:
        raise KeyError(row)

    with pytest.raises(KeyError):
        model.generate(some_ids(), PHI, SLOTS, latents, max_new_tokens=2, prefix_allowed_tokens_fn=fails)
    assert torch.equal(before, model(some_ids(), PHI, SLOTS, latents))
    bare = language()(some_ids()).logits
    assert torch.equal(bare, model.language(some_ids()).logits[..., :VOCABULARY])


@pytest.mark.parametrize(("family", "tied"), [("gpt2", True), ("llama", False)])
def test_eoc_is_learnt_and_no_other_token(family: str, tied: bool) -> None:
    """A step moves the rows of `<EOC>`, in and out, by themselves; the language model's tables stay what they were, tied or not."""
    model = flamingo(family, alpha=0.5)
    inner, outer = model.language.get_input_embeddings(), model.language.get_output_embeddings()
    assert tied == (inner.table.weight is outer.head.weight)
    rows, tables = (inner.rows_in, outer.rows_out), (inner.table.weight, outer.head.weight)
    before = [one.detach().clone() for one in (*rows, *tables)]
    optim = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    ids = some_ids()
    ids[:, 5] = model.eoc
    logits = model(ids, PHI, SLOTS, model.latents([some_pixels()]))
    F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    optim.step()

    assert [True, True, False, False] == [
        not torch.equal(old, new) for old, new in zip(before, (*rows, *tables), strict=True)
    ]


def test_generation_ends_at_eoc() -> None:
    """`<EOC>` ends a row, and can be said at all: its logit is beside the others'."""
    model = flamingo(alpha=0.5).eval()
    with torch.no_grad():
        model.language.get_output_embeddings().rows_out.mul_(1000)
    latents = model.latents([some_pixels()])
    said = torch.cat(
        [
            model.generate(some_ids()[[row]], PHI[[row]], SLOTS[[row]], latents, max_new_tokens=5)[:, 9:10]
            for row in (0, 1)
        ]
    )

    assert model.eoc in said
