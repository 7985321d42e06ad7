import csv

import pytest

from pretrain.annotate.captions.nouns import (
    base_form,
    head,
    inflect_like,
    parse,
    singular,
    third_person,
)


@pytest.mark.parametrize(
    ("narration", "verbs", "nouns"),
    [
        ("#C C picks up the red mug", ("pick up",), ("red mug",)),
        ("#C C picks the red mug up.", ("pick up",), ("red mug",)),
        ("#c c looks around", ("look around",), ()),
        ("#C C #unsure moves the chair", ("move",), ("chair",)),
        ("#C C is cleaning the cupboard", ("clean",), ("cupboard",)),
        ("#C C cuts a piece of paper with the scissors", ("cut",), ("paper", "scissors")),
        ("#C C adjusts the cooker's knob", ("adjust",), ("cooker knob",)),
        ("#C C takes the knife and fork", ("take",), ("knife", "fork")),
        ("#C C picks the plate and washes it", ("pick", "wash"), ("plate",)),
        ("#C C dribbles the ball", ("dribble",), ("ball",)),
        ("open fridge", ("open",), ("fridge",)),
        ("put down plate", ("put down",), ("plate",)),
        ("turn tap on", ("turn on",), ("tap",)),
        ("still washing pan", ("wash",), ("pan",)),
        ("take spoon from top drawer", ("take",), ("spoon", "top drawer")),
        ("wash cutting board and brush", ("wash",), ("cutting board", "brush")),
        ("put onion in bowl then wash hands", ("put", "wash"), ("onion", "bowl")),
        ("apply glue to the box", ("apply",), ("glue", "box")),
        ("Turn on_faucet", ("turn on",), ("faucet",)),
        ("Put_cooking:utensil", ("put",), ("cooking utensil",)),
        ("Moving [something] closer to [something]", ("move",), ()),
        ("Pouring water into a cup", ("pour",), ("water", "cup")),
    ],
)
def test_verbs_and_nouns_are_read_in_every_manner(narration, verbs, nouns):
    parsed = parse(narration)
    assert (parsed.verbs, parsed.nouns) == (verbs, nouns)
    assert parsed.verb == verbs[0]
    assert parsed.problem is None


@pytest.mark.parametrize(
    ("narration", "actor", "verbs", "nouns"),
    [
        ("#O A man X opens the door", "other", ("open",), ("door",)),
        ("#O The woman Y drops the bag on the table", "other", ("drop",), ("bag", "table")),
        ("#C C opens the door", "wearer", ("open",), ("door",)),
    ],
)
def test_who_acts_is_told_apart(narration, actor, verbs, nouns):
    parsed = parse(narration)
    assert (parsed.actor, parsed.verbs, parsed.nouns) == (actor, verbs, nouns)


@pytest.mark.parametrize(
    ("narration", "hand"),
    [
        ("#C C picks the cup with his left hand", "left"),
        ("#C C holds the nail with both hands", "both"),
        ("#C C passes the knife from the left hand to the right hand", ""),
        ("#C C takes the right shoe", ""),
    ],
)
def test_the_hand_is_read_where_it_is_named(narration, hand):
    parsed = parse(narration)
    assert parsed.hand == hand
    assert not any("hand" in noun for noun in parsed.nouns)


@pytest.mark.parametrize(
    ("narration", "direction"),
    [
        ("#C C pushes the cup to the left", "left"),
        ("Pushing [something] from left to right", "right"),
        ("#C C pulls the jar closer", "toward"),
        ("#C C pushes the jar away", "away"),
        ("#C C turns the left knob clockwise", "clockwise"),
        ("#C C turns the knob anti-clockwise", "anticlockwise"),
        ("Moving a cup up", "up"),
        ("#C C picks the cup up", ""),
        ("#C C takes the left shoe with the right hand", ""),
    ],
)
def test_the_direction_is_read_and_particles_of_verbs_are_none(narration, direction):
    assert parse(narration).direction == direction


@pytest.mark.parametrize("narration", ["#C C fridge door", "red mug", "#C C scissors", "#C C"])
def test_a_narration_without_a_verb_is_named(narration):
    parsed = parse(narration)
    assert parsed.verbs == ()
    assert parsed.verb == ""
    assert "Expected a " in parsed.problem


def test_an_empty_narration_is_named():
    assert "empty" in parse("").problem
    assert "empty" in parse(" #unsure ").problem


def test_the_text_is_one_line_without_tags_and_full_stop():
    assert parse("#C C  #unsure takes\nthe cup .").text == "#C C takes the cup"


def test_words_are_brought_to_their_base_and_back():
    assert [base_form(word) for word in ("washes", "carries", "cutting", "placing", "put")] == [
        "wash", "carry", "cut", "place", "put",
    ]  # fmt: skip
    assert base_form("fridge") == ""
    assert [third_person(verb) for verb in ("pick up", "wash", "carry", "play")] == [
        "picks up", "washes", "carries", "plays",
    ]  # fmt: skip
    assert [inflect_like(*pair) for pair in (("picks", "put"), ("picking", "put"))] == [
        "puts", "putting",
    ]  # fmt: skip
    assert [inflect_like("opening", verb) for verb in ("close", "pull", "tie")] == [
        "closing", "pulling", "tying",
    ]  # fmt: skip
    assert inflect_like("picked", "put") == ""
    assert [singular(w) for w in ("knives", "berries", "boxes", "glass", "scissors", "cups")] == [
        "knife", "berry", "box", "glass", "scissors", "cup",
    ]  # fmt: skip
    assert [singular(word) for word in ("thermos", "lenses", "gas")] == ["thermos", "lens", "gas"]
    assert [base_form(word) for word in ("touches", "touch", "touching")] == ["touch"] * 3
    assert head("red mugs") == "mug"


def test_verbs_and_nouns_of_real_narrations_are_those_of_their_annotators(sample):
    path = sample("data/ego/ann/epic/retrieval_annotations/EPIC_100_retrieval_test.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    verbs = nouns = 0
    for row in rows:
        parsed = parse(row["narration"])
        verbs += parsed.verb.split(" ")[0] == row["verb"].split("-")[0]
        noun = row["noun"].split(":")[0]
        hands = noun in ("hand", "hands")
        nouns += hands or any(
            noun in one.split() or head(one) == head(noun) for one in parsed.nouns
        )
    assert verbs > 0.975 * len(rows)
    assert nouns > 0.955 * len(rows)
