"""Questions and answers without a model: headings, definitions, announced steps, tables, terms and FAQs of the source itself.

Enters: the text of a document and its chunks. Leaves: pairs for each chunk; every answer is source text (but for images and
inner links), and its evidence is the span it was taken from. It invents nothing and understands nothing: an honest baseline.
The wording lies in extract.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from luthier.documents.base import Block, Chunk, Evidence, Pair
from luthier.documents.blocks import find_blocks
from luthier.documents.chunk import MARKUP, heading_title
from luthier.documents.clean import as_answer
from luthier.documents.sentences import sentence_ends

LEAST_ANSWER = 12
MOST_ANSWER = 1500
MOST_ROWS = 8
TERM = re.compile(
    r"^\s*(?:[-*+]|\d+[.)])\s+(?:\*\*(?P<bold>[^*\n]{2,40})\*\*|`(?P<code>[^`\n]{2,40})`)\s*(?:[:：\-–—]|是|is\b)\s*(?P<words>\S.{11,})$"
)
TURN = re.compile(r"^\*\*(User|Assistant)\*\* \([^\n]*?\): (.*)$")
NUMBER = re.compile(
    r"^(?:\d+(?:\.\d+)*\\?[.、)]?|第[一二三四五六七八九十百零\d]+[章节篇条部分]+|[一二三四五六七八九十]+、|[(（][\d一二三四五六七八九十]+[)）])[\s\u3000:：]*"
)
ARTICLE = re.compile(r"(?:An?|The)\s+")
BOLD_QUESTION = re.compile(r"\*\*[^*\n]{4,120}[?？]\s*\*\*")
SECTION_NUMBER = re.compile(r"[\d.\s]+")
ING = re.compile(r"^\w+ing$")


class Section(NamedTuple):
    """path: headings, this one last.  blocks: the body.  start: of the heading, or of the body where there is none."""

    path: tuple[str, ...]
    blocks: list[Block]
    start: int


def extract_pairs(text: str, chunks: Sequence[Chunk], language: str, title: str, limit: int = 8) -> list[list[Pair]]:
    """The pairs of each chunk. limit: at most so many a chunk; those of whole sections come first."""
    table = _table()
    words = table[language]
    sections = list(_sections(text))
    found: list[list[Pair]] = []
    first = 0
    for chunk in chunks:
        while first < len(sections) and _end(sections[first]) <= chunk.start:
            first += 1
        pairs: list[tuple[int, Pair]] = []
        at = first
        while at < len(sections) and sections[at].start < chunk.end:
            section = sections[at]
            whole = chunk.start <= section.start and _end(section) <= chunk.end
            inside = [block for block in section.blocks if chunk.start <= block.start and block.end <= chunk.end]
            begins = chunk.start <= section.start
            pairs += _of_section(text, section, inside, (whole, begins), words, table, title)
            at += 1
        pairs.sort(key=lambda entry: entry[0])
        found.append([pair for _, pair in pairs[:limit]])
    return found


@cache
def _table() -> dict[str, Any]:
    table = yaml.safe_load(Path(__file__).with_name("extract.yaml").read_text(encoding="utf-8"))
    for language in ("zh", "en"):
        words = table[language]
        words["definitions"] = [re.compile(pattern) for pattern in words["definitions"]]
        words["no_terms"] = re.compile(words["no_terms"], re.IGNORECASE)
        words["intros"] = [(re.compile(pattern), question) for pattern, question in words["intros"]]
    table["question_marks"] = re.compile(table["question_marks"], re.IGNORECASE)
    table["answer_marks"] = re.compile(table["answer_marks"], re.IGNORECASE)
    return table


def _sections(text: str) -> Iterator[Section]:
    stack: list[tuple[int, str]] = []
    start, blocks = 0, []
    for block in find_blocks(text):
        level = _level(text, block)
        if level:
            if blocks:
                yield Section(tuple(title for _, title in stack), blocks, start)
            while stack and stack[-1][0] >= level:
                stack.pop()
            stack.append((level, NUMBER.sub("", heading_title(text, block)).strip()))
            start, blocks = block.start, []
        elif block.kind not in ("rule", "meta"):
            start = start if blocks or stack else block.start
            blocks.append(block)
    if blocks:
        yield Section(tuple(title for _, title in stack), blocks, start)


def _level(text: str, block: Block) -> int:
    """The level of a heading, 7 for a question in bold that stands alone, 0 for everything else."""
    if block.kind == "paragraph" and BOLD_QUESTION.fullmatch(text, block.start, block.end):
        return 7
    return block.level if block.kind == "heading" else 0


def _end(section: Section) -> int:
    return section.blocks[-1].end


def _of_section(
    text: str, section: Section, inside: list[Block], fits: tuple[bool, bool], words: dict, table: dict, title: str
) -> Iterator[tuple[int, Pair]]:
    """(rank, pair): 0 for conversations and FAQs, 1 for whole sections, 2 for what stands inside.

    fits: whether the chunk holds the whole section, and whether it holds its beginning.
    """
    path = [part for part in section.path if part]
    if turns := list(_conversations(text, inside)):
        yield from ((0, pair) for pair in turns)
        return
    whole, begins = fits
    if whole and path and (pair := _whole(text, path, section.blocks, words, title)):
        yield (0 if pair.type == "faq" else 1), pair
    elif begins and path and (opening := _opening(inside)):
        pair = _whole(text, path, opening, words, title)
        if pair and pair.type == "about":  # what a section is about stands in its first paragraphs; how to do it does not
            yield 1, pair
    about = path[-1] if path else title
    for number, block in enumerate(inside):
        if block.kind == "paragraph":
            yield from ((2, pair) for pair in _definitions(text, block, words))
            yield from ((0, pair) for pair in _marked_faq(text, block, inside[number + 1 : number + 2], table))
            if number + 1 < len(inside):
                yield from ((1, pair) for pair in _announced(text, block, inside[number + 1], words, about))
        elif block.kind == "table":
            yield from ((2, pair) for pair in _rows(text, block, words, about, table["qa_headers"]))
        elif block.kind == "list":
            yield from ((2, pair) for pair in _terms(text, block, words, about))


def _opening(inside: list[Block]) -> list[Block]:
    """The paragraphs with which a section begins."""
    found: list[Block] = []
    for block in inside:
        if block.kind != "paragraph":
            break
        found.append(block)
    return found


def _whole(text: str, path: list[str], blocks: list[Block], words: dict, title: str) -> Pair | None:
    """The section as an answer to its heading."""
    used: list[Block] = []
    for block in blocks:
        if used and block.end - used[0].start > MOST_ANSWER:
            break
        used.append(block)
    start, end = used[0].start, used[-1].end
    answer = as_answer(text[start:end])
    if len(MARKUP.sub(r"\1", answer)) < LEAST_ANSWER or len(answer) > 2 * MOST_ANSWER:
        return None
    heading = path[-1]
    question, kind = _question_of(heading, words)
    top = path[0] if len(path) > 1 else title
    generic = heading.lower() in words["generic"]
    context = path[-2] if generic and len(path) > 1 else top
    if generic and (not context or context == heading):
        return None
    if (
        kind != "faq"
        and context
        and context.lower() not in words["generic_top"]
        and context.lower() not in heading.lower()
        and context != heading
    ):
        question = words["in_top"].format(top=context, question=question)
    return Pair(question=question, answer=answer, type=kind, evidence=(_proof(text, start, end),))


def _question_of(heading: str, words: dict) -> tuple[str, str]:
    lower = heading.lower()
    if heading.endswith(("?", "？")):
        return words["faq"].format(title=heading), "faq"
    if any(lower.startswith(ask) for ask in words["asks"]):
        if lower.startswith("how to "):
            return words["how"].format(title=heading[7:]), "how-to"
        mark = "？" if "？" in words["how"] else "?"
        return f"{heading}{mark}", "faq"
    if "how_ing" in words:  # English: by the first word
        first = lower.split(" ", 1)[0].rstrip(",:")
        if first in words["verbs"] and " " in heading:
            return words["how"].format(title=heading[0].lower() + heading[1:]), "how-to"
        if ING.match(first) and " " in heading and first[:-3] in _stems(tuple(words["verbs"])):
            return words["how_ing"].format(title=heading[0].lower() + heading[1:]), "how-to"
    elif any(heading.startswith(verb) and len(heading) > len(verb) for verb in words["verbs"]) and "和" not in heading[:3]:
        return words["how"].format(title=heading), "how-to"
    return words["about"].format(title=heading), "about"


@cache
def _stems(verbs: tuple[str, ...]) -> frozenset[str]:
    """What is left of each verb when -ing is taken off: delete -> delet, set -> sett, share -> shar."""
    return frozenset(stem for verb in verbs for stem in (verb, verb.removesuffix("e"), verb + verb[-1]))


def _proof(text: str, start: int, end: int) -> Evidence:
    return Evidence(quote=text[start:end], start=start, end=end, match="exact")


def _definitions(text: str, block: Block, words: dict) -> Iterator[Pair]:
    """A paragraph that begins with "X is a ..."; the answer is its first sentence, or two where the first is short."""
    body = text[block.start : block.end]
    for pattern in words["definitions"]:
        if match := pattern.match(body):
            ends = sentence_ends(text, block.start, block.end) or [block.end]
            stop = ends[1] if ends[0] - block.start < 40 and len(ends) > 1 else ends[0]
            term = match["term"].strip('`"“” ')
            article = ARTICLE.match(term)
            bare = term[article.end() :] if article else term
            term = term[0].lower() + term[1:] if article else term
            if stop - block.start >= LEAST_ANSWER and not words["no_terms"].match(bare):
                question = words["definition"].format(term=term)
                answer = as_answer(text[block.start : stop])
                yield Pair(question=question, answer=answer, type="definition", evidence=(_proof(text, block.start, stop),))
            return


def _announced(text: str, block: Block, following: Block, words: dict, about: str) -> Iterator[Pair]:
    """A paragraph (its last sentence) that announces a list, table or code with a colon."""
    if following.kind not in ("list", "code", "table") or following.end - following.start > MOST_ANSWER:
        return
    line = MARKUP.sub(r"\1", text[block.start : block.end]).strip().rpartition("\n")[2]
    ends = [end for end in sentence_ends(line, 0, len(line)) if end < len(line)]
    line = line[ends[-1] :].strip() if ends else line
    for pattern, question in words["intros"]:
        if match := pattern.match(line):
            asked = question.format(**{key: value.strip() for key, value in match.groupdict().items()})
            answer = as_answer(text[following.start : following.end])
            if len(answer) >= LEAST_ANSWER:
                yield Pair(
                    question=asked, answer=answer, type="how-to", evidence=(_proof(text, following.start, following.end),)
                )
            return


def _rows(text: str, block: Block, words: dict, about: str, qa_headers: list[list[str]]) -> Iterator[Pair]:
    lines = _lines(text, block)
    header = [MARKUP.sub(r"\1", cell).strip() for cell in _cells(text[slice(*lines[0])])]
    is_faq = [cell.lower() for cell in header[:2]] in qa_headers
    for start, end in lines[2 : 2 + (10**9 if is_faq else MOST_ROWS)]:
        cells = [as_answer(cell.replace("<br>", " ").replace("<br/>", " ")) for cell in _cells(text[start:end])]
        if len(cells) < 2 or not cells[0] or not any(cells[1:]) or len(header) < 2:
            continue
        row = MARKUP.sub(r"\1", cells[0]).strip(' "“”「」')
        proof = (_proof(text, start, end),)
        if SECTION_NUMBER.fullmatch(row):
            continue  # a table of contents, or of measurements without names
        if is_faq:
            yield Pair(question=row, answer=cells[1], type="faq", evidence=proof)
        elif len([cell for cell in cells[1:] if cell]) == 1 and len(header) == 2 and header[1]:
            yield Pair(
                question=words["row"].format(title=about, row=row, column=header[1]),
                answer=cells[1],
                type="table",
                evidence=proof,
            )
        else:
            said = [
                words["cells"].format(column=column, cell=cell)
                for column, cell in zip(header[1:], cells[1:])
                if column and cell
            ]
            if said:
                answer = words["joined"].join(said).rstrip(".。") + words["end"]
                yield Pair(question=words["row_all"].format(title=about, row=row), answer=answer, type="table", evidence=proof)


def _lines(text: str, block: Block) -> list[tuple[int, int]]:
    found, at = [], block.start
    while at < block.end:
        stop = text.find("\n", at, block.end)
        stop = block.end if stop < 0 else stop
        found.append((at, stop))
        at = stop + 1
    return found


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _terms(text: str, block: Block, words: dict, about: str) -> Iterator[Pair]:
    for start, end in _lines(text, block):
        if match := TERM.match(text[start:end]):
            term = (match["bold"] or match["code"]).strip(" :：")
            question = words["term"].format(term=term, title=about)
            yield Pair(
                question=question, answer=as_answer(match["words"]), type="definition", evidence=(_proof(text, start, end),)
            )


def _marked_faq(text: str, block: Block, following: list[Block], table: dict) -> Iterator[Pair]:
    """Q: ... A: ... in one paragraph or in two."""
    question, start, said = "", -1, []
    lines = _lines(text, block) + ([line for other in following if other.kind == "paragraph" for line in _lines(text, other)])
    last = start
    for begin, end in lines:
        line = text[begin:end]
        if asked := table["question_marks"].match(line):
            if question and said:
                break
            question, start, said = asked["words"].strip(), begin, []
        elif question and (answered := table["answer_marks"].match(line)):
            said, last = [answered["words"]], end
        elif said:
            said.append(line)
            last = end
    answer = as_answer("\n".join(said))
    if question and start < block.end and len(answer) >= 2:
        yield Pair(question=question, answer=answer, type="faq", evidence=(_proof(text, start, last),))


def _conversations(text: str, inside: list[Block]) -> Iterator[Pair]:
    """Turns as chatlog.py writes them, as one dialogue; a chunk that begins in the middle begins with the next question."""
    turns, start, end = [], -1, -1
    for block in inside:
        match = TURN.match(text[block.start : block.end]) if block.kind == "paragraph" else None
        if match is None or (not turns and match[1] != "User"):
            continue
        start = block.start if start < 0 else start
        turns.append((match[1], match[2].strip(), block.end))
    while turns and turns[-1][0] != "Assistant":
        turns.pop()
    if turns:
        end = turns[-1][2]
        said = [{"role": role.lower(), "content": words} for role, words, _ in turns]
        extra = {"turns": said} if len(said) > 2 else {}
        yield Pair(
            question=said[0]["content"],
            answer=said[-1]["content"],
            type="dialogue",
            evidence=(_proof(text, start, end),),
            extra=extra,
        )
