"""YAML read as plain data: no tags, no aliases, no surprises about types.

The tree is built from the parser's events, so no constructor runs and nothing recurses.
Plain scalars follow the core schema of YAML 1.2: `no` and `on` stay text, `1e-3` is a number.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files.guarded_json import read_capped

MAX_YAML_BYTES = 2**20
MAX_DEPTH = 50

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# libyaml is about ten times as fast; both give the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(source: Path | str, max_bytes: int = MAX_YAML_BYTES) -> dict[str, Any]:
    """Read a YAML mapping as plain data.

    Parameters
    ----------
    source : pathlib.Path or str
        A path is a file, a str is the text itself.
    max_bytes : int, default: 1 MiB
        Largest size that is accepted.

    Returns
    -------
    dict of str to object
        Dicts, lists, text, integers, floats, booleans and None.

    Raises
    ------
    ConfigurationError
        If the text is too large, is not UTF-8, is not YAML, is no mapping, nests more than
        50 levels or holds a tag, an anchor, an alias or a key twice; the message names the line.
    """
    text, name = _text(source, max_bytes)
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name} is not valid YAML: {_one_line(error)}") from error
    if not isinstance(builder.result, dict):
        raise ConfigurationError(
            f"{name} must hold `key: value` lines, got {_kind(builder.result)}. "
            "A file is given as a pathlib.Path."
        )
    return builder.result


def _text(source: Path | str, max_bytes: int) -> tuple[str, str]:
    if isinstance(source, Path):
        data, name = read_capped(source, max_bytes, error=ConfigurationError), str(source)
    else:
        data, name = source.encode("utf-8", "surrogatepass"), "The text"
    if len(data) > max_bytes:
        raise ConfigurationError(f"{name} is larger than the {max_bytes} bytes accepted here.")
    try:
        return data.decode("utf-8-sig"), name
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{name} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error


class _Builder:
    """Builds dicts and lists from parser events with a stack of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.result: Any = None
        self.documents = 0
        self.stack: list[dict[str, Any] | list[Any]] = []
        self.keys: list[str | None] = []

    def take(self, event: Any) -> None:
        """Take the next event of the parser."""
        self.refuse_extras(event)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.error(event, "a second document (`---`) follows; keep one")
        elif isinstance(event, yaml.ScalarEvent):
            self.take_scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self.open(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self.open(event, [])
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
            self.keys.pop()

    def take_scalar(self, event: Any) -> None:
        """Take a scalar: the next key of a mapping, or a value."""
        if self.stack and isinstance(self.stack[-1], dict) and self.keys[-1] is None:
            if event.value in self.stack[-1]:
                raise self.error(event, f"the key {event.value!r} stands twice")
            self.keys[-1] = event.value  # keys stay text, whatever they look like
            return
        plain = event.implicit[0]
        self.put(event, self.resolve(event) if plain else event.value)

    def resolve(self, event: Any) -> Any:
        """Turn a plain scalar into its value by the core schema."""
        text = event.value
        if text in _WORDS:
            return _WORDS[text]
        try:
            if _INTEGER.fullmatch(text):
                return int(text)
        except ValueError as error:  # thousands of digits
            raise self.error(event, "the number is too long") from error
        if _FLOAT.fullmatch(text):
            return float(text)
        if _INFINITE.fullmatch(text):
            return float(text.replace(".", ""))
        return text

    def open(self, event: Any, container: dict[str, Any] | list[Any]) -> None:
        """Start a mapping or a list."""
        if len(self.stack) >= MAX_DEPTH:
            raise self.error(event, f"more than {MAX_DEPTH} levels of nesting")
        self.put(event, container)
        self.stack.append(container)
        self.keys.append(None)

    def put(self, event: Any, value: Any) -> None:
        """Add a value to the container that is open."""
        if not self.stack:
            self.result = value
        elif isinstance(self.stack[-1], list):
            self.stack[-1].append(value)
        else:
            key = self.keys[-1]
            if key is None:
                raise self.error(event, "a key must be plain text")
            self.stack[-1][key] = value
            self.keys[-1] = None

    def refuse_extras(self, event: Any) -> None:
        """Refuse aliases, anchors and tags."""
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, f"the alias *{event.anchor} is not accepted; repeat the value")
        if getattr(event, "anchor", None) is not None:
            raise self.error(event, f"the anchor &{event.anchor} is not accepted")
        if getattr(event, "tag", None) is not None:
            raise self.error(event, f"the tag {event.tag} is not accepted; write the plain value")

    def error(self, event: Any, what: str) -> ConfigurationError:
        """Name the place and what is wrong there."""
        return ConfigurationError(f"{self.name}, line {event.start_mark.line + 1}: {what}.")


def _one_line(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
    tab = " (indent with spaces)" if "\\t" in str(error.problem) else ""
    return f"{error.problem}{where}{tab}."


def _kind(value: Any) -> str:
    return {type(None): "nothing", list: "a list"}.get(type(value), "a single value")
