"""The command line: bad input gets a sentence, an interruption loses nothing and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
from ampmix.cli.main import main
from ampmix.studies import runner

SMALL = ["--backbone", "cnn[embedding_dim=8,feature_maps=4]"]
GOOD = "text,label\n" + "".join(f"a {w} film {i},{w}\n" for i in range(9) for w in ("good", "bad"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a few files in it."""
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(GOOD)
    Path("other.csv").write_text("text,label\na fine film,good\na sad film,bad\n")
    return tmp_path


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever begins to train is wrong."""

    def execute(*arguments: Any) -> None:
        raise AssertionError("a run was started")

    monkeypatch.setattr(runner, "Pool", execute)


# ------------------------------------------------------------------ bad input

FILES: dict[str, str | bytes] = {
    "latin.csv": b"text,label\na good film,good\na sad film,bad\ncaf\xe9,good\nx,bad\n",
    "one.csv": "text,label\n" + "".join(f"film {i},good\n" for i in range(20)),
    "four.csv": "id,title,body,kind\n1,a,b,c\n2,d,e,f\n",
    "nolabels.csv": "text,label\na film,\nb film,  \n",
    "empty.csv": "",
    "header.csv": "text,label\n",
    "new.csv": "text,label\na new film,unheard-of\n",
    "file.txt": "x",
}

BAD: list[tuple[str, list[str]]] = [
    # the data
    ("absent.csv", ["no file 'absent.csv'"]),
    ("goood.csv", ["no file", "did you mean 'good.csv'?"]),
    ("good.csv --text txet", ["no column 'txet'", "'text'", "'label'"]),
    ("good.csv --label klass", ["no column 'klass'", "'text'", "'label'"]),
    ("good.csv --text text --label text", ["two columns"]),
    ("four.csv", ["'id', 'title', 'body', 'kind'", "--text COLUMN", "--label COLUMN"]),
    ("latin.csv", ["latin.csv", "line 4", "0xe9", "--encoding"]),
    ("good.csv --encoding klingon", ["klingon", "utf-8"]),
    ("one.csv", ["one class", "good"]),
    ("good.csv --seeds 1000", ["texts", "1000 folds", "test set"]),
    ("nolabels.csv", ["nothing is left"]),
    ("empty.csv", ["empty"]),
    ("header.csv", ["no row"]),
    ("file.txt", [".csv", ".parquet"]),
    (".", ["folder"]),
    ("good.csv --test absent.csv", ["no file 'absent.csv'"]),
    ("good.csv --dev absent.csv", ["no file 'absent.csv'"]),
    ("good.csv --test new.csv", ["'unheard-of'", "'good'", "'bad'"]),
    ("trek", ["unknown data set 'trek'", "did you mean trec?"]),
    ("imdb", ["unknown data set 'imdb'", "trec"]),
    ("trec --text question", ["--text", "trec"]),
    # what to compare
    ("good.csv --policies mixip", ["unknown policy 'mixip'", "mixup", "none", "amp"]),
    ("good.csv --policies ,", ["no policy"]),
    ("good.csv --policies none,none", ["none", "twice"]),
    ("good.csv --policies amp,amp[eps=0.002]", ["amp", "twice"]),
    ("good.csv --policies amp[epsilon=1]", ["option", "'epsilon'", "eps", "alpha", "site"]),
    ("good.csv --policies amp[eps=much]", ["eps", "'much'", "a number"]),
    ("good.csv --policies amp[eps]", ["'eps'", "key=value"]),
    ("good.csv --policies amp[eps=1", ["amp[eps=1"]),
    ("good.csv --policies amp[eps=1,eps=2]", ["eps", "twice"]),
    ("good.csv --policies amp[min_op=perhaps]", ["min_op", "true or false"]),
    ("good.csv --policies amp[direction=up]", ["direction", "gradient", "sign"]),
    ("good.csv --policies mixup[alpha=0]", ["alpha is 0.0", "above 0"]),
    ("good.csv --policies mixup[alpha=-1]", ["alpha is -1.0", "above 0"]),
    ("good.csv --policies amp[alpha=nan]", ["alpha is nan"]),
    ("good.csv --policies amp[eps=-0.1]", ["eps is -0.1", "0 or above"]),
    ("good.csv --policies amp[eps=nan]", ["eps is nan"]),
    ("good.csv --policies mixup[site=wrod]", ["'wrod'", "did you mean word?", "sent"]),
    ("good.csv --backbone bert", ["unknown backbone 'bert'", "cnn"]),
    ("good.csv --backbone cnn[maps=3]", ["'maps'", "feature_maps", "dropout"]),
    ("good.csv --backbone cnn[feature_maps=0]", ["1 or more"]),
    ("good.csv --backbone cnn[filter_sizes=]", ["filter_sizes"]),
    ("good.csv --backbone cnn[filter_sizes=0+3]", ["1 or more"]),
    ("good.csv --backbone cnn[dropout=1]", ["dropout", "[0, 1)"]),
    # numbers
    ("good.csv --seeds 0", ["seeds is 0"]),
    ("good.csv --seeds 1", ["2 seeds", "--test"]),
    ("good.csv --seeds few", ["--seeds", "'few'"]),
    ("good.csv --steps 0", ["steps is 0"]),
    ("good.csv --steps -5", ["steps is -5"]),
    ("good.csv --fraction 0", ["fraction is 0"]),
    ("good.csv --fraction 2", ["fraction is 2"]),
    ("good.csv --fraction nan", ["fraction is nan"]),
    ("good.csv --workers 0", ["workers is 0"]),
    ("good.csv --workers -1", ["workers is -1"]),
    ("good.csv --batch-size 0", ["batch", "is 0"]),
    ("good.csv --eval-every 0", ["eval", "is 0"]),
    ("good.csv --lr 0", ["lr is 0"]),
    ("good.csv --lr nan", ["lr is nan"]),
    ("good.csv --clip -1", ["clip is -1"]),
    ("good.csv --patience -1", ["patience is -1", "0 for none"]),
    ("good.csv --patience 1.5", ["--patience", "'1.5'"]),
    ("good.csv --label-smoothing 1", ["label_smoothing is 1"]),
    ("good.csv --class-weights balance", ["did you mean balanced?", "none, balanced"]),
    ("good.csv --max-length 0", ["max_length is 0"]),
    # the output
    ("good.csv --out file.txt", ["cannot write", "file.txt", "--out"]),
    ("good.csv --out file.txt/below", ["cannot write", "file.txt/below", "--out"]),
    ("good.csv --out /proc/ampmix", ["cannot write", "/proc/ampmix", "--out"]),
    # the command line itself
    ("good.csv --polices none", ["--polices", "did you mean --policies or"]),
    ("good.csv --polices=none", ["--polices", "--policies"]),
    ("good.csv --seed 3", ["--seed", "--seeds"]),
    ("good.csv --seeds", ["--seeds", "argument"]),
    ("", ["DATA"]),
]


@pytest.mark.parametrize(("given", "said"), BAD, ids=[given or "nothing" for given, _ in BAD])
def test_bad_input_gets_a_sentence(
    here: Path,
    untrained: None,
    capsys: pytest.CaptureFixture[str],
    given: str,
    said: list[str],
) -> None:
    for name, content in FILES.items():
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    code = main(["compare", *given.split()])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith("ampmix: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    for part in said:
        assert part in captured.err
    for name, content in before.items():
        assert Path(name).read_bytes() == content
    assert not any(path.is_file() and path.name not in before for path in here.rglob("*"))


def test_an_option_that_is_wrong_leaves_no_folder_behind(
    here: Path, untrained: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "good.csv", "--seeds", "0", "--out", "new"]) == 2
    assert main(["compare", "good.csv", "--policies", "mixup[site=wrod]", "--out", "new"]) == 2
    assert not Path("new").exists()


def test_an_unwritable_folder_is_found_before_training(
    here: Path,
    untrained: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As root every folder can be written to, so the refusal is played."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert main(["compare", "good.csv", "--out", "closed"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ampmix: cannot write")
    assert "closed" in error
    assert "Permission denied" in error


def test_a_second_file_is_not_called_an_option(
    here: Path, untrained: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "good.csv", "other.csv"]) == 2
    error = capsys.readouterr().err
    assert "other.csv" in error
    assert "option 'other.csv'" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], ["bogus", "compare"]),
        (["comparre", "x"], ["compare"]),
        (["list", "--al"], ["--al"]),
    ],
    ids=str,
)
def test_an_unknown_command_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: list[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("ampmix: ")
    assert error.count("\n") == 1
    for part in said:
        assert part in error


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert "compare" in captured.out + captured.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], ["compare", "list"]),
        (["compare"], ["--policies", "--seeds", "--steps", "--fraction", "--workers", "--out"]),
        (["list"], ["--debug"]),
    ],
    ids=str,
)
def test_help_works(
    capsys: pytest.CaptureFixture[str], command: list[str], said: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for part in said:
        assert part in out


def test_list_names_everything_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    words = capsys.readouterr().out.split()
    assert {"policies", "backbones", "datasets", "none", "trec"} <= set(words)
    assert any(word.startswith("mixup[alpha=1.0,") and "site=word" in word for word in words)
    assert any(word.startswith("amp[alpha=1.0,eps=0.002,site=word") for word in words)
    assert any(word.startswith("cnn[embedding_dim=300,filter_sizes=3+4+5") for word in words)


@pytest.mark.slow
def test_debug_shows_where_it_went_wrong_and_the_exit_code_stays(here: Path) -> None:
    command = [sys.executable, "-m", "ampmix", "compare", "absent.csv"]
    plain = forked.run(command, capture_output=True, text=True)
    debug = forked.run([*command, "--debug"], capture_output=True, text=True)
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert "absent.csv" in debug.stderr
    assert debug.returncode == 2


# ------------------------------------------------------------------ notes

QUICK = ["--policies", "none,mixup", "--seeds", "2", "--steps", "2", *SMALL]


def test_rows_left_out_are_counted(
    here: Path, serial: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("holes.csv").write_text(GOOD + ",good\n   ,bad\na film without label,\n")
    assert main(["compare", "holes.csv", *QUICK]) == 0
    captured = capsys.readouterr()
    note = " ".join(captured.err.split())
    assert "note: 2 rows without text and 1 row without label left out of holes.csv" in note
    assert "18 training texts" in captured.out


def test_test_texts_that_were_trained_on_are_counted(
    here: Path, serial: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("test.csv").write_text(
        "text,label\na good film 3,good\nA bad  FILM 4,bad\nnew words,good\nmore of them,bad\n"
    )
    assert main(["compare", "good.csv", "--test", "test.csv", *QUICK]) == 0
    captured = capsys.readouterr()
    note = " ".join(captured.err.split())
    assert "note: 2 of 4 texts for testing also stand in the training part" in note
    assert "4 for testing" in " ".join(captured.out.split())
    content = json.loads(Path("ampmix-runs/good/summary.json").read_text())
    assert content["design"] == "test set"
    assert any("2 of 4" in sentence for sentence in content["notes"])


def test_texts_that_were_cut_are_counted_now_and_later(
    here: Path, serial: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("long.csv").write_text(GOOD + "one two three four five,good\na b c d e f g,bad\n")
    for _ in range(2):  # the second time nothing is trained
        assert main(["compare", "long.csv", *QUICK, "--max-length", "4"]) == 0
        note = " ".join(capsys.readouterr().err.split())
        assert note.count("note: 2 texts were cut to") == 1 and "4 tokens" in note
    assert json.loads(Path("ampmix-runs/long/summary.json").read_text())["truncated"] == 2
    assert main(["compare", "long.csv", *QUICK, "--max-length", "7"]) == 0
    assert " cut to" not in capsys.readouterr().err
    assert json.loads(Path("ampmix-runs/long/summary.json").read_text())["truncated"] == 0


def test_one_test_text_is_no_traceback(
    here: Path, serial: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("test.csv").write_text("text,label\nnew words,good\n")
    assert main(["compare", "good.csv", "--test", "test.csv", *QUICK]) in (0, 2)


def test_a_folder_whose_name_looks_like_markup_is_named_as_it_is(
    here: Path, serial: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["compare", "good.csv", *QUICK, "--out", "runs[b][/i]"]) == 0
    out = capsys.readouterr().out
    assert out.count("runs[b][/i]") == 5  # written, next; nothing to train, written, next
    assert Path("runs[b][/i]", "summary.json").exists()


def test_the_default_folder_bears_the_datas_name(here: Path, serial: list[Any]) -> None:
    assert main(["compare", "good.csv", *QUICK]) == 0
    assert Path("ampmix-runs", "good", "summary.json").exists()


# ------------------------------------------------------------------ interruptions

RUNS = 9
WORDS = [
    "the",
    "film",
    "book",
    "play",
    "was",
    "is",
    "very",
    "so",
    "day",
    "great",
    "fine",
    "awful",
    "dull",
    "how",
    "why",
]
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def long_command(steps: int = 150, seeds: int = 3) -> list[str]:
    training = ["--steps", str(steps), "--eval-every", "50", *SMALL]
    where = ["--policies", "none,mixup", "--seeds", str(seeds), "--workers", "2", "--out", "out"]
    return [sys.executable, "-m", "ampmix", "compare", "texts.csv", *training, *where]


def make_texts(folder: Path) -> None:
    draw, lines = random.Random(1), ["text,label"]
    lines += [" ".join(draw.choices(WORDS, k=6)) + f" {i},{'abc'[i % 3]}" for i in range(60)]
    (folder / "texts.csv").write_text("\n".join(lines) + "\n")


def count(folder: Path) -> int:
    return len(list((folder / "out" / "records").glob("*.json")))


def digests(folder: Path) -> dict[str, str]:
    records = (folder / "out" / "records").glob("*.json")
    return {path.name: json.loads(path.read_text())["digest"] for path in records}


def children(pid: int) -> set[int]:
    """Living children of a process that are workers."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                command = stat.with_name("cmdline").read_text().replace("\0", " ")
                if "resource_tracker" not in command:
                    found.add(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@contextlib.contextmanager
def started(
    folder: Path, command: list[str], records: int, begin: Any = forked.Popen
) -> Iterator[subprocess.Popen[str]]:
    """A comparison under way, with so many records written; it leaves nothing behind."""
    make_texts(folder)
    process = begin(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert wait_for(lambda: count(folder) >= records or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the command gives if nobody disturbs it, in another folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    make_texts(folder)
    done = forked.run(long_command(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = digests(folder)
    assert len(made) == RUNS
    return made


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_an_interruption_keeps_what_is_done_and_the_same_command_goes_on(
    tmp_path: Path, undisturbed: dict[str, str], sent: signal.Signals
) -> None:
    begin = {signal.SIGINT: subprocess.Popen, signal.SIGTERM: forked.Popen}[sent]
    with started(tmp_path, long_command(), 2, begin) as process:
        family = children(process.pid)
        assert len(family) == 2
        process.send_signal(sent)
        _, error = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "Traceback" not in error
        kept = count(tmp_path)
        assert 2 <= kept < RUNS
        assert f"{kept} of {RUNS} runs are kept" in " ".join(error.split())
        assert wait_for(lambda: not any(map(alive, family)), 5)
    assert not list((tmp_path / "out" / "records").glob(".*"))
    first = digests(tmp_path)
    assert len(first) == kept

    if sent == signal.SIGINT:
        before = {name: (tmp_path / "out" / "records" / name).stat().st_mtime_ns for name in first}
        again = forked.run(long_command(), cwd=tmp_path, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        assert digests(tmp_path) == undisturbed
        for name, written in before.items():
            assert (tmp_path / "out" / "records" / name).stat().st_mtime_ns == written


@needs_proc
def test_an_impatient_interruption_shows_no_traceback_either(tmp_path: Path) -> None:
    """Ctrl-C as a terminal sends it, to the whole group, until it has ended."""
    with started(tmp_path, long_command(steps=50_000), records=1) as process:
        family = children(process.pid)
        end = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.01)
        _, error = process.communicate(timeout=1)
        assert "Traceback" not in error
        assert "runs are kept" in " ".join(error.split())
        assert process.returncode == 130
        assert wait_for(lambda: not any(map(alive, family)), 5)


@needs_proc
def test_a_worker_that_is_killed_costs_its_own_run_alone(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """The run is begun anew, in a new process; the other worker goes on."""
    with started(tmp_path, long_command(), records=2) as process:
        family = children(process.pid)
        os.kill(min(family), signal.SIGKILL)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        assert digests(tmp_path) == undisturbed
        assert wait_for(lambda: not any(map(alive, family)), 5)


@needs_proc
def test_a_worker_that_dies_again_and_again_is_one_sentence(tmp_path: Path) -> None:
    with started(tmp_path, long_command(steps=200_000), records=1) as process:
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            for pid in children(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        _, error = process.communicate(timeout=20)
        assert process.returncode == 2
        sentence = error.rpartition("ampmix: ")[2]
        assert sentence.startswith("a worker process died 4 times in the run of ")
        assert sentence.count("\n") == 1
        assert "kept" in sentence
        assert count(tmp_path) >= 1


@needs_proc
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Those that train and those that wait for a run."""
    command = long_command(steps=200_000, seeds=1)
    command[command.index("none,mixup")] = "none"
    command += ["--test", "texts.csv"]
    with started(tmp_path, command, records=1) as process:
        time.sleep(0.7)  # the baseline is done: one worker trains, the other has nothing to do
        family = children(process.pid)
        assert len(family) == 2
        process.kill()
        process.wait()
        try:
            assert wait_for(lambda: not any(map(alive, family)), 8), [*filter(alive, family)]
        finally:
            for pid in filter(alive, family):
                os.kill(pid, signal.SIGKILL)
