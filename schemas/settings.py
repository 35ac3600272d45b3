"""Settings: a tree of structs from a TOML text, and back.

A section is a struct (`[filters.gopher_quality]`) or a table of structs by name (`[sets.pages]`); `a.b=value` on the command line lies over the text. An
unknown key is an error that names the nearest known one.
"""

import difflib
import tomllib
from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from schemas.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def read_settings(kind: type[T], toml: str, name: str, settings: Iterable[str] = ()) -> T:
    """The struct of a TOML text (`name` is for messages), with `a.b=value` settings laid over it.

    Raises:
        ConfigError: no TOML, an unknown key, a value of the wrong type or out of range.
    """
    try:
        tree = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}") from error
    _check_keys(tree, kind, "", name)
    for setting in settings:
        _set(tree, setting, kind)
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_at_fault(tree, kind, '') or error}") from error


def write_settings(settings: msgspec.Struct) -> str:
    """The whole tree as TOML, defaults included; what is None has no word in TOML and is left out."""
    lines: list[str] = []
    _write(msgspec.to_builtins(settings), [], lines)
    return "\n".join(lines).strip() + "\n"


def _set(tree: dict[str, Any], setting: str, kind: type[Any]) -> None:
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set takes key=value, got {setting!r}")
    names = key.strip().split(".")
    nested: dict[str, Any] = {names[-1]: _value(value.strip())}
    for name in reversed(names[:-1]):
        nested = {name: nested}
    _check_keys(nested, kind, "", "--set")
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = _value(value.strip())


def _value(text: str) -> Any:
    """A TOML value, or, where it is none, the text itself, so that a string needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _at_fault(value: Any, kind: Any, path: str) -> str:
    """The innermost key whose value is of no use, with what is wrong; empty where none is. What msgspec says names neither keys of tables nor values."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        wrong = str(error).partition(" - at ")[0]
    else:
        return ""
    kinds: dict[str, Any] = {}
    if _is_struct(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind, include_extras=True)
    elif get_origin(kind) is dict and isinstance(value, dict):
        kinds = dict.fromkeys(value, get_args(kind)[1])
    for key in value if kinds else ():
        if inner := _at_fault(value[key], kinds[key], f"{path}.{key}" if path else key):
            return inner
    if isinstance(value, dict):
        return f"{path}: {wrong}" if path else wrong
    return f"{path} = {msgspec.json.encode(value).decode()}: {wrong}"


def _check_keys(tree: dict[str, Any], kind: type[Any], prefix: str, name: str) -> None:
    hints = get_type_hints(kind)
    for key, value in tree.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(hints)}"
            raise ConfigError(f"unknown key {prefix}{key} in {name}; {hint}")
        nested = hints[key]
        if _is_struct(nested):
            _check_section(value, nested, f"{prefix}{key}", name)
        elif get_origin(nested) is dict and _is_struct(get_args(nested)[1]) and isinstance(value, dict):
            for named, one in value.items():
                _check_section(one, get_args(nested)[1], f"{prefix}{key}.{named}", name)


def _check_section(value: Any, kind: type[Any], path: str, name: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{path} in {name} is a section, not a value")
    _check_keys(value, kind, f"{path}.", name)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _write(tree: dict[str, Any], path: list[str], lines: list[str]) -> None:
    sections = {key: value for key, value in tree.items() if isinstance(value, dict)}
    values = {key: value for key, value in tree.items() if key not in sections and value is not None}
    if path and values:
        lines.extend(["", f"[{'.'.join(path)}]"])
    lines.extend(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items())
    for key, value in sections.items():
        _write(value, [*path, key], lines)
