"""Shipped profiles, and those that etcd adds and overrides."""

import pytest

from farsight.errors import InvalidField
from services.router import metrics
from services.router.profiles import Profiles

OTHER = b"picker: max-score\nscorers: [prefix]"


def refused() -> float:
    """Profiles refused so far."""
    return float(metrics.profiles_refused._value.get())


def test_the_shipped_profiles_parse() -> None:
    """The default is live, all can be asked for."""
    profiles = Profiles("predicted")

    assert profiles.live == "predicted"
    assert profiles.names == ("affinity-token-load", "predicted", "round-robin")
    assert profiles.get("").name == "predicted"
    assert profiles.get("round-robin").picker_name == "round-robin"


def test_an_unknown_default_or_name_is_refused() -> None:
    """The known names are in the text."""
    with pytest.raises(InvalidField, match=r"predicted.*not 'x'"):
        Profiles("x")
    with pytest.raises(InvalidField, match=r"predicted.*not 'x'"):
        Profiles("predicted").get("x")


def test_etcd_adds_overrides_and_takes_back() -> None:
    """An override of a shipped profile goes with its key."""
    profiles = Profiles("predicted")

    profiles.update({"mine": OTHER, "round-robin": OTHER})
    added = (profiles.get("mine").picker_name, profiles.get("round-robin").picker_name)
    profiles.update({})

    assert added == ("max-score", "max-score")
    assert profiles.get("round-robin").picker_name == "round-robin"
    assert "mine" not in profiles.names


def test_a_refused_profile_keeps_the_one_before_it() -> None:
    """It is counted once, not with every look at etcd."""
    profiles = Profiles("predicted")
    profiles.update({"mine": OTHER})
    before = refused()

    for _ in range(3):
        profiles.update({"mine": b"picker: ["})

    assert profiles.get("mine").picker_name == "max-score"
    assert refused() == before + 1


def test_a_refused_new_profile_is_not_there() -> None:
    """There is nothing before it to keep."""
    profiles = Profiles("predicted")

    profiles.update({"mine": b"picker: !!int ''"})

    assert "mine" not in profiles.names


def test_live_names_the_live_profile_and_follows_its_text() -> None:
    """A new text of the live profile is live at once; without LIVE the default is."""
    profiles = Profiles("predicted")

    profiles.update({"mine": OTHER, "LIVE": b" mine\n"})
    first = (profiles.live, profiles.get("").picker_name)
    profiles.update({"mine": b"picker: near-tie", "LIVE": b"mine"})
    second = (profiles.live, profiles.get("").picker_name)
    profiles.update({"mine": OTHER})

    assert first == ("mine", "max-score")
    assert second == ("mine", "near-tie")
    assert profiles.live == "predicted"


@pytest.mark.parametrize("name", [b"nobody", b"\xff\xfe", b""])
def test_a_live_name_without_a_profile_keeps_the_live_one(name: bytes) -> None:
    """Requests go on with what was live."""
    profiles = Profiles("predicted")
    profiles.update({"LIVE": b"round-robin"})
    before = refused()

    profiles.update({"LIVE": name})

    assert profiles.get("").name == "round-robin"
    assert refused() == before + 1


def test_the_live_profile_outlives_its_key() -> None:
    """LIVE still names it: decisions go on as before instead of failing."""
    profiles = Profiles("predicted")
    profiles.update({"mine": OTHER, "LIVE": b"mine"})

    profiles.update({"LIVE": b"mine"})

    assert profiles.get("").picker_name == "max-score"
