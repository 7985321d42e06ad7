"""The documentation agrees with the stored results, with the code and with itself."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from egodtm_robot.comparison.request import ComparisonRequest, compare_paths

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PRETRAINING = DOCS / "results" / "pretraining.md"
PAGES = (README, *sorted(DOCS.rglob("*.md")))
FIGURES = (
    "results_chart",
    "demonstrations_chart",
    "reinforcement_chart",
    "statistics_chart",
    "data_flow",
    "floors",
)


def stored(name):
    return json.loads((DOCS / "results" / f"{name}.json").read_text())


def percent(cell, sign=False):
    value, low, high = cell
    form = "+d" if sign else "d"
    return " [".join([f"{value:{form}}" if value else "0", f"{_signed(low, sign)}, "]) + (
        f"{_signed(high, sign)}]"
    )


def _signed(value, sign):
    return f"{value:+d}" if sign and value else f"{value}"


def prose(path):
    """The text of a page on one line, so that line breaks do not matter."""
    return " ".join(path.read_text().split())


def table_rows(path):
    """Cells of every table row, by page order."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_percent_writes_an_interval_as_the_pages_do():
    assert percent([88, 83, 92]) == "88 [83, 92]"
    assert percent([-6, -14, 2], sign=True) == "-6 [-14, +2]"
    assert percent([0, -3, 4], sign=True) == "0 [-3, +4]"


def test_the_readme_is_short_and_of_one_width():
    lines = README.read_text().splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def compared(name, **request):
    """The comparison of published outcomes, as ``python -m egodtm_robot.compare`` makes it."""
    path = DOCS / "results" / "outcomes" / f"{name}.csv.gz"
    return compare_paths(ComparisonRequest(runs=[str(path)], **request))[1]


def tables(comparison):
    """The two tables of a comparison, of arms and of pairs, as lines."""
    return [part.split("\n") for part in comparison.to_markdown().split("\n\n") if "|---|" in part]


def lettered(arm):
    low, high = arm.mean.interval
    interval = f"[{100 * low:.0f}, {100 * high:.0f}]"
    return " ".join([f"{100 * arm.mean.value:.1f}", interval, arm.letters]).strip()


def lead(success):
    low, high = success.interval
    return f"{100 * success.value:.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


def test_the_readme_states_the_stored_results():
    text = prose(README).split("## Results")[1].split("## ")[0]
    few, standard = compared("few"), stored("benchmark")["encoders"]
    shifted = compared("shifted", split="look")
    rows = {
        "simulator's state": ("oracle", False),
        "EgoDTM-tiny, two looks": ("egodtm_looks", True),
        "EgoDTM-tiny before": ("egodtm", True),
        "ImageNet (EfficientNet-Lite0)": ("efficientnet_lite0", True),
        "16 x 16 gray pixels": ("pixels", False),
        "no images": ("none", False),
    }
    shown = {row[0]: row[1:] for row in table_rows(README) if row[0] in rows}
    assert shown == {
        said: [
            lettered(few.arm(arm)),
            lettered(shifted.arm(f"{arm} (varied)")) if twice else percent(standard[arm]["mean"]),
            lettered(shifted.arm(f"{arm} (shifted)")) if twice else "",
        ]
        for said, (arm, twice) in rows.items()
    }

    leads = [
        (compared("few", arms=["egodtm_looks", "efficientnet_lite0"]), "with 25 demonstrations"),
        *(
            (
                compared(
                    "shifted",
                    split="look",
                    arms=[f"{arm} ({look})" for arm in ("egodtm_looks", "efficientnet_lite0")],
                ),
                said,
            )
            for look, said in (("varied", "with 100"), ("shifted", "under looks"))
        ),
    ]
    for comparison, said in leads:
        (pair,) = comparison.pairs
        assert (pair.first, pair.verdict) == (comparison.arms[0].name, "ahead")
        assert f"by {lead(pair.success)} {said}" in text
        assert pair.p_value < 0.01
    (before,) = compared("few", arms=["egodtm", "efficientnet_lite0"]).pairs
    assert f"{lead(before.success)} ahead with 25" in text
    alone = [f"{arm} (varied)" for arm in ("efficientnet_lite0", "egodtm")]
    (level,) = compared("shifted", split="look", arms=alone).pairs
    assert level.verdict == "equal"
    assert "equal within 3 points" in text

    pixels_only = stored("objectives_pixel_stem")["encoders"]
    assert f"reach {percent(pixels_only['text_depth']['mean']).replace(' ', ' % ', 1)}" in text
    for key in ("difference_to_text", "difference_to_random"):
        cell = percent(pixels_only["text_depth"][key], sign=True).removeprefix("+")
        assert f"by {cell.replace(' ', ' points ', 1)}" in text


@pytest.mark.parametrize(
    ("name", "request_", "which"),
    [
        ("few", {"reference": "efficientnet_lite0"}, 0),
        ("few", {"arms": ["egodtm_looks", "egodtm", "efficientnet_lite0"]}, 1),
        ("curve", {"allow_mixed": True}, 0),
        ("shifted", {"split": "look"}, 0),
        ("shifted", {"split": "look"}, 1),
    ],
)
def test_the_page_on_regimes_shows_the_published_outcomes(name, request_, which):
    page = (DOCS / "results" / "regimes.md").read_text()
    assert "\n".join(tables(compared(name, **request_))[which]).strip() in page


def test_the_leads_along_the_curve_are_those_of_the_outcomes():
    points = {
        10: ("curve", "{},demos.episodes=10", {"allow_mixed": True}),
        25: ("few", "{}", {}),
        50: ("curve", "{},demos.episodes=50", {"allow_mixed": True}),
        100: ("shifted", "{} (varied)", {"split": "look"}),
    }
    rows = table_rows(DOCS / "results" / "regimes.md")
    for number, (name, form, request) in points.items():
        cells = []
        for encoder in ("egodtm_looks", "egodtm"):
            arms = [form.format(arm) for arm in (encoder, "efficientnet_lite0")]
            difference = compared(name, **request).difference(*arms).success
            ends = [f"{100 * end:+.1f}" for end in difference.interval]
            cells.append(f"{100 * difference.value:+.1f} [{', '.join(ends)}]")
        cells = [cell.replace("+0.0 [", "0.0 [") for cell in cells]
        assert [str(number), *cells, "3" if name == "curve" else "6"] in rows


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("arms", "reference"),
    [
        (["egodtm_looks", "egodtm", "imagenet_looks", "efficientnet_lite0"], "efficientnet_lite0"),
        (["imagenet_looks", "imagenet_looks_text_depth"], "imagenet_looks"),
        (["egodtm_looks", "egodtm_adapted", "efficientnet_lite0"], "egodtm_looks"),
    ],
)
def test_the_page_on_pretraining_shows_the_outcomes_of_its_rows(arms, reference, which):
    request = ComparisonRequest(
        runs=[str(DOCS / "results" / "outcomes" / f"{name}.csv.gz") for name in ("few", "causes")],
        arms=arms,
        reference=reference,
    )
    shown = tables(compare_paths(request)[1])[which]
    assert "\n".join(shown).strip() in PRETRAINING.read_text()


LEADS = [
    ("25 demonstrations", "few", "{}", {}),
    ("100 demonstrations", "shifted", "{} (varied)", {"split": "look"}),
    ("100 demonstrations, looks never seen", "shifted", "{} (shifted)", {"split": "look"}),
]


@pytest.mark.parametrize("other", ["efficientnet_lite0", "egodtm"])
def test_the_leads_of_the_default_encoder_are_those_of_the_outcomes(other):
    cells = []
    for said, name, form, request in LEADS:
        arms = [form.format(arm) for arm in ("egodtm_looks", other)]
        (alone,) = compared(name, arms=arms, **request).pairs
        low, high = alone.success.interval
        cells.append(f"{100 * alone.success.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
        if other == "efficientnet_lite0":
            among = compared(name, **request).difference(*arms)
            shown = ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in (alone.p_value, among.p_value)]
            row = [said, cells[-1], *shown]
            assert row in table_rows(DOCS / "results" / "regimes.md")
            assert cells[-1].removeprefix("+") in prose(DOCS / "results" / "index.md").replace(
                " points", ""
            )
    assert [f"`{other}`", *cells] in table_rows(PRETRAINING)


def test_the_page_on_policies_shows_the_published_outcomes():
    page = (DOCS / "results" / "policies.md").read_text()
    assert "\n".join(tables(compared("policies"))[0]).strip() in page


@pytest.mark.parametrize("name", ["reinforcement", "reinforcement_images"])
@pytest.mark.parametrize("which", [0, 1])
def test_the_page_on_reinforcement_shows_the_published_outcomes(name, which):
    page = (DOCS / "results" / "reinforcement.md").read_text()
    assert "\n".join(tables(compared(name))[which]).strip() in page


def test_the_stored_comparison_is_that_of_the_published_outcomes():
    comparison = compared("few", reference="efficientnet_lite0")
    assert json.loads(json.dumps(comparison.to_json())) == stored("few")


def test_the_readme_shows_the_stored_demo():
    demo = stored("demo")
    value, low, high = demo["success_percent"]
    text = README.read_text()
    assert f"{demo['env']}: {value}% success" in text
    assert (
        f"{demo['successes']} of {demo['episodes']} fresh episodes, 95 % interval "
        f"{low}% to {high}% (Wilson)" in text
    )
    assert f"encoder {demo['encoder']}," in text
    assert f"{demo['minutes']} minute" in prose(README)


def test_the_tables_of_objectives_are_those_of_their_numbers():
    path = ROOT / "benchmarks" / "objective_table.py"
    spec = importlib.util.spec_from_file_location("objective_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scores = module.read_csv(DOCS / "results" / "objectives.csv")
    names = {name for own in scores.values() for name in own}
    columns = module.NUMBERS | {"franka_kitchen_light": "light, success"}
    assert names == set(columns)
    assert module.tables(scores, columns) in (DOCS / "results" / "objectives.md").read_text()


@pytest.mark.parametrize(
    ("name", "page", "differences"),
    [
        ("benchmark", "encoders.md", ("difference",)),
        ("further_seeds", "encoders.md", ("difference",)),
        (
            "objectives_pixel_stem",
            "pretraining.md",
            ("difference_to_text", "difference_to_random"),
        ),
    ],
)
def test_a_result_page_shows_the_stored_table(name, page, differences):
    rows = table_rows(DOCS / "results" / page)
    results = stored(name)
    for encoder, row in results["encoders"].items():
        assert len(row["tasks"]) == len(results["tasks"])
        cells = [percent(cell) for cell in [*row["tasks"], row["mean"]]]
        cells += [percent(row[key], sign=True) if row[key] else "" for key in differences]
        assert any(shown[0].startswith(f"`{encoder}`") and shown[1:] == cells for shown in rows), (
            f"{page} lacks the row of {encoder}: {cells}"
        )
    assert results["command"] in prose(DOCS / "results" / page).replace("\\ ", "")


@pytest.mark.parametrize("name", ["egodtm_tiny", "egodtm_tiny_looks"])
def test_the_page_on_pretraining_shows_the_scores_of_the_shipped_cards(name):
    card = json.loads((ROOT / "pretrain" / "assets" / f"{name}.json").read_text())["test"]
    shown = {cell.removesuffix(" %") for row in table_rows(PRETRAINING) for cell in row}
    for direction in ("text_to_video", "video_to_text"):
        scores = card["retrieval"][direction]
        assert " / ".join(f"{100 * scores[key]:.1f}" for key in ("r1", "r5", "map")) in shown
    choice = card["multiple_choice"]
    low, high = choice["wilson95"]
    assert f"{100 * choice['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in prose(
        PRETRAINING
    ).replace(" % [", " [")
    depth = card["depth"]
    assert f"{depth['delta1']:.3f} / {depth['rmse']:.3f} m / {depth['absrel']:.3f}" in shown


def test_the_page_on_statistics_shows_the_stored_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("statistics_calibration")
    tables = script.to_markdown(stored("statistics")).splitlines()
    # The last section has a script of its own.
    page, _ = (DOCS / "results" / "statistics.md").read_text().split("\n## Two models on the same")
    shown = [line for line in page.splitlines() if line.startswith("|")]
    assert shown == [line for line in tables if line]


@pytest.mark.parametrize("figure", FIGURES)
def test_the_figures_are_what_their_scripts_draw(figure, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "figures"))
    theme, script = importlib.import_module("theme"), importlib.import_module(figure)
    name = figure.removesuffix("_chart")
    for colors in (theme.LIGHT, theme.DARK):
        picture = (DOCS / "images" / f"{name}_{colors.name}.svg").read_text()
        assert picture == script.draw(colors)


def test_the_chart_shows_every_mean_of_the_stored_results_with_its_letters():
    picture = (DOCS / "images" / "results_light.svg").read_text()
    for arm in stored("few")["arms"]:
        assert re.search(
            rf">{100 * arm['mean']['value']:.0f} <tspan [^>]*>{arm['letters']}</tspan>", picture
        )


def test_the_chart_leaves_out_an_encoder_that_is_not_finished(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "figures"))
    script = importlib.import_module("results_chart")
    comparison = stored("few")
    comparison["arms"].append({"name": "unfinished", "mean": None, "letters": ""})
    assert [bar.arm for bar in script.read_bars(comparison)] == [
        "none",
        "pixels",
        "efficientnet_lite0",
        "egodtm",
        "egodtm_looks",
        "oracle",
    ]


def paths_named(page):
    """Files and folders of the repository that a page names in code spans or in commands."""
    text = page.read_text()
    roots = "configs|egodtm_robot|envs|policies|pretrain|benchmarks|tests|docs"
    spans = re.findall(rf"`((?:{roots})/[\w./*{{}}]*)`", text)
    commands = re.findall(rf"python ((?:{roots})/[\w./]+\.py)", text)
    modules = re.findall(r"python -m ((?:egodtm_robot|pretrain)[\w.]*)", text)
    return {*spans, *commands, *(name.rstrip(".").replace(".", "/") for name in modules)}


def exists(path):
    path = path.rstrip("/")
    return any(
        next(ROOT.glob(f"{path}{suffix}"), None) is not None
        for suffix in ("", ".py", "/__main__.py")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_command_that_a_page_names_exists(page):
    assert {path for path in paths_named(page) if not exists(path)} == set()


def test_every_page_that_the_code_names_exists():
    stale = set()
    for folder in ("benchmarks", "configs", "egodtm_robot", "envs", "policies", "pretrain"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml"):
                pages = set(re.findall(r"docs/[\w/]+\.md", path.read_text()))
                stale |= {(str(path.relative_to(ROOT)), p) for p in pages if not exists(p)}
    assert stale == set()


def test_every_link_of_the_readme_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)|(?:srcset|src)=\"([^\"]+)\"", README.read_text())
    assert links
    named = {link or source for link, source in links}
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_page_has_a_place_in_the_navigation():
    named = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M))
    written = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert written <= named


def test_python_examples_of_the_pages_are_python():
    for page in PAGES:
        for example in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
            compile(example, str(page), "exec")
