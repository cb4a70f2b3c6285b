"""Build hook: the wheel carries the code that is generated from `proto/`."""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithProtos(build_py):
    """Generates `farsight/pb` before the modules are collected."""

    def run(self) -> None:
        """Generate, then build as usual."""
        generator = runpy.run_path(str(Path(__file__).parent / "proto" / "generate.py"))
        generator["generate"]()
        super().run()


setup(cmdclass={"build_py": BuildWithProtos})
