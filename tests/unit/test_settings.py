"""Settings: a flag beats the environment, which beats v6.toml, which beats the default; what is wrong is named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from v6.clock import Clock
from v6.errors import SettingsError
from v6.settings import Settings, as_environment, load_settings, plain_settings
from v6.type_settings import TypeSettings


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(text: str, name: str = "v6.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_every_default_works_without_being_told_anything() -> None:
    in_force = load_settings({}, {})
    assert in_force.settings == Settings()
    assert set(in_force.sources.values()) == {"default"}


def test_a_flag_beats_the_environment_which_beats_the_file() -> None:
    write_config('lake = "from-file"\nclient_id = 3\npoll_seconds = 0.5')
    in_force = load_settings({"lake": "from-flag"}, {"V6_LAKE": "from-environment", "V6_CLIENT_ID": "4"})
    assert (in_force.settings.lake, in_force.settings.client_id, in_force.settings.poll_seconds) == (
        "from-flag",
        4,
        0.5,
    )
    assert [in_force.sources[name] for name in ("lake", "client_id", "poll_seconds", "grace_seconds")] == [
        "flag",
        "environment",
        "v6.toml",
        "default",
    ]


def test_the_file_is_the_one_that_is_named() -> None:
    path = write_config("gateway_port = 4001", "other.toml")
    in_force = load_settings({}, {"V6_CONFIG": str(path)})
    assert (in_force.settings.gateway_port, in_force.sources["gateway_port"]) == (4001, "other.toml")


def test_an_empty_variable_and_a_flag_of_none_are_not_given() -> None:
    assert set(load_settings({"lake": None}, {"V6_LAKE": ""}).sources.values()) == {"default"}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}, {}).settings.lake = "other"


@pytest.mark.parametrize(
    ("flags", "environment", "named"),
    [
        ({"gateway_port": "x"}, {}, "--gateway-port is wrong ('x')"),
        ({"gateway_port": "70000"}, {}, "--gateway-port is wrong ('70000')"),
        ({}, {"V6_CLIENT_ID": "one"}, "V6_CLIENT_ID is wrong ('one')"),
        ({}, {"V6_CLIENTID": "1"}, "did you mean V6_CLIENT_ID?"),
        ({}, {"V6_CLOCK": "soon"}, "V6_CLOCK is wrong ('soon')"),
        ({}, {"V6_CONFIG": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ({}, {"V6_POLL_SECONDS": "nan"}, "V6_POLL_SECONDS is wrong"),
        ({"log_level": "loud"}, {}, "--log-level is wrong ('loud')"),
        ({"worker_name": "a/b"}, {}, "--worker-name is wrong ('a/b')"),
        ({"lake": " "}, {}, "--lake is wrong (' ')"),
        ({"urgent_places": "4", "batch_size": "4"}, {}, "urgent_places (4) must be smaller than batch_size (4)"),
        ({}, {"V6_REQUEST_TYPES__MARKET_BARS__LIMIT": "-1"}, "V6_REQUEST_TYPES__MARKET_BARS__LIMIT is wrong ('-1')"),
        ({}, {"V6_REQUEST_TYPES__MARKET_BARS__LIMITS": "1"}, "mean V6_REQUEST_TYPES__MARKET_BARS__LIMIT?"),
        ({}, {"V6_REQUEST_TYPES": "1"}, "V6_REQUEST_TYPES is no setting of v6"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(flags: dict[str, str], environment: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, environment)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("gatway_port = 1", "gatway_port in v6.toml is no setting of v6: did you mean gateway_port?"),
        ("gateway_port = 'x'", "gateway_port in v6.toml is wrong ('x')"),
        ("gateway_port =", "v6.toml is not TOML"),
        ("[worker]\nname = 1", "worker in v6.toml is no setting of v6"),
        ("client_id = true", "client_id in v6.toml is wrong (True): it must not be true or false"),
        ("request_types = 1", "write [request_types.NAME] above its numbers"),
        ("[request_types]\nlimit = 1", "write [request_types.limit] above its numbers"),
        ("[request_types.market_bars]\nlimits = 1", "request_types.market_bars.limits in v6.toml is no setting of v6"),
        ("[request_types.market_bars]\nlimit = true", "request_types.market_bars.limit in v6.toml is wrong (True)"),
    ],
)
def test_a_wrong_file_is_named(text: str, named: str) -> None:
    write_config(text)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, {})
    assert named in str(caught.value)


def test_a_child_process_gets_the_same_settings() -> None:
    settings = load_settings({"lake": "there", "clock": "2026-11-23T17:30:00Z*20"}, {}).settings
    assert load_settings({}, as_environment(settings)).settings == settings


def test_numbers_of_request_types_are_told_by_file_and_environment_and_handed_on() -> None:
    write_config(
        "[request_types.market_bars]\nlimit = 60\nlimit_seconds = 600\n[request_types.option_chain]\nattempts = 9"
    )
    variables = {"V6_REQUEST_TYPES__MARKET_BARS__LIMIT": "50"}
    in_force = load_settings({}, variables)
    assert in_force.settings.request_types == {
        "market_bars": TypeSettings(limit=50, limit_seconds=600),
        "option_chain": TypeSettings(attempts=9),
    }
    said = {name: source for name, source in in_force.sources.items() if name.startswith("request_types.")}
    assert said == {
        "request_types.market_bars.limit": "environment",
        "request_types.market_bars.limit_seconds": "v6.toml",
        "request_types.option_chain.attempts": "v6.toml",
    }
    Path("v6.toml").unlink()
    assert load_settings({}, as_environment(in_force.settings)).settings == in_force.settings


def test_the_clock_is_the_same_in_every_process_it_is_handed_to() -> None:
    text = load_settings({"clock": "2026-11-23T17:30:00Z*20"}, {}).settings.clock
    here, there = Clock(text), Clock(text)
    assert here.setting == there.setting
    assert here.speed == 20


def test_every_setting_is_documented_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| `")}
    defaults = {name: info.default for name, info in plain_settings().items()}
    assert set(rows) == {f"`{name}`" for name in (*defaults, *TypeSettings.model_fields)}
    for name, info in TypeSettings.model_fields.items():
        assert [cell.strip() for cell in rows[f"`{name}`"].split("|")][2] == info.description
    for name, default in defaults.items():
        cells = [cell.strip() for cell in rows[f"`{name}`"].split("|")]
        assert cells[2] == (f"`{default}`" if default != "" else "empty")
        assert cells[3] == Settings.model_fields[name].description
