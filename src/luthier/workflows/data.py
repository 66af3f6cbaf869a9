"""Everything `luthier data` does: list, inspect, register, convert. (check is in data_check.py.)

Enters: a configuration, or names and paths. Leaves: plain records for the command line and the web page to show.
Never prints, never trains, never changes a data file that exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.config import Config
from luthier.datasets.guess import guess_raw
from luthier.datasets.info import SOURCE_KEYS, parse_entry
from luthier.datasets.lookup import INFO_FILE, find_entry, load_info, read_info
from luthier.datasets.read import SampleSet, read_samples, samples_of
from luthier.datasets.sources.local import find_files
from luthier.datasets.texts import plain
from luthier.datasets.write import entry_for, rows_of, write_rows
from luthier.errors import DataError
from luthier.runtime.files import write_atomic
from luthier.types import IGNORE_INDEX, Conversation, Encoded, Preference, Rated, Sample, Segment, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.stages.base import Stage
    from luthier.templates.base import Template

SAMPLE_OF: Mapping[str, type[Sample]] = {
    "conversation": Conversation,
    "preference": Preference,
    "rated": Rated,
    "text": Text,
}
STAGE_OF: Mapping[type[Sample], str] = {Conversation: "sft", Preference: "dpo", Rated: "kto", Text: "pt"}
REGISTER_SHOWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of `data list`. problem: why the set cannot be read, None if its files are there."""

    name: str
    holds: str
    formatting: str
    where: str
    num_bytes: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text that decodes by itself: usually one token. weight: its loss factor, 0 where it is not learned."""

    text: str
    ids: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One sample as it is, and as the stage sees it. segments: None without a model; empty where nothing is left to learn."""

    number: int
    sample: Sample
    plain: Mapping[str, Any]
    segments: tuple[Segment, ...] | None = None
    pieces: tuple[tuple[Piece, ...], ...] = ()
    cut_tokens: int = 0


def list_datasets(dataset_dir: str) -> list[Listed]:
    """All entries of dataset_info.json, with what is wrong with them."""
    info, where, base = load_info(dataset_dir)
    if not info:
        raise DataError(f"no dataset is registered in {where}.", "Register one: luthier data register FILE")
    return [_listed(name, raw, base, where) for name, raw in info.items()]


def _listed(name: str, raw: Any, base: str, where: str) -> Listed:
    try:
        entry = parse_entry(name, raw, base=base, where=where)
    except DataError as error:
        return Listed(name=name, holds="?", formatting="?", where="?", problem=error.message)
    line = {"name": name, "holds": entry.holds, "formatting": entry.formatting}
    if entry.source != "file_name":
        return Listed(**line, where=f"{entry.source.split('_')[0]}: {entry.location}")
    try:
        files = find_files(entry.location, entry.base, entry.encoding, name)
    except DataError as error:
        return Listed(**line, where=entry.location, problem=error.message)
    return Listed(**line, where=entry.location, num_bytes=sum(Path(file.path).stat().st_size for file in files))


def read_as_it_is(config: Config, names: Sequence[str] | None = None) -> tuple[SampleSet, type[Sample]]:
    """The samples of config.dataset in the class that its rows hold (that of config.stage where the user set one)."""
    names = names or config.dataset
    if not names:
        raise DataError("no dataset was given.", "Add --dataset NAME (registered, or a path).")
    if "stage" in config.model_fields_set:
        from luthier.stages import STAGES

        wants = STAGES[config.stage](config).sample
    else:
        wants = SAMPLE_OF[find_entry(names[0], config.dataset_dir).holds]
    return read_samples(config, names, wants=wants), wants


def inspect(config: Config, first: int = 1, limit: int = 1) -> Iterator[Inspected]:
    """Samples first .. first + limit - 1 (from 1). With model_name_or_path also as the tokens that the stage sees."""
    samples, wants = read_as_it_is(config)
    encoder = _Encoder(config, wants) if config.model_name_or_path else None
    shown = 0
    for number, sample in enumerate(islice(samples, first - 1, first - 1 + limit), start=first):
        shown += 1
        if encoder is None:
            yield Inspected(number=number, sample=sample, plain=plain(sample))
        else:
            yield encoder.inspect(number, sample)
    if not shown:
        raise DataError(f"there is no sample {first}: the data has {samples.counts.kept}.", "Give a smaller --sample.")


class _Encoder:
    """Samples to what the stage makes of them."""

    def __init__(self, config: Config, wants: type[Sample]):
        self.tokenizer, self.template, self.stage = encoder_parts(config, wants)

    def inspect(self, number: int, sample: Sample) -> Inspected:
        encoded: list[Encoded] = self.stage.encode([sample], self.template)[0]
        segments = tuple(segment for item in encoded for segment in item.segments)
        return Inspected(
            number=number,
            sample=sample,
            plain=plain(sample),
            segments=segments,
            pieces=tuple(tuple(cut_in_pieces(self.tokenizer, segment)) for segment in segments),
            cut_tokens=sum(item.cut_tokens for item in encoded),
        )


def encoder_parts(config: Config, wants: type[Sample]) -> tuple[PreTrainedTokenizerBase, Template, Stage]:
    """Tokenizer, template and stage: of config where the user set a stage, else the stage that learns from wants."""
    from luthier.models.tokenizer import load_tokenizer
    from luthier.stages import STAGES
    from luthier.templates import find_template

    if "stage" not in config.model_fields_set:
        config = config.model_copy(update={"stage": STAGE_OF[wants]})
    tokenizer = load_tokenizer(config)
    return tokenizer, find_template(config, tokenizer), STAGES[config.stage](config)


def cut_in_pieces(tokenizer: PreTrainedTokenizerBase, segment: Segment) -> Iterator[Piece]:
    """The tokens as text; tokens that are bytes of one character stay together, so that every piece can be read."""
    waiting: list[int] = []
    for at, token in enumerate(segment.input_ids.tolist()):
        waiting.append(token)
        text = tokenizer.decode(waiting, skip_special_tokens=False)
        ends = at + 1 == segment.num_tokens
        if "\ufffd" in text and len(waiting) < 6 and not ends and _learned(segment, at) == _learned(segment, at + 1):
            continue
        weight = 1.0 if segment.weights is None else float(segment.weights[at])
        yield Piece(text=text, ids=tuple(waiting), weight=weight if _learned(segment, at) else 0.0)
        waiting = []


def _learned(segment: Segment, at: int) -> bool:
    return bool(segment.labels[at] != IGNORE_INDEX)


def register(
    location: str | Path,
    *,
    name: str | None = None,
    dataset_dir: str = "data",
    columns: Mapping[str, str] | None = None,
    formatting: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> tuple[str, dict[str, Any], list[Mapping[str, Any]]]:
    """Guess what a file, folder, glob or URL holds, prove it on its first rows, write it into dataset_info.json.

    Returns name, the entry as written, and the first samples as plain JSON. Raises DataError for a name that is taken
    (unless overwrite) and where the first rows cannot be read; then nothing is written.
    """
    location = str(location)
    name = name or Path(location.split("?")[0]).name.split(".")[0]
    info_file = Path(dataset_dir) / INFO_FILE
    info = read_info(info_file) if info_file.is_file() else {}
    if name in info and not overwrite:
        raise DataError(f'"{name}" is registered in {info_file} already.', "Choose another --name, or add --overwrite.")
    if formatting or columns:
        raw = {"formatting": formatting or "alpaca", "columns": dict(columns or {})}
    else:
        raw = guess_raw(name, location)
    where = {"cloud_file_name": location} if "://" in location else {"file_name": _relative(Path(location), Path(dataset_dir))}
    raw = where | {key: value for key, value in raw.items() if key not in SOURCE_KEYS}
    if "columns" in raw:
        raw["columns"] = {key: column for key, column in raw["columns"].items() if column}
    entry = parse_entry(name, raw, base=dataset_dir, where=str(info_file))
    samples = samples_of([entry], Config(dataset=[name]), SAMPLE_OF[entry.holds])
    shown = [plain(sample) for sample in islice(samples, REGISTER_SHOWS)]
    if not dry_run:
        info_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(info_file, json.dumps({**info, name: raw}, ensure_ascii=False, indent=2) + "\n")
    return name, raw, shown


def _relative(path: Path, folder: Path) -> str:
    """path as dataset_info.json in folder writes it: relative inside folder, absolute elsewhere."""
    path, folder = path.expanduser().resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def convert(config: Config, formatting: str, output: Path, *, overwrite: bool = False) -> tuple[int, dict[str, Any]]:
    """Write config.dataset in another format, row by row. Returns the number of rows and the dataset_info.json entry for it."""
    if output.exists() and not overwrite:
        raise DataError(f"{output} exists already.", "Choose another --output, or add --overwrite.")
    samples, wants = read_as_it_is(config)
    sources = {Path(file.path).resolve() for one in samples.sets for file in getattr(one.source, "files", [])}
    if output.resolve() in sources:
        raise DataError(f"{output} is one of the files that are read.", "Choose another --output.")
    count = write_rows(output, rows_of(samples, formatting, wants))
    return count, entry_for(formatting, wants, output.name)
