"""Imports run one way: ``rest`` -> ``homeserver``, ``e2e`` -> ``storage``; the leaves serve all."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "schema": set[str](),
    "federation_disabled": {"schema"},
    "storage": {"schema"},
    "homeserver": {"storage", "schema", "federation_disabled"},
    "e2e": {"storage", "schema", "federation_disabled"},
    "rest": {"homeserver", "e2e", "schema", "federation_disabled"},
}
# The composition root and the command line see everything, and nobody else imports them back.
TOP = ("homeserver.app", "homeserver.__main__", "homeserver.cli")
# Refusals are made above storage, which answers None or False. That the database itself is out of
# reach, or that too much waits for it, is what only storage knows.
REFUSALS_OF_STORAGE = {"schema.errors.Unavailable", "schema.errors.Overloaded"}


class Sources:
    """The modules of the six packages under ``root``, and what each of them imports of ours."""

    def __init__(self, root: Path) -> None:
        files = [file for package in MAY_IMPORT for file in (root / package).rglob("*.py")]
        self._files = {_module_name(file.relative_to(root)): file for file in files}
        self.bare: list[str] = []
        self.refusals_of_storage: list[str] = []
        self.imports = {name: self._imports_of(name) for name in sorted(self._files)}

    def _imports_of(self, module: str) -> set[str]:
        found: set[str] = set()
        for node in ast.walk(ast.parse(self._files[module].read_text("utf-8"))):
            if isinstance(node, ast.Import):
                ours = {alias.name for alias in node.names if _package(alias.name) in MAY_IMPORT}
                self.bare += [
                    f"{module}: import {name}" for name in sorted(ours & MAY_IMPORT.keys())
                ]
                found |= ours
            elif isinstance(node, ast.ImportFrom):
                source = self._source(module, node)
                if _package(source) in MAY_IMPORT:
                    found |= {self._module(source, alias.name) for alias in node.names}
                    if _package(module) == "storage":
                        names = {f"{source}.{alias.name}" for alias in node.names}
                        self.refusals_of_storage += [
                            f"{module}: {name}"
                            for name in sorted(names - REFUSALS_OF_STORAGE)
                            if name.startswith("schema.errors")
                        ]
        return found

    def _source(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        is_package = self._files[module].name == "__init__.py"
        here = module.split(".")
        base = here[: len(here) - node.level + is_package]
        return ".".join([*base, *([node.module] if node.module else [])])

    def _module(self, source: str, name: str) -> str:
        """``from source import name``: the module ``source.name``, or something in ``source``."""
        return f"{source}.{name}" if f"{source}.{name}" in self._files else source


def violations(root: Path) -> list[str]:
    """Every import under ``root`` that breaks the rule, as a sentence."""
    sources = Sources(root)
    found = [f"{line}: write `from ... import ...`" for line in sources.bare]
    found += [f"{line}: refusals are made above storage" for line in sources.refusals_of_storage]
    for module, imports in sources.imports.items():
        package = _package(module)
        for imported in sorted(imports):
            if _is_top(module):
                continue
            if _is_top(imported):
                found.append(f"{module} imports {imported}, which nobody imports back")
            elif _package(imported) not in MAY_IMPORT[package] | {package}:
                found.append(f"{module} imports {imported}: {package} may not")
    try:
        TopologicalSorter(sources.imports).prepare()
    except CycleError as error:
        found.append("imports in a circle: " + " <- ".join(error.args[1]))
    return found


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_top(module: str) -> bool:
    return any(module == top or module.startswith(top + ".") for top in TOP)


def _module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class ImportsRunOneWay(TestCase):
    def test_in_our_sources(self) -> None:
        self.assertEqual(violations(ROOT), [])

    def test_planted_violations_are_found(self) -> None:
        planted = {
            "e2e/devices.py": "def f():\n from homeserver import sync",
            "federation_disabled/a.py": "from .b import x",
            "federation_disabled/b.py": "from .a import y",
            "homeserver/app.py": "from rest.rooms import allowed",
            "homeserver/cli/users.py": "from homeserver.app import allowed",
            "homeserver/push.py": "import storage",
            "homeserver/sync/parts.py": "from .. import app",
            "rest/rooms.py": "from storage.rooms import find",
            "schema/ids.py": "from federation_disabled.ours import x",
            "storage/media.py": "from schema.errors import NotFound",
            "storage/rooms.py": "from schema import errors",
            "storage/store.py": "from schema.errors import Unavailable",
        }
        with TemporaryDirectory() as folder:
            for name, source in planted.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(source)
            found = sorted(violations(Path(folder)))
        self.assertEqual(
            found,
            [
                "e2e.devices imports homeserver: e2e may not",
                "homeserver.push: import storage: write `from ... import ...`",
                "homeserver.sync.parts imports homeserver.app, which nobody imports back",
                "imports in a circle: federation_disabled.a <- federation_disabled.b"
                " <- federation_disabled.a",
                "rest.rooms imports storage.rooms: rest may not",
                "schema.ids imports federation_disabled.ours: schema may not",
                "storage.media: schema.errors.NotFound: refusals are made above storage",
                "storage.rooms: schema.errors: refusals are made above storage",
            ],
        )
