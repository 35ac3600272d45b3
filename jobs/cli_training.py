"""The trainer's commands: what is frozen, training, and what comes of it. Everything heavy is imported inside the command that needs it."""

import argparse
import json

from jobs.arguments import add_command, positive
from jobs.presets import PRETRAINING, TRAINING, toml_of
from schemas.errors import UsageError


def add_training(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Puts the commands among the others."""
    pretrain = add_command(commands, "pretrain", _pretrain, "what train keeps frozen, made from nothing")
    pretrain.add_argument("what", choices=("language", "vision"), help="a language model and its tokenizer; an encoder")
    pretrain.add_argument("config", metavar="CONFIG", help=f"a TOML file, or a preset: {', '.join(PRETRAINING)}")
    pretrain.add_argument("--out", required=True, metavar="DIR", help="for the model, on disk")
    pretrain.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value of the configuration")
    pretrain.add_argument("--resume", action="store_true", help="of vision: go on from the latest checkpoint in DIR")
    train = add_command(commands, "train", _train, "shards to a trained model")
    train.add_argument(
        "config",
        metavar="CONFIG",
        help=f"a TOML file, or a preset: {', '.join(TRAINING)}",
    )
    where = train.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="for checkpoints and the log, on disk")
    where.add_argument("--dry-run", action="store_true", help="the model in numbers, without its weights")
    train.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value of the configuration")
    train.add_argument("--resume", action="store_true", help="go on from the latest checkpoint in DIR")
    generate = add_command(commands, "generate", _generate, "what a trained model says after texts, pictures and clips")
    generate.add_argument("model", metavar="DIR", help="where m3w train has written its checkpoints, or m3w export")
    generate.add_argument("parts", nargs="*", metavar="PART", help="the prompt: a file is a medium, all else is text")
    generate.add_argument(
        "--prompts", metavar="FILE", help="many instead, a JSON array of parts a line; answers likewise"
    )
    generate.add_argument("--batch", type=positive, default=8, metavar="N", help="so many prompts at a time (8)")
    generate.add_argument("--tokens", type=positive, default=32, metavar="N", help="at most so many (32)")
    generate.add_argument("--beams", type=positive, default=1, metavar="N", help="beam search; the paper takes 3 (1)")
    generate.add_argument("--seed", type=int, metavar="N", help="draw by chance, the same for a seed and a prompt")
    generate.add_argument("--temperature", type=float, metavar="X", help="of the draw (1)")
    generate.add_argument("--top-p", type=float, metavar="X", help="draw from the likeliest X of it all (1)")
    export = add_command(commands, "export", _export, "a trained model as a folder of its own")
    export.add_argument("model", metavar="DIR", help="where m3w train has written its checkpoints")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder, on disk")
    export.add_argument("--whole", action="store_true", help="with the frozen parts, which else are loaded by name")


def _train(options: argparse.Namespace) -> None:
    from pathlib import Path

    from jobs import dry_run, training
    from schemas.settings import read_settings
    from trainer.config import TrainConfig

    config = read_settings(TrainConfig, toml_of(options.config, TRAINING), options.config, options.set)
    if options.dry_run:
        dry_run.run(config, options.config)
    elif "://" in options.out:
        raise UsageError(f"--out {options.out} is no folder on disk; checkpoints=URL puts the checkpoints into a store")
    else:
        training.run(config, Path(options.out), options.resume)


def _pretrain(options: argparse.Namespace) -> None:
    from pathlib import Path

    from jobs import pretrain
    from schemas.settings import read_settings
    from trainer.contrastive import ContrastiveConfig
    from trainer.pretrain import LanguageConfig

    toml, out = toml_of(options.config, PRETRAINING), Path(options.out)
    if options.what == "language":
        if options.resume:
            raise UsageError("--resume is of vision; a language model is pretrained in one go")
        pretrain.language(read_settings(LanguageConfig, toml, options.config, options.set), out)
    else:
        pretrain.vision(read_settings(ContrastiveConfig, toml, options.config, options.set), out, options.resume)


def _generate(options: argparse.Namespace) -> None:
    from pathlib import Path

    from jobs.generate import read_prompts, run

    if bool(options.parts) == bool(options.prompts):
        raise UsageError("give a prompt, or --prompts FILE")
    asked = read_prompts(Path(options.prompts)) if options.prompts else [options.parts]
    draw = {"temperature": options.temperature, "top_p": options.top_p}
    draw = {name: value for name, value in draw.items() if value is not None}
    if draw and options.seed is None:
        raise UsageError("--temperature and --top-p are of a draw, which --seed N asks for")
    given = {"max_new_tokens": options.tokens, "num_beams": options.beams, **draw}
    for said in run(Path(options.model), asked, options.batch, options.seed, **given):
        print(json.dumps(said, ensure_ascii=False) if options.prompts else said, flush=True)


def _export(options: argparse.Namespace) -> None:
    from pathlib import Path

    from jobs.generate import export

    export(Path(options.model), Path(options.out), options.whole)
