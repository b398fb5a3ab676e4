"""Scripts of faults: what is wrong is refused with file and line."""

from pathlib import Path

import pytest

from v6.simulator.fault_script import FaultScript, FaultScriptError, load_fault_script, read_fault_script

GOOD = """\
seed = 7

[[fault]]  # a comment
do = "farm_down"
seconds = 300
at = 2026-11-23T18:00:00Z

[[ fault ]]
do = "late_greeks"
delay = [4, 8]
"""


def test_a_script_is_read_in_its_order() -> None:
    script = read_fault_script(GOOD, "x.toml")
    assert script.seed == 7
    assert [fault.do for fault in script.faults] == ["farm_down", "late_greeks"]
    assert script.faults[1].values["delay"] == (4.0, 8.0)
    assert read_fault_script("", "x.toml") == FaultScript()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"farm_down"', '"farm_dawn"', "x.toml:4: do: 'farm_dawn' is no fault: did you mean farm_down?"),
        ("seconds = 300", "second = 300", "x.toml:5: second: farm_down has no such value: did you mean seconds?"),
        ("seconds = 300\n", "", "x.toml:3: seconds: farm_down needs it: how long it lasts"),
        ("seconds = 300", "seconds = -1", "x.toml:5: seconds: -1 is wrong: at least 0"),
        ("seconds = 300", "seconds = true", "x.toml:5: seconds: True is wrong: it is a number"),
        ("[4, 8]", "[8, 4]", "x.toml:10: delay: [8, 4] is wrong: it is seconds, or the least and the most"),
        ("delay = [4, 8]", 'delay = 4\nrequest = "bars"', "x.toml:11: request: late_greeks strikes market_data only"),
        (
            "delay = [4, 8]",
            "delay = 4\nprobability = 1.5",
            "x.toml:11: probability: 1.5 is wrong: it is a number from 0",
        ),
        ("seed = 7", 'seed = "x"', "x.toml:1: seed: it is a whole number"),
        ("seed = 7", "sead = 7", "x.toml:1: sead: a script has seed and [[fault]] only"),
        ("[4, 8]", "[4, 8", "x.toml:10: Unclosed array"),
        ("delay = [4, 8]", "delay = = 4", "x.toml:10: Invalid value"),
        ("seconds = 300", "seconds = 300\nafter_seconds = 5", "x.toml:6: after_seconds: give at or after_seconds"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(old: str, new: str, complaint: str) -> None:
    with pytest.raises(FaultScriptError) as caught:
        read_fault_script(GOOD.replace(old, new), "x.toml")
    assert str(caught.value).startswith(complaint)


def test_one_table_is_not_a_list_of_faults() -> None:
    with pytest.raises(FaultScriptError, match=r"write each fault as a table \[\[fault\]\]"):
        read_fault_script('[fault]\ndo = "silence"', "x.toml")


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultScriptError, match=r"none\.toml cannot be read: No such file"):
        load_fault_script(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FaultScriptError, match="is not UTF-8 text"):
        load_fault_script(tmp_path / "bytes.toml")
