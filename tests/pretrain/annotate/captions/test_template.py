import numpy as np
import pytest

from pretrain.annotate.captions.base import read_facts
from pretrain.annotate.captions.nouns import parse
from pretrain.annotate.captions.template import (
    LEAST_STATEMENTS,
    Style,
    TemplateCaptions,
    draw_style,
    false_captions,
    fits,
    word,
)
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import LEFT, NO_SIDE, RIGHT, Boxes
from pretrain.clips.statements import Sight, Statement, motion, region, relations
from pretrain.model.tokenizer import CONTEXT, encode

ALL = Style(motion=True, places=9, hands=9)
MUG, KETTLE, LEFT_HAND, RIGHT_HAND = 2, 3, 0, 1


def square(x, y, size=0.16):
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def boxes_of(rows):
    """Boxes of (frame, track, category, side, contact, box)."""
    frame, track, category, side, contact, xyxy = zip(*rows, strict=True)
    return Boxes(
        frame=np.array(frame, np.int16),
        track=np.array(track, np.int16),
        category=list(category),
        side=np.array(side, np.int8),
        contact=np.array(contact, bool),
        xyxy=np.array(xyxy, np.float32),
    )


def kitchen(mug="mug", other="kettle", hand_side=RIGHT):
    """A right hand that comes from below and carries a mug from the left to the right."""
    rows = []
    for frame in range(4):
        x = 0.2 + 0.15 * max(frame - 1, 0)
        touching = frame > 0
        rows.append((frame, MUG, mug, NO_SIDE, touching, square(x, 0.5)))
        y = 0.62 if touching else 0.85
        rows.append((frame, RIGHT_HAND, "hand", hand_side, touching, square(x, y)))
        rows.append((frame, KETTLE, other, NO_SIDE, False, square(0.85, 0.5)))
        rows.append((frame, LEFT_HAND, "hand", LEFT, False, square(0.1, 0.9)))
    return boxes_of(rows)


def clip_of(boxes, narration="#C C picks up the mug", depth=None, kind=None, masks=None, key="1"):
    return AnnotatedClip(
        key=key,
        frames=np.zeros((4, 32, 32, 3), np.uint8),
        times=np.arange(4) / 2,
        narration=narration,
        scene="scene",
        source="test",
        licence="CC0-1.0",
        depth=depth,
        depth_kind=kind,
        boxes=boxes,
        masks=masks,
    )


def told(clip, style=ALL):
    """What the template says of a clip."""
    return word(read_facts(clip), style)[0]


def test_a_caption_tells_hand_motion_places_and_the_other_hand():
    assert told(clip_of(kitchen())) == (
        "#C C picks up the mug with the right hand, moving it to the right; the mug is at the left "
        "of the view and to the left of the kettle at first; the mug is at the centre of the view "
        "at the end; the left hand is at the lower left of the view at first"
    )


def test_every_statement_of_a_caption_is_told_to_machines():
    text, statements = word(read_facts(clip_of(kitchen())), ALL)
    assert set(statements) == {
        Statement("hand", RIGHT_HAND, "right", (0, 3)),
        Statement("motion", MUG, "right", (0, 3)),
        Statement("region", MUG, "left", (0, 0)),
        Statement("to the left of", MUG, KETTLE, (0, 0)),
        Statement("region", MUG, "centre", (3, 3)),
        Statement("region", LEFT_HAND, "lower left", (0, 0)),
    }
    assert len(statements) == text.count(" of the view") + 3
    for statement in statements:
        assert Statement.from_json(statement.to_json()) == statement


def test_the_narration_s_own_words_stay_at_the_beginning():
    for narration in ("#C C picks up the mug", "take mug", "#C C takes the mug to the sink."):
        text = told(clip_of(kitchen(), narration))
        assert text.startswith(narration.rstrip("."))


def test_a_hand_that_the_narration_names_is_not_named_again():
    text = told(clip_of(kitchen(), "#C C picks up the mug with her right hand"))
    assert text.count("right hand,") == 1
    facts = read_facts(clip_of(kitchen(), "#C C picks up the mug with her left hand"))
    assert facts.hand == "left"
    assert facts.hand_seen == ()


def test_the_subject_is_the_thing_in_contact_where_two_have_its_name():
    facts = read_facts(clip_of(kitchen(other="mug")))
    assert facts.subject == "mug"
    assert {place.statement.track for place in facts.places} == {MUG}
    boxes = kitchen(other="mug")
    boxes.contact[:] = False
    assert read_facts(clip_of(boxes)).subject == ""


def test_a_category_and_a_noun_agree_if_one_says_less_than_the_other():
    assert read_facts(clip_of(kitchen("mug"), "#C C lifts the red mugs")).subject == "red mugs"
    assert read_facts(clip_of(kitchen("red mug"), "#C C lifts the mug")).subject == "mug"
    assert read_facts(clip_of(kitchen("blue mug"), "#C C lifts the red mug")).subject == ""
    assert read_facts(clip_of(kitchen("object"), "#C C lifts the red mug")).subject == "red mug"


def test_where_the_subject_is_not_found_hands_are_placed_beside_a_thing():
    clip = clip_of(kitchen(), "#C C wipes the counter")
    facts = read_facts(clip)
    assert (facts.subject, facts.places) == ("", ())
    # Regions first; what is so in the first and in the last frame is told once.
    assert [(side, place.words, place.statement.span[0]) for side, place in facts.hands] == [
        ("left", "at the lower left of the view", 0),
        ("right", "at the lower left of the view", 0),
        ("left", "to the left of the kettle", 0),
        ("right", "to the left of the kettle", 0),
    ]
    assert facts.hands[2][1].statement == Statement("to the left of", LEFT_HAND, KETTLE, (0, 0))


def test_one_of_several_is_no_landmark_even_if_the_others_are_hardly_seen():
    rows = kitchen()
    second = boxes_of([(2, 9, "kettle", NO_SIDE, False, square(0.5, 0.2))])
    both = Boxes(
        frame=np.append(rows.frame, second.frame),
        track=np.append(rows.track, second.track),
        category=[*rows.category, *second.category],
        side=np.append(rows.side, second.side),
        contact=np.append(rows.contact, second.contact),
        xyxy=np.concatenate([rows.xyxy, second.xyxy]),
    )
    assert "kettle" in told(clip_of(rows))
    assert "kettle" not in told(clip_of(both))


def test_what_is_seen_in_a_single_frame_is_not_spoken_of():
    boxes = kitchen()
    keep = (boxes.track != KETTLE) | (boxes.frame == 0)
    rows = np.flatnonzero(keep)
    once = Boxes(
        boxes.frame[rows], boxes.track[rows], [boxes.category[row] for row in rows],
        boxes.side[rows], boxes.contact[rows], boxes.xyxy[rows],
    )  # fmt: skip
    assert "kettle" not in told(clip_of(once))


def test_where_a_part_of_furniture_is_acted_on_it_is_the_hand_that_moves():
    boxes = kitchen(mug="drawer")
    text = told(clip_of(boxes, "#C C opens the drawer"))
    assert "moving the hand to the right" in text
    assert "moving it" not in text


def test_of_other_people_no_hand_is_said_to_act():
    facts = read_facts(clip_of(kitchen(), "#O A man X picks up the mug"))
    assert facts.parsed.actor == "other"
    assert facts.hand_seen == ()
    assert facts.hands == ()
    assert "hand" not in told(clip_of(kitchen(), "#O A man X picks up the mug"))


def test_the_hand_that_another_person_is_said_to_use_is_none_of_those_seen():
    boxes = kitchen(mug="drawer")
    own = "#C C opens the drawer with the right hand"
    others = "#O A man X opens the drawer with the right hand"
    assert "moving the hand to the right" in told(clip_of(boxes, own))
    assert read_facts(clip_of(boxes, others)).motion == ()
    assert told(clip_of(boxes, others)).startswith(others)
    assert "moving" not in told(clip_of(boxes, others))


def test_two_hands_at_a_thing_act_both():
    boxes = kitchen()
    left = boxes.track == LEFT_HAND
    boxes.contact[left] = boxes.contact[boxes.track == RIGHT_HAND]
    boxes.xyxy[left] = boxes.xyxy[boxes.track == RIGHT_HAND] - 0.02
    facts = read_facts(clip_of(boxes))
    assert facts.hand == "both"
    assert "with both hands" in word(facts, ALL)[0]


def test_contact_of_a_single_frame_names_no_hand():
    boxes = kitchen()
    boxes.contact[boxes.frame != 2] = False
    assert read_facts(clip_of(boxes)).hand == ""


def test_margins_grow_with_caution():
    boxes = kitchen()
    # The mug goes 0.07: more than the margin, less than 1.25 times it.
    mug = boxes.track == MUG
    boxes.xyxy[mug] = [square(0.2 + x, 0.5) for x in (0, 0, 0.04, 0.07)]
    assert [s.value for s in read_facts(clip_of(boxes), 1.0).motion] == ["right"]
    assert read_facts(clip_of(boxes), 1.25).motion == ()


def depth_map(nearer):
    """Depth (4, 16, 16) in which all below the kettle, thus the mug, is nearer or farther."""
    depth = np.ones((4, 16, 16), np.float32)
    depth[:, 5:] += -0.3 if nearer else 0.3
    return depth


def kettle_above():
    """The kitchen with the kettle above the mug, on no side of it."""
    boxes = kitchen()
    boxes.xyxy[boxes.track == KETTLE] = square(0.2, 0.2)
    return boxes


@pytest.mark.parametrize(("nearer", "words"), [(True, "nearer than"), (False, "farther than")])
@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_order_in_depth_is_read_from_boxes_without_masks(nearer, words, kind):
    clip = clip_of(kettle_above(), depth=depth_map(nearer), kind=kind)
    assert f"{words} the kettle" in told(clip)


def test_depth_that_is_unknown_or_undecided_says_nothing():
    boxes = kettle_above()
    assert " than " not in told(clip_of(boxes))
    blank = np.full((4, 16, 16), np.nan, np.float32)
    assert " than " not in told(clip_of(boxes, depth=blank, kind="metric"))
    # The mug's box holds near and far in equal parts: its median means nothing.
    mixed = depth_map(nearer=True)
    mixed[:, :, ::2] = 1.4
    mixed[:, :5] = 1.0
    assert " than " not in told(clip_of(boxes, depth=mixed, kind="metric"))


def test_motion_in_depth_needs_meters():
    depth = np.ones((4, 16, 16), np.float32)
    depth[3] = 0.6
    assert "toward the camera" in told(clip_of(kitchen(), depth=depth, kind="metric"))
    assert "toward" not in told(clip_of(kitchen(), depth=depth, kind="relative"))


def test_masks_are_preferred_to_the_middle_of_boxes():
    depth = np.ones((4, 16, 16), np.float32)
    masks = np.zeros((4, 16, 16), np.uint8)
    masks[:, 15, :4], masks[:, 0, :4] = MUG + 1, KETTLE + 1
    depth[:, 15, :4] = 0.5
    assert " than " not in told(clip_of(kettle_above(), depth=depth, kind="metric"))
    with_masks = clip_of(kettle_above(), depth=depth, kind="metric", masks=masks)
    assert "nearer than the kettle" in told(with_masks)


def test_a_thing_that_is_only_seen_at_the_end_is_placed_there():
    boxes = kitchen()
    rows = np.flatnonzero((boxes.track != MUG) | (boxes.frame >= 2))
    late = Boxes(
        boxes.frame[rows], boxes.track[rows], [boxes.category[row] for row in rows],
        boxes.side[rows], boxes.contact[rows], boxes.xyxy[rows],
    )  # fmt: skip
    facts = read_facts(clip_of(late))
    assert {place.when for place in facts.places} == {"at the end"}
    assert {place.statement.span for place in facts.places} == {(3, 3)}
    assert "at the end" in word(facts, ALL)[0]


def test_what_does_not_fit_the_text_encoder_is_left_out_from_the_end():
    narration = "#C C picks up the mug " + "from the long white wooden table " * 8
    clip = clip_of(kitchen(), narration)
    text, statements = word(read_facts(clip), ALL)
    assert len(encode(text)) + 2 <= CONTEXT
    assert text.startswith(narration.strip())
    assert len(statements) < len(word(read_facts(clip_of(kitchen())), ALL)[1])
    assert fits("#C C picks up the mug")
    assert not fits("mug " * CONTEXT)


def test_a_narration_without_a_verb_is_named_and_its_clip_kept():
    (result,) = TemplateCaptions().annotate([clip_of(kitchen(), "#C C red mug")])
    assert "Expected a verb" in result["caption_report"]["problem"]
    assert result["caption"].startswith("#C C red mug")


def test_a_clip_without_boxes_keeps_its_narration_and_one_without_the_stage_fails():
    empty, failed, full = TemplateCaptions().annotate(
        [clip_of(Boxes.empty()), clip_of(None), clip_of(kitchen())]
    )
    assert empty["caption"] == "#C C picks up the mug"
    assert empty["caption_report"]["statements"] == []
    assert isinstance(failed, AnnotationFailure)
    assert "tracking" in failed.reason
    assert len(full["caption_report"]["statements"]) >= LEAST_STATEMENTS


def test_a_caption_depends_on_key_and_seed_alone():
    clips = [clip_of(kitchen(), key=str(number)) for number in range(30)]
    writer = TemplateCaptions()
    together = [result["caption"] for result in writer.annotate(clips)]
    alone = [writer.annotate([clip])[0]["caption"] for clip in clips]
    assert together == alone
    assert len(set(together)) > 3
    other = [result["caption"] for result in TemplateCaptions(seed=1).annotate(clips)]
    assert other != together
    assert TemplateCaptions(seed=1).fingerprint != writer.fingerprint


def test_a_caption_tells_at_least_two_things_of_space_where_it_can():
    facts = read_facts(clip_of(kitchen()))
    for seed in range(60):
        style = draw_style(facts, np.random.default_rng(seed))
        statements = word(facts, style)[1]
        assert sum(statement.kind != "hand" for statement in statements) >= LEAST_STATEMENTS


def test_options_out_of_range_are_refused():
    for options in ({"distractors": -1}, {"caution": 0.5}, {"batch_size": 0}):
        with pytest.raises(AnnotatorOptionError, match="Expected distractors"):
            TemplateCaptions(**options)


# ---------------------------------------------------------------------------------- false captions


def falsehoods(narration, boxes=None, count=9):
    facts = read_facts(clip_of(kitchen() if boxes is None else boxes, narration))
    style = Style(motion=True, places=1, hands=0)
    true = word(facts, style)[0]
    texts = false_captions(facts, style, count, np.random.default_rng(0))
    assert true not in texts
    assert len(set(texts)) == len(texts)
    return true, set(texts)


def test_distractors_turn_round_hand_direction_and_action_and_nothing_else():
    true, texts = falsehoods("#C C picks up the mug")
    place = "; the mug is at the left of the view at first"
    assert true.endswith(place)
    assert texts == {
        f"#C C {deed} the mug with the {side} hand, moving it to the {way}{place}"
        for deed, side, way in (
            ("picks up", "left", "right"),
            ("picks up", "right", "left"),
            ("puts down", "right", "left"),
            ("picks up", "left", "left"),
            ("puts down", "left", "left"),
        )
    }


def test_distractors_turn_round_the_narration_s_own_words():
    _, texts = falsehoods("#C C pushes the mug to the right with the right hand")
    assert all("pulls" not in text for text in texts)
    assert any("to the left with the right hand, moving it to the left" in t for t in texts)
    assert any("to the right with the left hand, moving it to the right" in t for t in texts)


def test_a_verb_is_replaced_in_its_own_form_with_its_particle():
    for narration, other in (
        ("turn tap on", "turn tap off"),
        ("opening the mug", "closing the mug"),
        ("#C C picks the mug up", "#C C puts the mug down"),
    ):
        assert any(text.startswith(other) for text in falsehoods(narration)[1]), narration


def test_there_are_as_many_distractors_as_asked_for_or_as_can_be_known():
    assert len(falsehoods("#C C picks up the mug", count=2)[1]) == 2
    assert falsehoods("#C C touches the spoon", Boxes.empty())[1] == set()


def test_places_to_the_left_of_things_are_no_direction():
    facts = read_facts(clip_of(kitchen(), "#C C moves the mug to the left of the sink to the left"))
    _, texts = falsehoods("#C C moves the mug to the left of the sink to the left")
    assert facts.parsed.direction == "left"
    assert any("to the left of the sink to the right" in text for text in texts)


# ---------------------------------------------------------------------------------------- geometry


def test_regions_are_named_inside_their_borders_alone():
    names = {
        (0.5, 0.5): "centre", (0.1, 0.1): "upper left", (0.9, 0.5): "right", (0.5, 0.9): "bottom",
        (0.5, 0.1): "top", (0.36, 0.5): "", (0.9, 0.65): "",
    }  # fmt: skip
    for center, name in names.items():
        assert region(np.array(center)) == name
    assert region(np.array((0.9, 0.65)), margin=0) == "lower right"


def test_motion_names_its_largest_component_first():
    rows = [(0, 0, "cup", 0, False, square(0.3, 0.3)), (1, 0, "cup", 0, False, square(0.4, 0.6))]
    sight = Sight.of(boxes_of(rows), None, None)
    assert motion(sight, 0, 0, 1) == ("down", "right")
    assert motion(sight, 0, 0, 1, shift=0.2) == ("down",)
    assert motion(sight, 0, 0, 3) == ()


def test_relations_ask_for_boxes_that_are_apart():
    rows = [
        (0, 0, "cup", 0, False, square(0.3, 0.5, 0.1)),
        (0, 1, "pan", 0, False, square(0.6, 0.5, 0.1)),
        (0, 2, "tray", 0, False, square(0.5, 0.5, 0.5)),
    ]
    sight = Sight.of(boxes_of(rows), None, None)
    assert relations(sight, 0, {1: "pan", 2: "tray"}) == [("to the left of", 1, "pan")]
    assert relations(sight, 1, {0: "cup"}, beside=0.4) == []


def test_parsed_narrations_reach_the_facts():
    facts = read_facts(clip_of(kitchen(), "#C C picks up the mug"))
    assert facts.parsed == parse("#C C picks up the mug")
    assert facts.detected == ("hand", "kettle", "mug")
