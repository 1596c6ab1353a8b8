"""Records of CSV and TSV, read whole or as a stream, and what is odd about them.

By the standard library: polars refuses a bare quote inside a text (27" wide), and takes some quotes
that are never closed for one long text, which swallows rows in silence.
"""

from __future__ import annotations

import csv
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ampmix._support.wording import counted
from ampmix.data.tables.columns import KNOWN
from ampmix.data.tables.swallowed import MOST, Swallowed
from ampmix.data.tables.table import fault, shown
from ampmix.data.tables.unpacked import suffix_of

MOST_COLUMNS = 2**14  # a row of a few bytes costs as much as the header when it is written again
LONGEST_FIELD = 2**26  # characters: a quote that is never closed must not swallow a whole stream
SAMPLE, HELD = 64, 2**20  # lines from which a form is guessed, and characters of them

Lines = Iterator[tuple[int, str]]
"""Lines with their ends, and their numbers."""

Rows = Iterator[tuple[int, list[str]]]
"""Rows of fields, and the lines where they begin."""

_NAMES = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


@dataclass(frozen=True)
class CsvForm:
    """The way in which a file is written."""

    delimiter: str
    blanks: bool = False  # after every delimiter, and before quotes


@dataclass
class Opened:
    """A file whose header was read.

    Attributes:
        columns: what stands in its first line.
        rows: its rows as they are read, each with the line where it begins; none is longer than the
            header. For a row that repeats it, as where files were joined end to end, `columns`
            itself stands.
        repeat: the line of the first of those read so far.
        repeated: how many there were.
        unnamed: rows read so far that hold something in columns without a name.
    """

    path: Path
    columns: list[str]
    form: CsvForm
    end: str
    notes: list[str]
    rows: Rows
    swallowed: Swallowed
    repeat: int = 0
    repeated: int = 0
    unnamed: int = 0

    def later(self) -> list[str]:
        """Notes on the rows that were read."""
        name, notes = self.path.name, []
        if self.repeated == 1:
            notes.append(f"line {self.repeat} of {name} repeats the header and is left out")
        elif self.repeated:
            notes.append(
                f"{counted(self.repeated, 'line')} of {name} repeat the header and are left out, "
                f"the first of them line {self.repeat}"
            )
        if self.unnamed:
            notes.append(
                f"{counted(self.unnamed, 'row')} of {name} hold something in columns without a "
                "name, which is not read: name them in the first line if it is wanted"
            )
        return notes + self.swallowed.notes(name)


def _bare(field: str) -> str:
    return field.strip("\ufeff \t").lower()


def opened(path: Path, lines: Lines, longest: int = LONGEST_FIELD, at_once: int = 1) -> Opened:
    """Read the header, and guess from some lines how the file is written.

    Args:
        path: of the file, for messages.
        lines: of the file.
        longest: characters of a field.
        at_once: rows that are read ahead; several only of a file that is in memory.

    Raises AmpmixError, with the line, for what cannot be read; so do the rows.
    """
    number, first = _next_line(lines)
    notes: list[str] = []
    told = re.fullmatch(r'"?sep=([^"\r\n\x00])"?[\s,;]*', first, re.IGNORECASE)
    if told is not None:
        delimiter = told[1]
        what = _NAMES.get(delimiter, f"{delimiter!r} between columns")
        notes.append(f"{path.name} is read with {what}, as its first line says")
        number, first = _next_line(lines)
        if not first:
            raise fault(path, "has nothing after its first line, which says what parts columns")
    else:
        delimiter, notes = delimiter_of(path, first)
    sample = _sample(lines, longest)
    _check_kind(path, first, sample)
    blanks = _blank_before_quotes(delimiter, [first, *(line for _, line in sample)])
    form = CsvForm(delimiter, blanks)
    everything = itertools.chain([(number, first)], sample, lines)
    records = _records(path, everything, form, longest, at_once)
    _, columns = next(records)
    if problem := fault_of_names(columns):
        raise fault(path, problem)
    end = "\r\n" if first.endswith("\r\n") else "\n"
    return _made(path, columns, form, end, notes, records)


def _check_kind(path: Path, first: str, sample: Sequence[tuple[int, str]]) -> None:
    """Raise AmpmixError if the first lines are those of JSON or of a web page."""
    if re.match(r"\s*<(!doctype html|html|\?xml)\b", first, re.IGNORECASE):
        raise fault(path, "is a web page or XML: write its texts as .csv")
    if first.lstrip()[:1] in ("{", "["):
        start = first.strip() + "".join(line for _, line in sample[:1]).strip()
        if re.match(r"(\[\s*)?\{\s*(\"[^\"]*\"\s*:|$)", start):
            suffix = ".jsonl" if start[0] == "{" else ".json"
            raise fault(path, f"is JSON: give it a name that ends in {suffix}")


def of_rows(path: Path, rows: Sequence[list[str]], notes: list[str]) -> Opened:
    """Take rows that come from elsewhere, the first of which is the header."""
    columns = list(rows[0]) + [""] * (max(map(len, rows)) - len(rows[0]))
    if problem := fault_of_names(columns):
        raise fault(path, problem)
    numbered = enumerate(rows[1:], start=2)
    return _made(path, columns, CsvForm(","), "\n", notes, iter(numbered))


def _made(
    path: Path,
    columns: list[str],
    form: CsvForm,
    end: str,
    notes: list[str],
    records: Rows,
) -> Opened:
    first, records = ahead(records, 20)
    if _rows_are_named(columns, [row for _, row in first]):
        columns = ["", *columns]
    swallowed = Swallowed(len(columns), form.delimiter)
    made = Opened(path, columns, form, end, notes, iter(()), swallowed)
    made.rows = _rows(made, records)
    return made


def _next_line(lines: Lines) -> tuple[int, str]:
    """The next line that is not blank, "" if there is none."""
    return next((line for line in lines if line[1].strip()), (1, ""))


def _sample(lines: Lines, longest: int) -> list[tuple[int, str]]:
    """The next lines, few enough to be held."""
    sample, size = [], 0
    for line in itertools.islice(lines, SAMPLE):
        sample.append(line)
        size += len(line[1])
        if size > min(HELD, longest):
            break
    return sample


def _rows_are_named(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return True if numbers stand before the rows with no name above them, as R writes them."""
    counted_up = all(row[0] == str(number) for number, row in enumerate(rows, start=1))
    wider = all(len(row) == len(columns) + 1 for row in rows)
    return wider and counted_up and any(row[-1].strip() for row in rows)


def ahead(rows: Rows, most: int) -> tuple[list[tuple[int, list[str]]], Rows]:
    """Some of the next rows, few enough to be held, and all rows, them included."""
    first, size = [], 0
    for row in itertools.islice(rows, most):
        first.append(row)
        size += sum(map(len, row[1]))
        if size > HELD:
            break
    return first, itertools.chain(first, rows)


def _rows(of: Opened, records: Rows) -> Rows:
    """The rows, checked against the header."""
    width = len(of.columns)
    unnamed = [i for i, name in enumerate(of.columns) if i and not name.strip()]
    names = [_bare(name) for name in of.columns]
    long = len(of.columns[0]) + 8 if any(names) else -1  # characters; more is not looked at
    count = 0
    for line, row in records:
        if len(row) > width:
            if any(field.strip() for field in row[width:]):
                raise fault(of.path, _too_wide(line, row, width, of.form))
            row = row[:width]
        if len(row[0]) < long and list(map(_bare, row)) == names:
            of.repeat = of.repeat or line
            of.repeated += 1
            yield line, of.columns
            continue
        if unnamed and any(i < len(row) and row[i].strip() for i in unnamed):
            of.unnamed += 1
        count += 1
        if count < MOST or not count % 16:
            of.swallowed.keep(row)
        for field in row:
            if "\n" in field:
                of.swallowed.suspect(line, row)
                break
        yield line, row


def _too_wide(line: int, row: Sequence[str], width: int, form: CsvForm) -> str:
    problem = f"has {len(row)} fields in line {line} but {width} in its header: "
    if any(field.lstrip().startswith('"') for field in row):
        return problem + 'leave out the blank before ", or have one in every row'
    if width == 1:
        problem += "leave that line out if it names no columns, or "
    return problem + 'put "" around texts that hold the delimiter'


def delimiter_of(path: Path, header: str) -> tuple[str, list[str]]:
    """Delimiter of a CSV or TSV file, and a note if its name promises another."""
    named = suffix_of(path) == ".tsv"
    if named and ("\t" in header or not _names_columns(header)):
        return "\t", []
    header = re.sub('"[^"]*("|$)', "", header)  # inside quotes nothing parts columns
    if "," in header or not any(one in header for one in ";\t|"):
        return ",", [f"{path.name} is read with {_NAMES[',']}"] * named
    delimiter = max(";\t|", key=header.count)
    return delimiter, [f"{path.name} is read with {_NAMES[delimiter]}"]


def _names_columns(header: str) -> bool:
    """Return True if a line holds the usual name of a column beside others, whatever parts them."""
    names = re.split("[,;|]", header)
    return len(names) > 1 and any(name.strip().strip('"').lower() in KNOWN for name in names)


def _blank_before_quotes(delimiter: str, lines: Sequence[str]) -> bool:
    """Return True if a blank follows every delimiter of the rows, and quotes follow some."""
    if delimiter in " \t":
        return False
    part = re.escape(delimiter)
    if not any(re.search(f'{part} +"', line) for line in lines[1:]):
        return False
    rows = re.sub(f'(^|{part}) *"(?:[^"]|"")*"', r"\1 ", "".join(lines[1:]), flags=re.MULTILINE)
    return not re.search(f"{part}(?! |{part}|\r?$)", rows, re.MULTILINE)


def fault_of_names(columns: Sequence[str]) -> str:
    """Problem of a header, to go after the file's name in a message; "" if there is none."""
    if len(columns) > MOST_COLUMNS:
        return (
            f"has {len(columns):,} columns: at most {MOST_COLUMNS:,} are read; leave some out, or "
            "check what parts them"
        )
    if len(set(columns)) < len(columns):
        twice = [name for name, count in Counter(columns).items() if count > 1 and name.strip()]
        return f"has two columns named {shown(twice[0])}: rename one" if twice else ""
    return ""


def _records(path: Path, lines: Lines, form: CsvForm, longest: int, at_once: int) -> Rows:
    """Records that are not blank, each with the line where it begins."""
    begin, first = next(lines)
    before, read = begin, 0  # its number, and the characters of the record so far

    def feed() -> Iterator[str]:
        nonlocal read
        for _, line in itertools.chain([(begin, first)], lines):
            read += len(line)
            if read > 2 * longest:
                raise fault(
                    path,
                    f"has a record of more than {2 * longest >> 20} million characters in "
                    f"line {begin}: close its quotes",
                )
            yield line

    # of a file that is in memory no record is too long
    whole = itertools.chain([first], map(operator.itemgetter(1), lines))
    reader = csv.reader(
        whole if at_once > 1 else feed(),
        delimiter=form.delimiter,
        strict=True,
        skipinitialspace=form.blanks,
    )
    while True:
        some: list[tuple[int, list[str]]] = []
        taken = 0  # records, blank ones too
        limit = csv.field_size_limit(min(longest, 2**31 - 1))  # that nobody else sees
        try:
            for record in itertools.islice(reader, at_once):
                taken += 1
                if record:
                    some.append((begin, record))
                begin, read = before + reader.line_num, 0
        except csv.Error as error:
            raise fault(
                path,
                f"has a quote that goes wrong in line {max(begin, 1)} ({error}): close it, and "
                'write a quote inside a quoted text as ""',
            ) from None
        finally:
            csv.field_size_limit(limit)
        yield from some
        if taken < at_once:
            return
