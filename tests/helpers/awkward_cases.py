"""Inputs as people have them, after public bug reports: what is run, and what is right.

Each file of ``tests/data/awkward`` stands here under its name, with two siblings that have the same
fault in another delimiter, format, column or language.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import unicodedata
from typing import Any, NamedTuple

import polars as pl

KINDS = ("billing", "delivery")
_OWN = ("refund invoice charge payment price receipt", "parcel courier shipping late box track")
_COMMON = "please can you help me with my order today it was not thanks again".split()  # noqa: SIM905


class Case(NamedTuple):
    """Commands with semicolons between, and what is right.

    Attributes:
        commands: what is run; files are those of `files`, else of ``tests/data/awkward``.
        said: a pattern in what the last command prints; "" if it may note nothing but that texts
            are alike.
        rows: that are read for training and development; 0 if the command fails, with one line.
        classes: of the model that is trained.
        files: name and content.
    """

    commands: str
    said: str = ""
    rows: int = 80
    classes: tuple[str, ...] = KINDS
    files: dict[str, str | bytes] = {}  # noqa: RUF012 (nobody changes it)


def _messages(n: int, seed: int = 0) -> list[tuple[str, str]]:
    """Messages of two kinds that are easy to tell apart, no two alike."""
    draws, found = random.Random(seed), []
    for i in range(n):
        words = draws.choices(_COMMON, k=5) + draws.choices(_OWN[i % 2].split(), k=2)
        found.append((f"{' '.join(draws.sample(words, 7))} {i}", KINDS[i % 2]))
    return found


ROWS = _messages(24)


def table(rows: Any, header: str = "text,label", delimiter: str = ",") -> str:
    """Rows in quotes where they must be; the header's commas become the delimiter."""
    lines = [header.replace(",", delimiter)] if header else []
    for row in rows:
        cells = (str(cell) for cell in row)
        lines.append(delimiter.join(f'"{c}"' if delimiter in c else c for c in cells))
    return "\n".join(lines) + "\n"


def json_lines(rows: Any, *names: str) -> str:
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)


def parquet(rows: Any, *names: str) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows, schema=list(names), orient="row").write_parquet(file)
    return file.getvalue()


def relabelled(*labels: Any) -> list[tuple[str, Any]]:
    """The messages with these labels in turn."""
    return [(text, labels[i % len(labels)]) for i, (text, _) in enumerate(ROWS)]


def read(
    name: str,
    content: str | bytes,
    said: str = "",
    classes: tuple[str, ...] = KINDS,
    rows: int = len(ROWS),
    options: str = "",
) -> Case:
    """A file of one's own that can be trained on."""
    return Case(f"train {name} {options}", said, rows, classes, {name: content})


def refused(name: str, content: str | bytes, said: str) -> Case:
    """A file of one's own that cannot."""
    return Case(f"train {name}", said, 0, files={name: content})


def then(command: str, name: str, content: str | bytes, said: str, train: str = "a.csv") -> Case:
    """A command on a file of one's own, with a model of the messages."""
    files = {"a.csv": table(ROWS), name: content}
    return Case(f"train {train}; {command}", said, len(ROWS), files=files)


_SIX = ("BILLING", "Billing", "DELIVERY", "Delivery", "billing", "delivery")
_TWICE = [(text.upper() if i % 2 else f"  {text}", y) for i in range(2) for text, y in ROWS]
_THREADS = [(f"u{i // 3}", f"{ROWS[i // 3][0]} again and {i}", "xy"[i // 3 % 2]) for i in range(60)]
_TITLES = [(text, f"dear team number {i}", y) for i, (text, y) in enumerate(_messages(60, 3))]
_SUBJECTS = [(body, title, y) for title, body, y in _TITLES]
_SWALLOWED = [(y, i, '"' * (i == 3) + text + '"' * (i == 8)) for i, (text, y) in enumerate(ROWS)]
_RUSSIAN = [f"где моя посылка{'!' * i}" for i in range(24)]
_BURMESE = [(f"ငါ့အထုပ်{chr(0x1000 + i)}", "ab"[i % 2]) for i in range(24)]
_SYMBOLS = [(f"{chr(0x2654 + i % 12)}{chr(0x2600 + i)}", "ab"[i % 2]) for i in range(24)]
_RARE = [(f"{ROWS[i % 24][0]} {i}", "bad" if i % 25 == 0 else "good") for i in range(150)]
_THREE = [(f"{i}", text, y) for i, (text, y) in enumerate(ROWS)]
_NFD = [unicodedata.normalize("NFD", one) for one in ("Zürich", "Genève")]


MINILM = "--backbone minilm --steps 1 --max-length 16"
BOTH = r"(?=.*[,;\t]billing[,;\t]\d)(?=.*[,;\t]delivery[,;\t]\d)(?!.*note)"
TITLED = "train title_and_text.csv --text title --steps 60 --lr 1e-2"
SUBJECT = "train a.jsonl --text subject --steps 60 --lr 1e-2"
YES = ("no", "yes")

TEXTS: dict[str, Case] = {
    # texts that are equal, or nearly
    "dups.csv": Case("compare dups.csv", r"60 texts stand more than once \(300 rows\)", 300, YES),
    "equal but for case and blanks, JSON Lines": Case(
        "compare a.jsonl",
        r"24 texts stand more than once \(48 rows\)",
        48,
        files={"a.jsonl": json_lines(_TWICE, "text", "label")},
    ),
    "a model's own texts": then(
        "evaluate MODEL b.tsv", "b.tsv", table(ROWS, delimiter="\t"), "trained on 24 of 24 texts"
    ),
    "neardups.csv": Case("compare neardups.csv", "--group COLUMN keeps groups", 300, YES),
    "neardups.csv in groups": Case(
        "compare neardups.csv --group thread", "60 groups: texts of one group stay", 300, YES
    ),
    "threads of Parquet": Case(
        "train a.parquet --group user",
        "20 groups: texts of one group stay",
        60,
        ("x", "y"),
        {"a.parquet": parquet(_THREADS, "user", "text", "label")},
    ),
    # columns that a model remembers
    "title_and_text.csv": Case(f"{TITLED}; predict MODEL title_and_text_new.csv", BOTH, 120),
    "title_and_text.csv, evaluated": Case(
        f"{TITLED}; evaluate MODEL title_and_text.csv", r"(?!.*column).*Error 0\.0", 120
    ),
    "a subject beside a text, JSON Lines to semicolons": Case(
        f"{SUBJECT}; predict MODEL b.csv",
        BOTH.replace("(?!.*note)", ""),
        60,
        files={
            "a.jsonl": json_lines(_SUBJECTS, "text", "subject", "kind").replace("kind", "label"),
            "b.csv": table([row[:2] for row in _SUBJECTS], "text,subject", ";"),
        },
    ),
    "a subject that the new file lacks": Case(
        f"{SUBJECT}; predict MODEL b.csv",
        "trained on the column 'subject', which b.csv lacks: taken is 'text'",
        60,
        files={
            "a.jsonl": json_lines(_SUBJECTS, "text", "subject", "label"),
            "b.csv": table([(i, row[0]) for i, row in enumerate(_SUBJECTS)], "id,text"),
        },
    ),
    "commentbody.csv": Case("train commentbody.csv", "column 'comment'.*--text COLUMN.*'body'"),
    "a review beside a summary": read(
        "a.tsv",
        table([(a, b, y) for a, b, y in _TITLES], "summary,review,sentiment", "\t"),
        "from column 'review' and the labels from 'sentiment': --text .*'summary'",
        rows=60,
    ),
    "a tweet beside a reply, Parquet": read(
        "a.parquet",
        parquet(_TITLES, "reply", "tweet", "target"),
        "from column 'tweet' .*'reply'",
        rows=60,
    ),
    # texts that a model cannot read
    "lang_thai.csv": Case(
        f"train lang_thai.csv {MINILM}",
        "100 % of the tokens .*training texts",
        200,
        ("pay", "ship"),
    ),
    "lang_emoji.csv": Case(
        f"train lang_emoji.csv {MINILM}", "100 % of the tokens .*training", 200, ("pay", "ship")
    ),
    "Burmese": read("a.csv", table(_BURMESE), "100 % of the tokens", ("a", "b"), options=MINILM),
    "signs, JSON Lines": read(
        "a.jsonl",
        json_lines(_SYMBOLS, "text", "label"),
        "of the tokens of the training texts are unknown",
        ("a", "b"),
        options=MINILM,
    ),
    "oov.csv": Case(
        "train a.csv; predict MODEL oov.csv",
        "nothing that it knows",
        24,
        files={"a.csv": table(ROWS)},
    ),
    "Russian, JSON Lines": then(
        "predict MODEL b.jsonl",
        "b.jsonl",
        json_lines([(text,) for text in _RUSSIAN], "text"),
        "24 of 24 hold nothing that it knows",
    ),
    "Greek to evaluate": then(
        "evaluate MODEL b.csv",
        "b.csv",
        table([("πού είναι το δέμα", "billing"), ("late box", "delivery")]),
        "1 of 2 holds nothing that it knows",
    ),
    "missing_text.csv": Case(
        "train a.csv; predict MODEL missing_text.csv",
        "(?=.*2 texts are empty or missing).*1 text looks missing",
        24,
        files={"a.csv": table(ROWS)},
    ),
    "null.jsonl": Case(
        "train a.csv; predict MODEL null.jsonl",
        '"label": null.*2 texts are empty or missing',
        24,
        files={"a.csv": table(ROWS)},
    ),
    "no text in Parquet": then(
        "predict MODEL b.parquet --out c.parquet",
        "b.parquet",
        parquet([("late box",), (None,), (" ",)], "text"),
        "2 texts are empty or missing: their labels",
    ),
    "no text to evaluate, tabs": then(
        "evaluate MODEL b.tsv",
        "b.tsv",
        "text\tlabel\nlate box\tdelivery\n\tbilling\n \tbilling\nrefund\tbilling\n",
        "(?=.*2 rows without text left out).*on 2 texts",
    ),
    "nan_text.csv": Case("train nan_text.csv", "8 texts of nan_text.csv look missing: 'NaN'"),
    "texts of a spreadsheet's errors": read(
        "a.tsv",
        table([*ROWS, ("#N/A", "billing"), ("#REF!", "delivery")], delimiter="\t"),
        "2 texts of a.tsv look missing: '#N/A', '#REF!'",
        rows=26,
    ),
    "the word null, JSON Lines": read(
        "a.jsonl",
        json_lines([*ROWS, ("null", "billing"), ("None", "billing")], "text", "label"),
        "2 texts of a.jsonl look missing: 'None', 'null'",
        rows=26,
    ),
    # classes that are never found
    "rare.csv": Case(
        "compare rare.csv", "no row errs less than always answering 'ok'", 600, ("fraud", "ok")
    ),
    "rare to be found, Parquet": Case(
        "compare a.parquet --steps 40 --lr 5e-3",
        "No row finds a single text of 'bad'",
        150,
        files={"a.parquet": parquet(_RARE, "text", "label")},
    ),
    "rare numbers, with a test set": Case(
        "compare a.tsv --test b.jsonl",
        "no row errs less than always answering '0'",
        120,
        files={
            "a.tsv": table([(t, int(y == "bad")) for t, y in _RARE[:120]], delimiter="\t"),
            "b.jsonl": json_lines([(t, int(y == "bad")) for t, y in _RARE[120:]], "text", "label"),
        },
    ),
}

FORMS: dict[str, Case] = {
    # lines that are no data
    "excel_sep.csv": Case("train excel_sep.csv", "read with semicolons"),
    "sep= of bars, CRLF": read(
        "a.csv",
        "sep=|\r\n" + table(ROWS, delimiter="|").replace("\n", "\r\n"),
        "with bars, as its first line says",
    ),
    "sep= in UTF-16, packed": read(
        "a.csv.gz",
        gzip.compress(f"SEP=\t\n{table(ROWS, delimiter=chr(9))}".encode("utf-16")),
        "with tabs, as its first line says",
    ),
    "noheader.csv": Case("train noheader.csv", "no line of names"),
    "noheader.tsv": Case("train noheader.tsv", "no line of names"),
    "no names, semicolons, label first": read(
        "a.csv", table([(y, x) for x, y in ROWS], "", ";"), "no line of names"
    ),
    "no names, numbers as labels": read(
        "a.tsv.xz",
        lzma.compress(table(relabelled(1, 0), "", "\t").encode()),
        "no line of names",
        ("0", "1"),
    ),
    "quotes_swallow.csv": Case("train quotes_swallow.csv", "line 12 of .* look like rows", 75),
    "quotes_swallow.tsv": Case("train quotes_swallow.tsv", "line 12 of .* look like rows", 75),
    "rows in a text, the last column": read(
        "a.tsv", table(_SWALLOWED, "label,id,text", "\t"), "line 5 of .* look like rows", rows=19
    ),
    "rows in a text, semicolons, CRLF": read(
        "a.csv",
        table([(i, t, y) for y, i, t in _SWALLOWED], "id,text,label", ";").replace("\n", "\r\n"),
        "line 5 of .* look like rows",
        rows=19,
    ),
    # bytes of another kind than the name says
    "gz_inside.csv": Case("train gz_inside.csv", "is gzip"),
    "xz named .jsonl": read(
        "a.jsonl", lzma.compress(json_lines(ROWS, "text", "label").encode()), "is xz"
    ),
    "a workbook named .csv": refused(
        "a.csv", b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0[Content_Types].xml", "Excel workbook"
    ),
    # columns without a name, fields without a column, blanks before quotes
    "kaggle_spam.csv": Case(
        "train kaggle_spam.csv --text v2 --label v1 --encoding cp1252", "", 60, ("ham", "spam")
    ),
    "names missing in the middle, semicolons": read(
        "a.csv", table([(x, "", y, "") for x, y in ROWS], "text,,label,", ";"), "with semicolons"
    ),
    "names missing first and last, tabs": read(
        "a.tsv", table([(i, x, y, "") for i, (x, y) in enumerate(ROWS)], ",text,label,", "\t")
    ),
    "trailing_comma.csv": Case("train trailing_comma.csv"),
    "a trailing tab in some rows": read(
        "a.tsv",
        "text\tlabel\n"
        + "".join(f"{x}\t{y}" + "\t" * (i % 2) + "\n" for i, (x, y) in enumerate(ROWS)),
    ),
    "trailing semicolons": read(
        "a.csv",
        table([(x, y, "", "") for x, y in ROWS], delimiter=";"),
        "with semicolons",
        options="",
    ),
    "space_quote.csv": Case("train space_quote.csv"),
    "a blank before quotes, semicolons": read(
        "a.csv", "label; text\n" + "".join(f'{y}; "{x}; so"\n' for x, y in ROWS), "semicolons"
    ),
    "a blank before quotes around all": read(
        "a.csv", '"text", "label"\n' + "".join(f'"{x}, so", "{y}"\n' for x, y in ROWS)
    ),
}

LABELS: dict[str, Case] = {
    "case_label.csv": Case("train case_label.csv", "differ only in case", 80, _SIX),
    "case in JSON Lines": read(
        "a.jsonl",
        json_lines(relabelled("Spam", "spam", "ham"), "text", "label"),
        "differ only in case, .*: 'Spam', 'spam'",
        ("Spam", "ham", "spam"),
    ),
    "case beyond ASCII, Parquet": read(
        "a.parquet",
        parquet(relabelled("ÄRGER", "ärger", "lob"), "text", "label"),
        "differ only in case",
        ("lob", "ÄRGER", "ärger"),
    ),
    "nfd_label.csv": Case("train nfd_label.csv", "taken as one", 80, ("Café", "Überweisung")),
    "letters composed otherwise, Parquet": read(
        "a.parquet",
        parquet(relabelled("Zürich", _NFD[0], _NFD[1], "Genève"), "text", "label"),
        "taken as one: 'Genève', 'Zürich'",
        ("Genève", "Zürich"),
    ),
    "blanks around and in labels, JSON Lines": read(
        "a.jsonl",
        json_lines(relabelled("credit card", "credit\u00a0card ", "\u3000loan"), "text", "label"),
        "taken as one: 'credit card'",
        ("credit card", "loan"),
    ),
    "nan_label.csv": Case(
        "train nan_label.csv", "'nan' of 8 rows .* looks missing", 80, (*KINDS, "nan")
    ),
    "the label NULL, tabs": read(
        "a.tsv",
        table(relabelled("a", "b", "NULL"), delimiter="\t"),
        "'NULL' of 8 rows .* looks missing",
        ("NULL", "a", "b"),
    ),
    "the label N/A, JSON Lines": read(
        "a.jsonl",
        json_lines(relabelled("a", "b", "N/A"), "text", "label"),
        "'N/A' of 8 rows .* looks missing",
        ("N/A", "a", "b"),
    ),
    "multilabel.csv": Case(
        "train multilabel.csv",
        "several labels a text",
        80,
        ("billing", "billing|urgent", "delivery", "delivery|urgent"),
    ),
    "multilabel_json.csv": Case(
        "train multilabel_json.csv",
        "several labels a text",
        80,
        ('["billing", "urgent"]', '["billing"]', '["delivery", "urgent"]', '["delivery"]'),
    ),
    "multilabel.jsonl": Case(
        "train multilabel.jsonl", "several labels a text are not supported", 0
    ),
    "labels with plus signs": read(
        "a.tsv",
        table(relabelled("a", "b", "a + b"), delimiter="\t"),
        "several labels a text",
        ("a", "a + b", "b"),
    ),
    "labels with slashes": read(
        "a.jsonl",
        json_lines(relabelled("late", "broken", "late/broken"), "text", "label"),
        "several labels a text",
        ("broken", "late", "late/broken"),
    ),
    "lists in Parquet": refused(
        "a.parquet",
        parquet(relabelled(["a", "b"], ["a"]), "text", "label"),
        "several labels a text are not supported",
    ),
    "labels of truth values by name": refused(
        "a.jsonl",
        json_lines(relabelled({"a": 1, "b": 0}, {"a": 0, "b": 1}), "text", "label"),
        "several labels a text are not supported",
    ),
    "float_label.csv": Case(
        "train float_label.csv; evaluate MODEL float_label.jsonl", "on 80 texts", 80, ("0", "1")
    ),
    "float_label.jsonl": Case(
        "train float_label.jsonl; evaluate MODEL float_label.csv", "on 80 texts", 80, ("0", "1")
    ),
    "truth values of Parquet and CSV": Case(
        "train a.parquet; evaluate MODEL b.csv",
        "on 24 texts",
        24,
        ("false", "true"),
        {
            "a.parquet": parquet(relabelled(True, False), "text", "label"),
            "b.csv": table(relabelled("True", "FALSE")),
        },
    ),
    "whole numbers of tabs and JSON": Case(
        "train a.tsv; evaluate MODEL b.json",
        "on 24 texts",
        24,
        ("-1", "2"),
        {
            "a.tsv": table(relabelled("2.0", "-1.00"), delimiter="\t"),
            "b.json": json.dumps([{"text": t, "label": y} for t, y in relabelled(2, -1)]),
        },
    ),
}

CASES = TEXTS | FORMS | LABELS
