"""The checks of a wheel's promises fail when a promise is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import check_isolation
import check_size
import interpreters
import mutation
import pip_settings
import postgres_server
import torch_build
from distributions import ROOT


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package ``sample`` in a folder that looks like an installation."""
    package = tmp_path / "site-packages" / "sample"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    return package


def test_public_modules_leave_out_the_private(installed: Path) -> None:
    """An underscore hides a module and all below it."""
    (installed / "_hidden").mkdir()
    for name in ("open.py", "_closed.py", "_hidden/inner.py"):
        (installed / name).touch()
    assert sorted(check_isolation.public_modules("sample")) == ["sample", "sample.open"]


def test_a_source_tree_is_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is importable from elsewhere than site-packages is refused."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit, match="not from an installed wheel"):
        list(check_isolation.public_modules("elsewhere"))


def test_a_foreign_import_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says which module loads which forbidden name."""
    loads = {"": {"sys"}, "sample": {"sys", "sample", "torch"}}
    monkeypatch.setattr(check_isolation, "loaded_by", loads.__getitem__)
    with pytest.raises(SystemExit, match="import sample loads torch"):
        check_isolation.main("sample", "torch")
    with pytest.raises(SystemExit, match="import sample loads torch"):
        check_isolation.main("sample", "--nothing-else")


def test_a_warning_at_import_is_a_failure() -> None:
    """A module that warns when it is imported does not pass, with its trace told."""
    with pytest.raises(SystemExit, match=r"import this\.nowhere failed"):
        check_isolation.loaded_by("this.nowhere")


def test_sizes_leave_byte_code_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten bytes of source are ten bytes, whatever was compiled beside them."""
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "a.py").write_bytes(b"x" * 10)
    (tmp_path / "sample" / "a.pyc").write_bytes(b"x" * 99)
    check_size.main(str(tmp_path), "11")
    assert "10 bytes installed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        check_size.main(str(tmp_path), "10")


def test_an_interpreter_must_start(tmp_path: Path) -> None:
    """A shim that fails and one of another version are no interpreters of this version."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert interpreters.starts(Path(sys.executable), minor)
    assert not interpreters.starts(Path(sys.executable), "3.2")
    assert not interpreters.starts(tmp_path / "missing", minor)


def test_pyenv_versions_join_the_path_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed but inactive version is found, and what was found before stays first."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = tmp_path / "versions" / f"{minor}.0" / "bin"
    folder.mkdir(parents=True)
    (folder / f"python{minor}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    interpreters.extend_path([minor])
    assert [str(tmp_path), str(folder)] == os.environ["PATH"].split(os.pathsep)


def test_the_import_check_holds_its_limit() -> None:
    """No import fits into no time: the check fails and says by how much."""
    command = [sys.executable, str(ROOT / "scripts" / "check_import_time.py"), "decimal", "-1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the limit is -1000 ms" in done.stdout


def test_a_build_of_torch_with_cuda_is_told_from_one_without() -> None:
    """By what it brings along: the versions can be equal."""
    assert "cpu" == torch_build.build_of("sympy==1.14.0\ntorch==2.13.0\n")
    assert "torch==2.13.0 requires nvidia-x==1" == torch_build.build_of(
        "nvidia-x==1\ntorch==2.13.0\n"
    )
    assert "no torch is found" == torch_build.build_of("error: No solution found")


def test_uv_looks_where_pip_is_told_to_look() -> None:
    """Files, then pip's install section, then the environment have the last word."""
    listed = """
:env:.find-links='/wheels /more'
global.constraint='/caps.txt'
global.extra-index-url='\\nhttps://a.example/simple\\nfile:///b'
global.find-links='/old'
global.index-url='https://c.example/simple'
global.timeout='180'
install.index-url='https://d.example/simple'
list.index-url='https://e.example/simple'
"""
    expected = {
        "UV_CONSTRAINT": "/caps.txt",
        "UV_DEFAULT_INDEX": "https://d.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_HTTP_TIMEOUT": "180",
        "UV_INDEX": "https://a.example/simple file:///b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert expected == pip_settings.as_uv(listed)
    assert {} == pip_settings.as_uv("")


def test_the_newest_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 15 is newer than 9.6; where a folder has none, PATH is asked."""
    for version in ("9.6", "15", "13"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert tmp_path / "15" / "bin" == postgres_server.programs(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert None is postgres_server.programs(tmp_path / "nowhere")


MUTANTS = [
    mutation.Change(file, "f", f"line {i}", f"other {i}") for file in "ab" for i in range(40)
]


def test_a_larger_sample_holds_the_smaller() -> None:
    """So many of each module, the same in whatever order they come, others for another seed."""
    few = mutation.sampled(MUTANTS, 5, seed=1)
    assert [5, 5] == [sum(change.file == file for change in few) for file in "ab"]
    assert set(few) == set(mutation.sampled(reversed(MUTANTS), 5, seed=1))
    assert set(few) < set(mutation.sampled(MUTANTS, 20, seed=1))
    assert set(few) != set(mutation.sampled(MUTANTS, 5, seed=2))
    assert set(MUTANTS) == set(mutation.sampled(MUTANTS, None, seed=1))


def test_a_mutant_is_known_by_the_lines_that_it_changes() -> None:
    """By whole lines, without indentation."""
    before = "def f(x):\n    if x < 1:\n        return 2\n    return 3"
    assert ("if x < 1:", "if x <= 1:") == mutation.changed_lines(
        before, before.replace("x < 1", "x <= 1")
    )
    assert ("return 3", "") == mutation.changed_lines(before, before.replace("\n    return 3", ""))


def test_a_score_has_its_interval() -> None:
    """Wilson's, which never promises certainty; strata count by their size."""
    assert (0.596, 0.982) == pytest.approx(mutation.interval(9, 10), abs=5e-4)
    assert (0.722, 1.0) == pytest.approx(mutation.interval(10, 10), abs=5e-4)
    told = dict.fromkeys(MUTANTS[:10], "killed")
    whole = mutation.Module("a", 10, told)
    assert (1.0, 1.0, 1.0) == mutation.overall([whole])
    half = mutation.Module("b", 30, {**told, **dict.fromkeys(MUTANTS[40:50], "survived")})
    score, low, high = mutation.overall([whole, half])
    assert 0.25 * 1.0 + 0.75 * 0.5 == score
    assert 0.4 < low < score < high < 0.85


def test_a_report_counts_and_explains() -> None:
    """A timeout is caught, a mutant without a test is not; who is not explained stands first."""
    told = ["killed", "timeout", "no tests", "survived", "survived"]
    module = mutation.Module("a", 40, dict(zip(MUTANTS, told, strict=False)))
    scores, unknown, known = mutation.report([module], {MUTANTS[3]: "It is only faster."}, ["how"])
    assert ["`a`", "40", "5", "2", "1", "1", "2", "1", "40 %"] == scores.rows[0][:-1]
    assert ["all, by size", "40", "5", "2", "1", "1", "2", "1", "40 %"] == scores.rows[1][:-1]
    assert [["`a`", "`f`", f"`line {i}`", f"`other {i}`"] for i in (2, 4)] == [*unknown.rows]
    assert [["`a`", "`f`", "`line 3`", "`other 3`", "It is only faster."]] == [*known.rows]
