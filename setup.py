"""What pyproject.toml cannot say."""

from pathlib import Path

from setuptools import setup
from setuptools.command.egg_info import egg_info


class EggInfo(egg_info):
    """Lists one of the two top-level packages only."""

    def run(self) -> None:
        """Write the usual files, and `top_level.txt` without `mfenv`.

        Metaflow looks there for extensions, and for the distribution of each module that it puts into a code package;
        when it finds one, in an environment that is reached through a symbolic link, it ends every run with "is not
        contributing to module" (2.16 to 2.19, `_module_files`). When it finds none, it takes the module's folder.
        """
        super().run()
        Path(self.egg_info, "top_level.txt").write_text("metaflow_extensions\n", encoding="utf-8")


setup(cmdclass={"egg_info": EggInfo})
