"""What users state is read exactly, and what cannot be meant gets one line."""

from __future__ import annotations

from typing import Any

import pytest

from viscy_compat.checkpoint.pickle_nodes import Unread
from viscy_compat.errors import UsageError
from viscy_compat.stated import config_statements, parse_settings, parse_value, spell, statements_in


@pytest.mark.parametrize("setting", ["stem_stride", "=3", "a b=3", "--x=1"])
def test_a_setting_without_name_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="is not NAME=VALUE"):
        parse_settings([setting])


def test_a_name_stated_twice_with_two_values_is_refused() -> None:
    assert parse_settings(["a=1", "a=1"]) == {"a": 1}
    with pytest.raises(UsageError, match="states a twice, as 1 and 2"):
        parse_settings(["a=1", "a=2"])


@pytest.mark.parametrize("text", ["[[1j]]", "(1, b'a')", "{1, 2}", '{"a": [1, 2j]}', "[1, frozenset()]"])
def test_a_value_that_json_cannot_hold_is_no_value(text: str) -> None:
    with pytest.raises(UsageError, match="is no value"):
        parse_settings([f"head_pool={text}"])


@pytest.mark.parametrize(
    ("text", "value"), [("[[1.5]]", ((1.5,),)), ('{"a": [1, "b"]}', {"a": [1, "b"]}), ("[True, None]", (True, None))]
)
def test_a_nested_value_of_what_json_holds_is_read(text: str, value: object) -> None:
    assert parse_settings([f"head_pool={text}"]) == {"head_pool": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2,2", (2, 2)),
        ("(2, 2)", (2, 2)),
        ("[2, 2]", (2, 2)),
        ("(2,)", (2,)),
        ("[true, none]", (True, None)),
        ("((1, 2), [3, 4])", ((1, 2), (3, 4))),
        ("True", True),
        ("true", True),
        ("None", None),
        ("none", None),
        ("null", None),
        ('"a,b"', "a,b"),
        ("('LEAKYRELU', {'negative_slope': 0.3})", ("LEAKYRELU", {"negative_slope": 0.3})),
    ],
)
def test_every_spelling_that_is_printed_is_read(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert parse_value(f"  {text} ") == value
    assert parse_value(repr(value)) == value
    assert parse_value(spell(value)) == value


@pytest.mark.parametrize(
    "text", ["9" * 30, "(" + "9" * 30 + ", 1)", "1," + "9" * 5000, "[" * 5000, "(1, 2", "x" * 20_000]
)
def test_a_value_that_cannot_be_one_gets_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_value(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("text", ["VALUE", "..."])
def test_a_place_holder_is_not_taken_for_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="put the value in its place"):
        parse_settings([f"head_pool={text}"])


def test_the_dots_of_a_printed_line_state_nothing() -> None:
    assert config_statements({"head_pool": ...}) == ()
    (row,) = config_statements({"head_pool": ..., "stem_stride": [2, [2], 2]})
    assert row.arguments == {"stem_stride": (2, (2,), 2)}


def rows(document: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row.place, row.class_name, dict(row.arguments)) for row in statements_in(document, "here")]


def test_arguments_are_found_beside_the_class_that_they_are_for() -> None:
    inner = {"class_path": "a.Encoder", "init_args": {"n": 1}}
    assert rows({"model": {"class_path": "a.Module", "init_args": {"lr": 0.1, "encoder": inner}}}) == [
        ("model.init_args", "a.Module", {"lr": 0.1}),
        ("model.init_args.encoder.init_args", "a.Encoder", {"n": 1}),
    ]
    assert rows({"a": {"architecture": "UNeXt2", "model_config": {"n": 1}}}) == [("a.model_config", "UNeXt2", {"n": 1})]
    assert rows({"net": {"_target_": "a.Net", "_partial_": True, "n": 1}}) == [("net", "a.Net", {"n": 1})]
    assert rows({"network_def": {"name": "Net", "args": {"n": 1}}}) == [("network_def.args", "Net", {"n": 1})]


def test_flat_arguments_are_found_where_models_stand_and_nowhere_else() -> None:
    assert rows({"lr": 0.1, "data": {"n": 1}, "model": {"n": 2}, "trainer": {"logger": {"n": 3}}}) == [
        ("", "", {"lr": 0.1}),
        ("model", "", {"n": 2}),
    ]


def test_the_arguments_of_another_class_are_not_flat_arguments_too() -> None:
    document = {"model": {"init_args": {"encoder": {"class_path": "lib.Other", "init_args": {"n": 1}}}}}
    assert [row for row in rows(document) if row[2]] == [("model.init_args.encoder.init_args", "lib.Other", {"n": 1})]


def test_what_is_no_value_is_called_unread() -> None:
    ((_, _, arguments),) = rows({"a": "${b}", "c": "@c", "d": "$import x", "e": [1, Unread("a tensor")], "f": "x@y"})
    assert arguments.pop("f") == "x@y"
    assert {name: value.what for name, value in arguments.items()} == {
        "a": "the interpolation ${b}",
        "c": "the expression @c",
        "d": "the expression $import x",
        "e": "a tensor",
    }


def test_a_structure_that_shares_without_end_is_not_walked_out() -> None:
    shared: list[Any] = [1]
    for _ in range(60):
        shared = [shared, shared]
    ((_, _, arguments),) = rows({"n": shared})
    assert arguments["n"] == Unread("a structure too large to read")
