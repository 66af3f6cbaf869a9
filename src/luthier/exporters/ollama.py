"""A GGUF and its Modelfile, given to Ollama where that is installed (`ollama create`).

Enters: the merged model. Leaves: what Gguf leaves, and the model's name in Ollama.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from pathlib import Path

from luthier.errors import ExportError
from luthier.exporters.gguf import Gguf
from luthier.exporters.modelfile import NAME

log = logging.getLogger(__name__)


class Ollama(Gguf):
    """export_format: ollama."""

    def publish(self, folder: Path) -> None:
        """ollama create NAME, named after the folder. Where Ollama is not here, say what to type where it is."""
        name = re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower())
        command = ["ollama", "create", name, "-f", str(folder / NAME)]
        if shutil.which("ollama") is None:
            log.warning("Ollama is not installed here. Where it is: cd %s && ollama create %s -f %s", folder, name, NAME)
            return
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).strip().splitlines()[-1:])
            raise ExportError(f"the model is in {folder}, but ollama create failed: {said}", "Is `ollama serve` running?")
        log.info("Ollama has it: ollama run %s", name)
