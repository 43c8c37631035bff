"""Rules and schedules as text: what repr prints can be read back, and nothing else means anything."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nets.spec import command_name, is_told, parse_rate, parse_rule, short
from refopt import (
    ALIG,
    RULES,
    SCHEDULES,
    SPS,
    Cosine,
    Cycle,
    CycleAsPrinted,
    DecayingCycle,
    Every,
    Exponential,
    GradientDescent,
    HalvingCycle,
    HeavyBall,
    InverseTime,
    Linear,
    MultiStep,
    OneCycle,
    Polyak,
    Random,
    SPSMax,
    SPSPlus,
)

EXAMPLES = [
    InverseTime(2.0), MultiStep(0.1, (3, 5), 0.5), Exponential(1.0, 1e-3, 39062.5), Linear(0.0, 1.0, 10),
    Cosine(0.1, 0.0, 50), Cycle(0.001, 1.0, 9750), HalvingCycle(0.1, 1.0, 7.5), DecayingCycle(0.1, 1.0, 8, 0.99),
    CycleAsPrinted(0.0, 1.0, 9), OneCycle(0.04, 1.0, 1e-4, 30, 85, 100), Random(0.001, 1.0, seed=3),
    Every(390, MultiStep(0.1, (40, 60))),
]  # fmt: skip


@pytest.mark.parametrize("cls", RULES)
def test_the_text_of_a_rule_reads_back_to_it(cls):
    rule = cls()
    assert parse_rule(repr(rule)) == rule == parse_rule(short(rule)) == parse_rule(command_name(cls))
    assert type(parse_rule(repr(rule))) is cls
    assert short(rule) == cls.__name__
    assert is_told(rule)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda schedule: type(schedule).__name__)
def test_the_text_of_a_schedule_reads_back_to_it(schedule):
    assert parse_rate(repr(schedule)) == schedule
    rule = HeavyBall(lr=schedule, mu=Cycle(0.9, 0.8, 4))
    assert parse_rule(repr(rule)) == rule == parse_rule(short(rule))
    assert is_told(rule)


def test_every_schedule_is_among_the_examples():
    assert {type(schedule) for schedule in EXAMPLES} == set(SCHEDULES)


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_numbers_survive_the_text_exactly(number):
    assert parse_rate(repr(number)) == number
    assert parse_rule(short(SPSMax(c=number))).c == number


def test_short_text_names_what_is_not_the_default():
    assert short(SPSMax(c=0.1)) == "SPSMax(c=0.1)"
    assert short(replace(ALIG(), mu=0.0, f_star=2.0)) == "ALIG(mu=0.0, f_star=2.0)"
    assert short(SPSPlus()) == "SPSPlus"


def test_names_on_the_command_line_are_words():
    names = {cls.__name__: command_name(cls) for cls in RULES}
    assert names["SPSMax"] == "sps-max"
    assert names["MoMo"] == "momo"
    assert names["DecSPS"] == "dec-sps"
    assert names["NesterovLookAhead"] == "nesterov-look-ahead"
    assert names["ALIGAdjusted"] == "alig-adjusted"
    assert names["HeavyBallEMA"] == "heavy-ball-ema"
    assert len(set(names.values())) == len(RULES)


def test_case_and_hyphens_of_a_name_do_not_matter():
    assert parse_rule("SPS-Max") == parse_rule("spsmax") == SPSMax()
    assert parse_rule("gradientdescent(lr=inversetime)") == GradientDescent(lr=InverseTime())
    assert parse_rule("polyak(f_star=-2.5)") == Polyak(f_star=-2.5)
    assert parse_rule("SPS(0.2, None)") == SPS(c=0.2)
    assert parse_rule("SPSMax(eta_max=inf)").eta_max == float("inf")


@pytest.mark.parametrize(
    "text",
    ["", "sgd", "SPSMax(c=1", "SPSMax.start", "__import__('os')", "SPSMax(c=open)", "[1]", "lambda: 0", "1 + 1", "0.1",
     "SPSMax(**{})", "Cosine(0.1, 0, 5)", "GradientDescent(lr=__import__('os').getcwd())"],
)  # fmt: skip
def test_text_that_is_no_rule_is_refused_in_one_sentence_and_not_executed(text):
    with pytest.raises(ValueError, match="is no rule: write a name, or a call such as"):
        parse_rule(text)


@pytest.mark.parametrize("text", ["fast", "SPSMax", "1e", "Cosine(0.1, 0, 5", "-"])
def test_text_that_is_no_rate_is_refused_in_one_sentence(text):
    with pytest.raises(ValueError, match="is no number or schedule: write a name"):
        parse_rate(text)


def test_hyper_parameters_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"does not fit: .*unexpected keyword argument 'cc'"):
        parse_rule("SPSMax(cc=1)")
    with pytest.raises(ValueError, match="c must be a positive number, got -1"):
        parse_rule("SPSMax(c=-1)")
    with pytest.raises(ValueError, match=r"does not fit: .*missing"):
        parse_rate("Cosine(0.1)")
    for text in ("SPSMax(c=1, c=2)", "GradientDescent(lr=Cosine(0.1, 0, steps=5, steps=6))"):
        with pytest.raises(ValueError, match=r"does not fit: a hyper-parameter of \w+ is given twice"):
            parse_rule(text)
