"""GGUF, the file of llama.cpp and all that is built on it (Ollama, LM Studio, llama-cpp-python ...).

Enters: the merged model. Leaves: one .gguf with tokenizer, chat template and weights, and Ollama's Modelfile.
F32, F16, BF16 and Q8_0 are written here; the K-quants are made of that by llama.cpp's llama-quantize, where it is installed.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import ExportError
from luthier.exporters.gguf_family import find_family
from luthier.exporters.gguf_header import ignored_window, write_shape
from luthier.exporters.gguf_words import find_words, write_words
from luthier.exporters.modelfile import write_modelfile
from luthier.exporters.probe import Probe, ask, compare
from luthier.exporters.safetensors import require_space
from luthier.runtime.quiet import quiet_transformers
from luthier.types import Conversation, Message

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config
    from luthier.templates.base import Template

log = logging.getLogger(__name__)

PLAIN = {"F32": 4.0, "F16": 2.0, "BF16": 2.0, "Q8_0": 1.07}
"""Formats that are written here -> bytes a weight."""

TOLERANCES = {"F32": 2e-4, "F16": 0.02, "BF16": 0.15, "Q8_0": 0.5}
"""As in probe.py; None for the rest: what a K-quant loses is its own affair, but the weights must be those (WEIGHT_ERRORS)."""

WEIGHT_ERRORS = {"2": 0.6, "3": 0.35, "4": 0.2, "5": 0.1, "6": 0.05, "8": 0.02}
"""Bits of a K-quant -> largest relative error of a tensor that the format explains."""

QUESTION = Conversation(messages=(Message(role="user", content="?"),))
"""Whose prompt tells whether the template begins with bos."""

BY_DTYPE = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class Gguf:
    """export_format: gguf."""

    merges = True
    needs_rows = False

    def __init__(self, config: Config):
        self.config = config
        self.kind = "F32"
        self._sums: dict[str, int] = {}

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        """export_gguf_type where set, else infer_dtype, else as stored."""
        import torch

        asked = self.config.export_gguf_type.upper()
        name = self.config.infer_dtype if self.config.infer_dtype != "auto" else str(stored).removeprefix("torch.")
        self.kind = BY_DTYPE[name] if asked == "AUTO" else asked
        return {kind: getattr(torch, dtype) for dtype, kind in BY_DTYPE.items()}.get(self.kind, stored)

    def check(self, shapes: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        import_gguf()
        find_family(shapes.config)
        find_words(tokenizer, shapes.get_input_embeddings().weight.shape[0])
        per_weight = PLAIN.get(self.kind)
        if per_weight is None:
            quantizer()
            per_weight = PLAIN["F32"] + 1  # the file that it is made of, and itself
        require_space(self.config, int(per_weight * sum(p.numel() for p in shapes.parameters())))
        if window := ignored_window(shapes.config):
            log.warning(
                "%s looks back %d tokens in some layers; llama.cpp looks at all of them: texts longer than that may differ.",
                shapes.config.model_type,
                window,
            )

    def write(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template, folder: Path) -> None:
        family = find_family(model.config)
        self._family, self._class, self._model_config = family, type(model), model.config
        self._words = find_words(tokenizer, model.get_input_embeddings().weight.shape[0])
        if self.kind in PLAIN:
            self._write(model, tokenizer, template, self.file(folder), self.kind)
        else:
            exact = folder / "exact.gguf"
            self._write(model, tokenizer, template, exact, "F32")
            quantize(exact, self.file(folder), self.kind)
            self._check_quantized(self.file(folder), exact)
            exact.unlink()
        context = model.config.max_position_embeddings
        write_modelfile(folder, f"./{self.file(folder).name}", tokenizer, template, context)

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        """The file's words and every weight are those that were written, and the weights give the trained model's logits."""
        from luthier.exporters.gguf_file import read_sums, read_weights
        from luthier.exporters.gguf_read import GgufContents

        file = self.file(folder)
        contents = GgufContents(file)
        if self.kind in PLAIN and read_sums(contents) != self._sums:
            raise ExportError(f"{file} does not hold the weights that were written into it.", "Check the disk.")
        for key, written in (("tokens", self._words.tokens), ("token_type", self._words.kinds)):
            if contents.fields[f"tokenizer.ggml.{key}"] != written:
                raise ExportError(f"{file} does not hold the tokenizer that was written into it.", "Check the disk.")
        with quiet_transformers():
            model = self._class.from_pretrained(
                None, config=self._model_config, state_dict=dict(read_weights(contents, self._model_config, self._family))
            )
        return compare(expected, ask(model.float(), expected.prompts), TOLERANCES.get(self.kind), folder)

    def publish(self, folder: Path) -> None: ...

    def file(self, folder: Path) -> Path:
        """Named after the folder that it ends up in: model-F16.gguf."""
        return folder / f"{Path(self.config.export_dir or 'model').expanduser().resolve().name}-{self.kind}.gguf"

    def _write(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template, file: Path, kind: str
    ) -> None:
        from luthier.exporters.gguf_file import FILE_TYPES, open_writer, write_tensors

        with open_writer(file, self._family.arch) as writer:
            writer.add_type("model")
            writer.add_name(Path(self.config.export_dir or "model").name)
            writer.add_file_type(FILE_TYPES[kind])
            writer.add_quantization_version(2)
            write_shape(writer, model.config, len(self._words.tokens))
            write_words(writer, self._words, tokenizer, template, template.encode_prompt(QUESTION))
            self._sums = write_tensors(writer, model, self._family, kind)

    def _check_quantized(self, file: Path, exact: Path) -> None:
        from luthier.exporters.gguf_file import relative_error
        from luthier.exporters.gguf_read import GgufContents

        contents = GgufContents(file)
        limits = {tensor.name: _limit(tensor.kind.name) for tensor in contents.tensors}
        errors = relative_error(contents, GgufContents(exact))
        name = max(errors, key=lambda each: errors[each] / limits[each])
        if errors[name] > limits[name]:
            raise ExportError(f"{file.name}: the weight {name} lost {errors[name]:.0%} by {self.kind}.", "Take another type.")
        log.info("%s: weights differ by %.2g relative at the most (%s)", self.kind, errors[name], name)


def _limit(kind: str) -> float:
    digits = re.search(r"\d", kind)
    return 1e-3 if kind in ("F32", "F16") else 0.01 if kind == "BF16" else WEIGHT_ERRORS.get(digits[0] if digits else "2", 0.6)


def import_gguf() -> None:
    """Raise ExportError where the package gguf is missing."""
    from importlib.util import find_spec

    if find_spec("gguf") is None:
        raise ExportError("GGUF needs the package gguf.", "pip install gguf")


def quantizer() -> str:
    """llama.cpp's program. Raises ExportError where it is not installed."""
    program = shutil.which("llama-quantize")
    if program is None:
        raise ExportError(
            "K-quants are made by llama.cpp's program llama-quantize, which is not installed.",
            f"Install llama.cpp, or set export_gguf_type to one of {', '.join(PLAIN).lower()}.",
        )
    return program


def quantize(exact: Path, file: Path, kind: str) -> None:
    """llama-quantize exact file kind. Raises ExportError with what it said where it fails."""
    done = subprocess.run([quantizer(), str(exact), str(file), kind], capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.strip().splitlines()[-1:])
        raise ExportError(f"llama-quantize could not make {kind}: {said}", "Take another export_gguf_type.")
