"""The numbers of a request type: what it declares, and what the settings say instead."""

from typing import ClassVar

import pytest

from v6.errors import SettingsError
from v6.request_types.base import Backoff, Fetched, Gateway, Job, Limiter, Parameters, Part, RequestType
from v6.request_types.policy import Policies, Policy
from v6.type_settings import TypeSettings


class Plain(RequestType[Parameters]):
    name = "plain"
    description = "declares nothing"
    parameters = Parameters
    result_table = "notes"

    async def fetch(self, job: Job[Parameters], part: Part, gateway: Gateway) -> Fetched:
        raise NotImplementedError


class Limited(Plain):
    name = "limited"
    limiter: ClassVar[Limiter | None] = Limiter(requests=60, seconds=600)


def test_what_nobody_sets_is_as_declared() -> None:
    assert Policies().of(Limited()) == Policy(
        concurrency=10, attempts=3, backoff=Backoff(), limiter=Limiter(requests=60, seconds=600), timeout_seconds=120
    )


def test_every_number_can_be_set() -> None:
    said = {"concurrency": 1, "attempts": 9, "backoff_first_seconds": 0.5, "backoff_cap_seconds": 7}
    said |= {"limit": 4, "limit_seconds": 8, "timeout_seconds": 20}
    policy = Policies({"plain": TypeSettings.model_validate(said)}).of(Plain())
    assert policy.as_settings() == said
    assert set(said) == set(TypeSettings.model_fields)


@pytest.mark.parametrize(
    ("kind", "said", "limiter"),
    [
        (Limited(), {"limit": 0}, None),
        (Limited(), {"limit": 5}, Limiter(requests=5, seconds=600)),
        (Limited(), {"limit_seconds": 5}, Limiter(requests=60, seconds=5)),
        (Plain(), {"limit": 5}, Limiter(requests=5, seconds=60)),
        (Plain(), {"limit_seconds": 5}, None),
    ],
)
def test_a_limiter_is_set_in_part_set_whole_or_taken_away(
    kind: Plain, said: dict[str, int], limiter: Limiter | None
) -> None:
    assert Policies({kind.name: TypeSettings.model_validate(said)}).of(kind).limiter == limiter


def test_a_type_that_is_not_there_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(SettingsError, match=r"request_types\.plane: .* did you mean plain\?"):
        Policies({"plane": TypeSettings()}).check(["limited", "plain"])
    with pytest.raises(SettingsError, match="there are limited, plain"):
        Policies({"x": TypeSettings()}).check(["limited", "plain"])
