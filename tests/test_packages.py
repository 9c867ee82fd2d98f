"""The six packages have generic names: they must be ours, whole, and never somebody else's.

Packages named ``schema`` and ``storage`` exist on the public index; installed into the same
environment, they would replace ours without a word.
"""

import importlib
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

ROOT = Path(__file__).parents[1]
PACKAGES = ("e2e", "federation_disabled", "homeserver", "rest", "schema", "storage")
INSTALLED = {".py", ".html", ".json", ".sql"}  # [options.package_data] in setup.cfg


class ThePackages(TestCase):
    def test_each_of_the_six_is_marked_as_ours(self) -> None:
        for name in PACKAGES:
            self.assertEqual(getattr(importlib.import_module(name), "__project__", None), "hearth")

    def test_no_other_distribution_brings_one_of_these_names(self) -> None:
        owners = packages_distributions()
        for name in PACKAGES:
            self.assertLessEqual(set(owners.get(name, [])), {"hearth"}, name)

    def test_every_file_in_them_is_of_a_kind_that_gets_installed(self) -> None:
        for name in PACKAGES:
            for file in (ROOT / name).rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    self.assertIn(file.suffix, INSTALLED, file)

    def test_every_folder_with_python_files_is_a_package(self) -> None:
        for name in PACKAGES:
            for file in (ROOT / name).rglob("*.py"):
                self.assertTrue((file.parent / "__init__.py").exists(), file.parent)

    def test_the_server_refuses_to_start_with_somebody_elses_package(self) -> None:
        for name in PACKAGES:
            if name == "homeserver":
                continue  # then theirs starts, not ours
            with self.subTest(name), TemporaryDirectory() as elsewhere:
                foreign = Path(elsewhere, name)
                foreign.mkdir()
                (foreign / "__init__.py").write_text("")
                path = os.pathsep.join([elsewhere, str(ROOT)])
                start = subprocess.run(
                    [sys.executable, "-P", "-m", "homeserver", "--help"],
                    env={**os.environ, "PYTHONPATH": path},
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                self.assertNotEqual(start.returncode, 0)
                self.assertIn(name, start.stderr)
                self.assertNotIn("Traceback", start.stderr)
