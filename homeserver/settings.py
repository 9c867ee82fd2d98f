"""What a settings file is made of: values with types and sentences, written out and read back.

Knows YAML and nothing of the settings themselves: those stand in ``config``.
"""

from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import yaml
from attrs import NOTHING, Attribute, field, fields, has


class ConfigError(Exception):
    """The configuration cannot be used. The message is for the person who wrote it."""


def setting(default: Any, text: str) -> Any:
    """A setting: its default, and the sentence that stands above it in the file."""
    factory = {"factory": lambda: default} if isinstance(default, list) else {"default": default}
    return field(metadata={"text": text}, **factory)


def needed(text: str) -> Any:
    """A setting without a default, for the groups in a list."""
    return field(metadata={"text": text})


def section(kind: type, text: str) -> Any:
    """A group of settings."""
    return field(factory=kind, metadata={"text": text})


def read_yaml(file: Path) -> yaml.Node | None:
    """The file as YAML, whatever it says.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        text = file.read_text("utf-8")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} cannot be read: it is not UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}, line {line}: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{file}, line {line}: this character is not allowed") from error


def written_out(kind: type, values: dict[str, Any]) -> list[str]:
    """The lines of a file with every setting, its sentence and its default, or its ``values``."""
    lines = []
    for attribute in settings_of(kind):
        lines += [f"# {attribute.metadata['text']}"]
        inner_kind = _plain_type(kind, attribute)
        if has(inner_kind):
            lines.append(f"{attribute.name}:")
            for inner in settings_of(inner_kind):
                lines.append(f"  # {inner.metadata['text']}")
                lines.append(f"  {inner.name}: {_written(_default(inner))}")
        else:
            value = values.get(attribute.name, _default(attribute))
            lines.append(f"{attribute.name}: {_written(value)}")
        lines.append("")
    return lines


def settings_of(kind: Any) -> "list[Attribute[Any]]":
    return [attribute for attribute in fields(kind) if "internal" not in attribute.metadata]


def _default(attribute: "Attribute[Any]") -> Any:
    default: Any = attribute.default
    return default.factory() if hasattr(default, "factory") else default


def _written(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain_type(kind: type, attribute: "Attribute[Any]") -> Any:
    return get_type_hints(kind)[attribute.name]


class Reader:
    """Turns YAML nodes into settings; knows the line of everything."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[str, int] = {}

    def refuse(self, path: str, sentence: str) -> NoReturn:
        """Stop because of what a setting is set to."""
        line = self._lines.get(path, 1)
        raise ConfigError(f"{self._file}, line {line}: {path} {sentence}")

    def build(self, kind: type, node: yaml.Node | None, path: str, extra: dict[str, Any]) -> Any:
        known = {attribute.name: attribute for attribute in settings_of(kind)}
        values: dict[str, Any] = dict(extra)
        if node is None:
            return kind(**values)
        if node.tag == "tag:yaml.org,2002:null":
            node = yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark)
        if not isinstance(node, yaml.MappingNode):
            raise self._mistake(node, f"{path.rstrip('.') or 'The file'} must hold settings")
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._mistake(key, "the name of a setting must be text")
            name = str(key.value)
            if name not in known:
                raise self._mistake(
                    key, f"{path}{name} is not a setting; known here: {', '.join(known)}"
                )
            if name in values:
                raise self._mistake(key, f"{path}{name} is set twice")
            self._lines[f"{path}{name}"] = key.start_mark.line + 1
            values[name] = self._value(_plain_type(kind, known[name]), value, f"{path}{name}")
        for name, attribute in known.items():
            if attribute.default is NOTHING and name not in values:
                raise self._mistake(node, f"{path}{name} is missing: {attribute.metadata['text']}")
        return kind(**values)

    def _value(self, kind: Any, node: yaml.Node, path: str) -> Any:
        if has(kind):
            return self.build(kind, node, f"{path}.", {})
        if get_origin(kind) is list and has(get_args(kind)[0]):
            return self._list(get_args(kind)[0], node, path)
        value = yaml.SafeLoader("")
        value = value.construct_document(node)
        if not _fits(kind, value):
            raise self._mistake(node, f"{path} must be {_in_words(kind)}, not {value!r}")
        return value

    def _list(self, kind: type, node: yaml.Node, path: str) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._mistake(node, f"{path} must be a list")
        return [
            self.build(kind, each, f"{path}[{index}].", {}) for index, each in enumerate(node.value)
        ]

    def _mistake(self, node: yaml.Node, sentence: str) -> ConfigError:
        return ConfigError(f"{self._file}, line {node.start_mark.line + 1}: {sentence}")


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        return isinstance(value, list) and all(_fits(inner, each) for each in value)
    if get_args(kind):
        return any(_fits(each, value) for each in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _in_words(kind: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is list:
        return f"a list, each {_in_words(get_args(kind)[0])}"
    if get_args(kind):
        return " or ".join(_in_words(each) for each in get_args(kind))
    return "null" if kind is type(None) else words[kind]
